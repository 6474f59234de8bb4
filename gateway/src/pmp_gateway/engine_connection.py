"""One connection to the engine: a request goes out, its answer comes back as it arrives, failures as our own."""

import asyncio
import time
from typing import Protocol, cast

import httptools

from pmp_gateway.failures import BackendBroken, BackendFailure, Headers

_MAX_HEAD_BYTES = 64 * 1024
# A request that was lost later was being worked on, and may be what the engine died of: it is not sent again.
_STALE_SECONDS = 1.0


class Listener(Protocol):
    """Whoever asked. The calls come in this order; after `answer_ended` or `answer_failed` there are no more."""

    def answer_started(self, status: int, headers: Headers, /) -> None: ...

    def answer_part(self, data: bytes) -> None: ...

    def answer_ended(self) -> None: ...

    def answer_failed(self, error: BackendFailure) -> None: ...


class Pool(Protocol):
    """Where connections belong."""

    def opened(self, connection: "Connection") -> None: ...

    def closed(self, connection: "Connection") -> None: ...

    def release(self, connection: "Connection") -> None:
        """It has nothing to do."""


class Connection(asyncio.Protocol):
    """One connection to the engine, for one request at a time."""

    _transport: asyncio.Transport

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._parser = httptools.HttpResponseParser(self)
        self._listener: Listener | None = None
        self._status = 0
        self._headers: Headers = []
        self._parts: list[bytes] = []
        self._head_bytes = 0
        self._answer_begun = False
        self._head_complete = False
        self._ends_with_connection = False
        self._ended = False
        self._keep = False
        self._paused = False
        self._served_before = False
        self.last_active = time.monotonic()

    @property
    def usable(self) -> bool:
        return not self._transport.is_closing()

    @property
    def waits_for_data(self) -> bool:
        return self._listener is not None and not self._paused

    @property
    def was_stale(self) -> bool:
        """It was lost at once, as one is that the engine closed while the request was on its way."""
        at_once = time.monotonic() - self.last_active < _STALE_SECONDS
        return self._served_before and not self._answer_begun and at_once

    def ask(self, request: bytes, listener: Listener) -> None:
        """Send a whole request; the listener hears the answer."""
        self._listener = listener
        self._headers = []
        self._head_bytes = 0
        self._answer_begun = self._head_complete = self._ended = self._ends_with_connection = False
        self.last_active = time.monotonic()
        self._transport.write(request)

    def abort(self) -> None:
        """Close at once, which makes the engine stop; the listener hears no more."""
        self._listener = None
        self._transport.abort()

    def pause(self) -> None:
        if not self._paused and self.usable:
            self._paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        if self._paused:
            self._paused = False
            self.last_active = time.monotonic()
            if self.usable:
                self._transport.resume_reading()

    def fail(self, error: BackendFailure) -> None:
        listener, self._listener = self._listener, None
        self._transport.abort()
        if listener is not None:
            listener.answer_failed(error)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._pool.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._pool.closed(self)
        listener, self._listener = self._listener, None
        if listener is None:
            return
        if exc is None and self._ends_with_connection and self._head_complete:
            listener.answer_ended()
        else:
            listener.answer_failed(BackendBroken())

    def data_received(self, data: bytes) -> None:
        if self._listener is None:
            # Nobody asked: whatever this is, the next answer on this connection could not be trusted.
            self.abort()
            return
        self.last_active = time.monotonic()
        self._answer_begun = True
        had_head = self._head_complete
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self.fail(BackendBroken())
            return
        if not had_head:
            self._head_bytes += len(data)
            if self._head_complete:
                self._listener.answer_started(self._status, self._headers)
            elif self._head_bytes > _MAX_HEAD_BYTES:
                self.fail(BackendBroken())
        # The listener may abort the connection at any of these calls, and then hears no more.
        if self._parts:
            parts, self._parts = self._parts, []
            if self._listener is not None:
                self._listener.answer_part(parts[0] if len(parts) == 1 else b"".join(parts))
        if self._ended and self._listener is not None:
            self._finish(self._listener)

    def on_header(self, name: bytes, value: bytes) -> None:
        # What follows the body is no part of the head.
        if not self._head_complete:
            self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        if self._ended:
            raise ValueError("a second answer to one request")
        self._status = self._parser.get_status_code()
        if not 100 <= self._status < 600:
            raise ValueError("not a status")
        if self._status < 200:
            self._headers = []
            return
        self._head_complete = True
        names = {name for name, _ in self._headers}
        has_end = b"content-length" in names or b"transfer-encoding" in names or self._status in (204, 304)
        self._ends_with_connection = not has_end

    def on_body(self, body: bytes) -> None:
        self._parts.append(body)

    def on_message_complete(self) -> None:
        # An interim answer (1xx) completes as well.
        if self._head_complete:
            self._ended = True
            self._keep = not self._ends_with_connection and self._parser.should_keep_alive()

    def _finish(self, listener: Listener) -> None:
        self._served_before = True
        listener.answer_ended()
        self._listener = None
        # An answer may come before all of the request has gone out.
        if self._keep and self.usable and not self._paused and not self._transport.get_write_buffer_size():
            self._pool.release(self)
        else:
            self._transport.close()
