"""Finished requests as the access log and the metrics see them."""

from dataclasses import dataclass, field

from pmp_gateway.failures import Headers


@dataclass
class Finished:
    method: str = "POST"
    raw_path: bytes = b"/v1/chat/completions"
    headers: Headers = field(default_factory=list)
    client_host: str | None = "192.0.2.7"
    request_id: bytes = b"request-1"
    started_at: float = 1_800_000_000.25
    token_name: str | None = None
    status: int | None = 200
    error_code: str | None = None
    bytes_sent: int = 0
    is_stream: bool = False
    held_seconds: float = 0.0
    first_byte_seconds: float | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    duration_seconds: float = 0.0
