"""What is measured: one request with its moments, and one level with what its requests are like."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Level:
    """So many requests at a time, each with a prompt and an answer of so many tokens.

    It ends after `requests` requests, or begins none any more after `seconds`; one of them is None.
    """

    concurrency: int
    prompt_tokens: int
    output_tokens: int
    requests: int | None
    seconds: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One request. Times are in seconds: `began` since the level began, the others since the request began.

    `error` is a kind of failure, such as `HTTP 503`, and `said` an example of it in words; a failed request has
    nothing else that counts.
    """

    began: float
    whole_seconds: float
    error: str | None = None
    said: str = ""
    first_token_seconds: float | None = None
    last_token_seconds: float | None = None
    gaps_seconds: tuple[float, ...] = ()
    """Between the chunks that carry what was generated."""
    prompt_tokens: int | None = None
    output_tokens: int | None = None
    """As the API counts them; None where it does not tell."""

    @classmethod
    def from_data(cls, data: dict[str, Any]) -> "Sample":
        return cls(**{**data, "gaps_seconds": tuple(data.get("gaps_seconds", ()))})

    @property
    def chunks(self) -> int:
        return 0 if self.first_token_seconds is None else len(self.gaps_seconds) + 1

    @property
    def inter_token_seconds(self) -> float | None:
        """The mean time between two tokens. A chunk may carry several: the first one is taken to carry the average."""
        if self.first_token_seconds is None or self.last_token_seconds is None or self.chunks < 2:
            return None
        after_first = (self.output_tokens or self.chunks) * (1 - 1 / self.chunks)
        return (self.last_token_seconds - self.first_token_seconds) / after_first


@dataclass(frozen=True, slots=True)
class ClientShare:
    """What measuring itself took: the share of a core, and how late what had arrived was looked at, at the 99th %."""

    cpu: float
    lag_p99_ms: float
