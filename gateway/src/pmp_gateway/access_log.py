"""One JSON line per request on stdout: who asked for what and how it went; never a body, a query string or a token."""

import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import cast

import msgspec

from pmp_gateway.exchange import Exchange
from pmp_gateway.log_writer import LineWriter
from pmp_gateway.outcome import CLIENT_LEFT, Outcome

_SHOWN_LENGTH = 256


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

    def write(self, exchange: Outcome | Exchange, status: int | None = None) -> None:
        # Probes come every few seconds and would drown everything else.
        if exchange.raw_path == b"/health":
            return
        outcome = cast("Outcome", exchange if status is None else _as_outcome(cast("Exchange", exchange), status))
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
        return f"{self._second_shown}.{int((at - second) * 1000):03d}+00:00"


def _shown(value: bytes) -> str:
    return value[:_SHOWN_LENGTH].decode("utf-8", "replace")


def _milliseconds(seconds: float) -> float:
    # To one decimal; `round` takes four times as long.
    return int(seconds * 10000 + 0.5) / 10


def _as_outcome(exchange: Exchange, status: int) -> SimpleNamespace:
    client = exchange.scope["client"]
    return SimpleNamespace(
        method=exchange.method,
        raw_path=exchange.raw_path,
        headers=exchange.headers,
        client_host=client[0] if client else None,
        request_id=exchange.request_id,
        started_at=exchange.started_at,
        duration_seconds=exchange.duration_seconds,
        token_name=None,
        status=status,
        error_code=exchange.error_code,
        bytes_sent=exchange.bytes_sent,
        is_stream=False,
        held_seconds=0.0,
        first_byte_seconds=None,
        prompt_tokens=None,
        completion_tokens=None,
    )
