"""What the requests of a level amount to."""

import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pmpctl.load.sample import ClientShare, Level, Sample

# Beyond these the figures tell about the client as much as about the API.
_BUSY_CPU_SHARE = 0.7
_LATE_MS = 50.0


@dataclass(frozen=True, slots=True)
class Spread:
    """How values are distributed, in milliseconds."""

    mean_ms: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float


@dataclass(frozen=True, slots=True)
class Range:
    least: int
    most: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelFigures:
    """What is None could not be measured: nothing was answered, or in a single chunk, or nobody counted the tokens."""

    level: Level
    complete: bool
    """Whether it was measured to its end."""
    seconds: float
    answered: int
    errors: Mapping[str, int]
    error_examples: Mapping[str, str]
    first_token: Spread | None
    inter_token: Spread | None
    """Over the requests, each with its mean time between two tokens."""
    chunk_gap: Spread | None
    """Over all chunks of all requests."""
    whole: Spread | None
    requests_per_second: float
    prompt_tokens_per_second: float | None
    output_tokens_per_second: float | None
    prompt_tokens: Range | None
    """As the API counted them."""
    output_tokens: Range | None
    tokens_per_chunk: float | None
    client: ClientShare | None

    @property
    def requests(self) -> int:
        return self.answered + sum(self.errors.values())

    @property
    def doubt(self) -> str | None:
        """Why the API may be faster than measured; None where it was the API alone that took the time."""
        if self.client is None:
            return None
        if self.client.cpu > _BUSY_CPU_SHARE:
            why = f"the load generator itself was busy ({100 * self.client.cpu:.0f} % of a core)"
        elif self.client.lag_p99_ms > _LATE_MS:
            why = f"this machine let the load generator wait for a processor (p99 {self.client.lag_p99_ms:.0f} ms)"
        else:
            return None
        return f"with {self.level.concurrency} at a time {why}: the API may be faster than measured"


def figures_of(
    level: Level, samples: Sequence[Sample], seconds: float | None = None, client: ClientShare | None = None
) -> LevelFigures:
    """`seconds` is what the whole level took; without it the level was cut short, and its last answer is its end."""
    answered = [sample for sample in samples if sample.error is None]
    failed = [sample for sample in samples if sample.error is not None]
    took = seconds or max((sample.began + sample.whole_seconds for sample in samples), default=0.0)
    counted = [sample.output_tokens for sample in answered if sample.output_tokens is not None]
    prompts = [sample.prompt_tokens for sample in answered if sample.prompt_tokens is not None]
    chunks = sum(sample.chunks for sample in answered)
    return LevelFigures(
        level=level,
        complete=seconds is not None,
        seconds=took,
        answered=len(answered),
        errors=dict(Counter(str(sample.error) for sample in failed).most_common()),
        error_examples={str(sample.error): sample.said for sample in reversed(failed)},
        first_token=_spread(sample.first_token_seconds for sample in answered),
        inter_token=_spread(sample.inter_token_seconds for sample in answered),
        chunk_gap=_spread(gap for sample in answered for gap in sample.gaps_seconds),
        whole=_spread(sample.whole_seconds for sample in answered),
        requests_per_second=len(answered) / took if took else 0.0,
        prompt_tokens_per_second=_rate(prompts, answered, took),
        output_tokens_per_second=_rate(counted, answered, took),
        prompt_tokens=_range(prompts),
        output_tokens=_range(counted),
        tokens_per_chunk=sum(counted) / chunks if chunks and len(counted) == len(answered) else None,
        client=client,
    )


def _rate(counted: Sequence[int], answered: Sequence[Sample], seconds: float) -> float | None:
    """None unless the tokens of every answer are known."""
    return sum(counted) / seconds if seconds and answered and len(counted) == len(answered) else None


def _range(counted: Sequence[int]) -> Range | None:
    return Range(min(counted), max(counted)) if counted else None


def _spread(seconds: Iterable[float | None]) -> Spread | None:
    values = sorted(1000 * value for value in seconds if value is not None)
    if not values:
        return None
    shares = statistics.quantiles(values, n=100, method="inclusive") if len(values) > 1 else values * 99
    return Spread(
        mean_ms=statistics.fmean(values), p50_ms=shares[49], p95_ms=shares[94], p99_ms=shares[98], max_ms=values[-1]
    )
