"""One JSON line per request on stdout: who asked for what and how it went; never a body, a query string or a token."""

import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec

from pmp_gateway.log_writer import LineWriter
from pmp_gateway.outcome import CLIENT_LEFT, Outcome

_SHOWN_LENGTH = 256
_MILLISECONDS = tuple(f".{number:03d}+00:00" for number in range(1000))


class _Line(msgspec.Struct):
    time: str
    method: str
    path: str
    status: int
    duration_ms: float
    request_id: str
    bytes: int
    client: str | None
    error: str | None
    headers: dict[str, str]
    token: str | None
    held_ms: float
    first_byte_ms: float | None
    stream: bool
    prompt_tokens: int | None
    completion_tokens: int | None


class AccessLog:
    def __init__(self, header_names: Sequence[str], writer: LineWriter | None = None) -> None:
        self._header_names = {name.encode(): name for name in header_names}
        self._writer = writer or LineWriter(sys.stdout.fileno())
        self._encode = msgspec.json.Encoder().encode
        self._second = 0
        self._second_shown = ""

    @property
    def dropped(self) -> int:
        return self._writer.dropped

    def write(self, outcome: Outcome) -> None:
        # Probes come every few seconds and would drown everything else.
        if outcome.raw_path == b"/health":
            return
        names = self._header_names
        # By position, which is five times as fast as by name.
        line = self._encode(
            _Line(
                self._time(outcome.started_at),
                outcome.method,
                _shown(outcome.raw_path),
                outcome.status or CLIENT_LEFT,
                _milliseconds(outcome.duration_seconds),
                outcome.request_id.decode(),
                outcome.bytes_sent,
                outcome.client_host,
                outcome.error_code,
                {names[name]: _shown(value) for name, value in outcome.headers if name in names},
                outcome.token_name,
                _milliseconds(outcome.held_seconds),
                None if outcome.first_byte_seconds is None else _milliseconds(outcome.first_byte_seconds),
                outcome.is_stream,
                outcome.prompt_tokens,
                outcome.completion_tokens,
            )
        )
        # Beyond ASCII there are characters that end lines or steer terminals.
        self._writer.put((line if line.isascii() else json.dumps(json.loads(line)).encode()) + b"\n")

    def close(self) -> None:
        """Write what waits."""
        self._writer.close()

    def _time(self, at: float) -> str:
        second = int(at)
        if second != self._second:
            self._second = second
            self._second_shown = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        return self._second_shown + _MILLISECONDS[int((at - second) * 1000)]


def _shown(value: bytes) -> str:
    return value[:_SHOWN_LENGTH].decode("utf-8", "replace")


def _milliseconds(seconds: float) -> float:
    # To one decimal; `round` takes four times as long.
    return int(seconds * 10000 + 0.5) / 10
