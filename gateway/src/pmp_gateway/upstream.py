"""The connections to the engine: kept open between requests, watched for silence, and closed in time."""

import asyncio
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from pmp_gateway.engine_connection import Connection
from pmp_gateway.failures import BackendAway, BackendBroken, BackendFailure, BackendSilent, Headers

_CONNECT_TIMEOUT_SECONDS = 5.0
# Uvicorn closes connections that were idle for 5 s; never send on one that is about to go.
_KEEP_ALIVE_SECONDS = 4.0
_SILENCE_CHECK_SECONDS = 0.5
_MAX_SHORT_ANSWER_BYTES = 8 * 1024 * 1024


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
        self._check = self._loop.call_later(_SILENCE_CHECK_SECONDS, self._check_silence)
        now = time.monotonic()
        for connection in [each for each in self._open if each.waits_for_data]:
            if now - connection.last_active > self._silence_seconds:
                connection.fail(BackendSilent())
        while self._idle and (not self._idle[0].usable or now - self._idle[0].last_active > _KEEP_ALIVE_SECONDS):
            self._idle.pop(0).abort()


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
