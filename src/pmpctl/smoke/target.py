"""What is checked: an address, and what is known of what should stand behind it."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Target:
    """`url` is the API's base without `/v1`; what only a workspace knows is None for a foreign API."""

    url: str
    # Kept out of every repr, as dataclasses end up in tracebacks.
    token: str | None = field(default=None, repr=False)
    model: str = "llm"
    # As the plan has it: None where nobody knows.
    auth: bool | None = None
    max_model_len: int | None = None
    tool_call_parser: str | None = None
    reasoning_parser: str | None = None
    tokenizer_mode: str | None = None
    unknown_model: str | None = None
    # Host and port of where the engine would be reached around the gateway, as clients of its listener would try it.
    engine_around: tuple[tuple[str, int], ...] = ()
    # Where this machine reaches the engine itself, for its metrics.
    engine_url: str | None = None
    timeout_seconds: float = 120
