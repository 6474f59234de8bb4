"""The connections to the engine: requests go out, answers come back as they arrive, failures come back as our own."""

import asyncio
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, cast
from urllib.parse import urlsplit

import httptools

from pmp_gateway.failures import BackendAway, BackendBroken, BackendFailure, BackendSilent, Headers

_CONNECT_TIMEOUT_SECONDS = 5.0
# Uvicorn closes connections that were idle for 5 s; never send on one that is about to go.
_KEEP_ALIVE_SECONDS = 4.0
_SILENCE_CHECK_SECONDS = 0.5
_MAX_HEAD_BYTES = 64 * 1024
_MAX_SHORT_ANSWER_BYTES = 8 * 1024 * 1024


class Listener(Protocol):
    """Whoever asked. The calls come in this order; after `answer_ended` or `answer_failed` there are no more."""

    def answer_started(self, status: int, headers: Headers, /) -> None: ...

    def answer_part(self, data: bytes) -> None: ...

    def answer_ended(self) -> None: ...

    def answer_failed(self, error: BackendFailure) -> None: ...


class Connection(asyncio.Protocol):
    """One connection to the engine, for one request at a time."""

    _transport: asyncio.Transport

    def __init__(self, upstream: "Upstream") -> None:
        self._upstream = upstream
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
    def may_have_been_stale(self) -> bool:
        """It failed as one does that the engine closed while the request was on its way."""
        return self._served_before and not self._answer_begun

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
        self._upstream.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._upstream.closed(self)
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
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        if self._ended:
            raise ValueError("a second answer to one request")
        self._status = self._parser.get_status_code()
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
        self._listener = None
        self._served_before = True
        if self._keep and self.usable and not self._paused:
            self._upstream.release(self)
        else:
            self._transport.close()
        listener.answer_ended()


class Upstream:
    """The pool of connections to one engine. Open it and close it inside the running loop."""

    def __init__(self, base_url: str, silence_seconds: float) -> None:
        url = urlsplit(base_url)
        self._host = url.hostname or ""
        self._port = url.port or (443 if url.scheme == "https" else 80)
        self._ssl = ssl.create_default_context() if url.scheme == "https" else None
        self._silence_seconds = silence_seconds
        self._idle: list[Connection] = []
        self._open: set[Connection] = set()
        self._loop = asyncio.get_running_loop()
        self._head_end = b"host: " + url.netloc.encode() + b"\r\naccept-encoding: identity\r\n"
        self._check = self._loop.call_later(_SILENCE_CHECK_SECONDS, self._check_silence)

    def request(self, method: bytes, path: bytes, headers: Headers, body: bytes = b"") -> bytes:
        """A request as it goes over the wire; headers must not hold what frames or addresses it."""
        head = [method, b" ", path, b" HTTP/1.1\r\n", self._head_end]
        for name, value in headers:
            head += (name, b": ", value, b"\r\n")
        if body:
            head.append(b"content-type: application/json\r\ncontent-length: %d\r\n" % len(body))
        head += (b"\r\n", body)
        return b"".join(head)

    def idle(self) -> Connection | None:
        """A connection that is open and has nothing to do, now the caller's."""
        newest_stale = time.monotonic() - _KEEP_ALIVE_SECONDS
        while self._idle:
            connection = self._idle.pop()
            if connection.usable and connection.last_active > newest_stale:
                return connection
            connection.abort()
        return None

    async def connect(self) -> Connection:
        """A new connection; raises BackendAway when the engine takes none."""
        try:
            async with asyncio.timeout(_CONNECT_TIMEOUT_SECONDS):
                _, connection = await self._loop.create_connection(
                    lambda: Connection(self), self._host, self._port, ssl=self._ssl
                )
        except (OSError, TimeoutError) as error:
            raise BackendAway from error
        return connection

    async def get(self, path: str, timeout_seconds: float) -> tuple[int, bytes]:
        """A short question to the engine: status and body."""
        with _silence_as_failure():
            async with asyncio.timeout(timeout_seconds):
                connection = await self.connect()
                answer = _ShortAnswer(self._loop.create_future(), connection)
                connection.ask(self.request(b"GET", path.encode(), []), answer)
                try:
                    return await answer.whole
                finally:
                    if not answer.ended:
                        connection.abort()

    def opened(self, connection: Connection) -> None:
        self._open.add(connection)

    def closed(self, connection: Connection) -> None:
        self._open.discard(connection)

    def release(self, connection: Connection) -> None:
        self._idle.append(connection)

    async def close(self) -> None:
        self._check.cancel()
        for connection in list(self._open):
            connection.abort()

    def _check_silence(self) -> None:
        now = time.monotonic()
        for connection in [each for each in self._open if each.waits_for_data]:
            if now - connection.last_active > self._silence_seconds:
                connection.fail(BackendSilent())
        while self._idle and (not self._idle[0].usable or now - self._idle[0].last_active > _KEEP_ALIVE_SECONDS):
            self._idle.pop(0).abort()
        self._check = self._loop.call_later(_SILENCE_CHECK_SECONDS, self._check_silence)


class _ShortAnswer:
    def __init__(self, whole: asyncio.Future[tuple[int, bytes]], connection: Connection) -> None:
        self.whole = whole
        self.ended = False
        self._connection = connection
        self._status = 0
        self._body = b""

    def answer_started(self, status: int, _headers: Headers) -> None:
        self._status = status

    def answer_part(self, data: bytes) -> None:
        self._body += data
        if len(self._body) > _MAX_SHORT_ANSWER_BYTES:
            self._connection.fail(BackendBroken())

    def answer_ended(self) -> None:
        self.ended = True
        if not self.whole.done():
            self.whole.set_result((self._status, self._body))

    def answer_failed(self, error: BackendFailure) -> None:
        self.ended = True
        if not self.whole.done():
            self.whole.set_exception(error)


@contextmanager
def _silence_as_failure() -> Iterator[None]:
    try:
        yield
    except TimeoutError as error:
        raise BackendSilent from error
