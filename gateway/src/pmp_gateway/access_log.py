"""One JSON line per request on stdout: who asked for what and how it went; never a body, a query string or a token."""

import json
import sys
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime

from pmp_gateway.exchange import Exchange

_SHOWN_LENGTH = 256


class AccessLog:
    def __init__(self, header_names: Sequence[str]) -> None:
        self._header_names = frozenset(name.encode() for name in header_names)

    def write(self, exchange: Exchange, status: int) -> None:
        # Probes come every few seconds and would drown everything else.
        if exchange.raw_path == b"/health":
            return
        client = exchange.scope["client"]
        record = {
            "time": datetime.fromtimestamp(exchange.started_at, UTC).isoformat(timespec="milliseconds"),
            "method": exchange.method,
            "path": _shown(exchange.raw_path),
            "status": status,
            "duration_ms": round(exchange.duration_seconds * 1000, 1),
            "request_id": exchange.request_id.decode(),
            "bytes": exchange.bytes_sent,
            "client": client[0] if client else None,
            "error": exchange.error_code,
            "headers": {name.decode(): _shown(value) for name, value in exchange.headers if name in self._header_names},
        }
        # A log that nobody can take any more is no reason to stop serving.
        with suppress(OSError):
            sys.stdout.write(json.dumps(record, separators=(",", ":")) + "\n")
            sys.stdout.flush()


def _shown(value: bytes) -> str:
    return value[:_SHOWN_LENGTH].decode("utf-8", "replace")
