"""What became of a request: all that the access log and the metrics read of an exchange."""

from typing import Protocol

from pmp_gateway.failures import Headers

# The client closed its connection before it had an answer, or all of it.
CLIENT_LEFT = 499


class Outcome(Protocol):
    """`status` is None where the client left before any answer; it is CLIENT_LEFT where it left during one.

    The tokens are those that the engine counted, where its answer told; `held_seconds` is part of both other times.
    """

    method: str
    raw_path: bytes
    headers: Headers
    client_host: str | None
    request_id: bytes
    started_at: float
    token_name: str | None
    status: int | None
    error_code: str | None
    bytes_sent: int
    is_stream: bool
    held_seconds: float
    first_byte_seconds: float | None
    prompt_tokens: int | None
    completion_tokens: int | None

    @property
    def duration_seconds(self) -> float: ...
