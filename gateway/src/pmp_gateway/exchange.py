"""One request of the public listener, and what became of it: plain data for the log, the metrics and the answer."""

import itertools
import re
import secrets
import time

from pmp_gateway.failures import Headers
from pmp_gateway.token_file import Token

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:-]{1,128}")
# Unique among processes, and cheap: an id is no secret.
_PROCESS = secrets.token_hex(8).encode()
_NUMBERS = itertools.count()


class Exchange:
    __slots__ = (
        "_started",
        "bytes_sent",
        "client_host",
        "completion_tokens",
        "error_code",
        "first_byte_seconds",
        "headers",
        "held_seconds",
        "is_counted",
        "is_stream",
        "method",
        "prompt_tokens",
        "raw_path",
        "request_id",
        "started_at",
        "status",
        "token",
        "token_name",
    )

    def __init__(self, method: str, raw_path: bytes, headers: Headers, client_host: str | None) -> None:
        self.method = method
        self.raw_path = raw_path
        self.headers = headers
        self.client_host = client_host
        self.request_id = _request_id(headers)
        self.started_at = time.time()
        self._started = time.perf_counter()
        self.token: Token | None = None
        self.token_name: str | None = None
        # Whether it counts against the limits of its token.
        self.is_counted = False
        self.status: int | None = None
        self.error_code: str | None = None
        self.bytes_sent = 0
        self.is_stream = False
        self.held_seconds = 0.0
        self.first_byte_seconds: float | None = None
        self.prompt_tokens: int | None = None
        self.completion_tokens: int | None = None

    @property
    def duration_seconds(self) -> float:
        """So far."""
        return time.perf_counter() - self._started


def _request_id(headers: Headers) -> bytes:
    given = [value for name, value in headers if name == b"x-request-id"]
    if len(given) == 1 and _REQUEST_ID.fullmatch(given[0]):
        return given[0]
    return b"%b%016x" % (_PROCESS, next(_NUMBERS))
