"""uvicorn's HTTP protocol, with the inference routes taken out of ASGI and with bounds on what a client may do.

Parsing, keep-alive, pipelining, flow control and graceful shutdown stay uvicorn's. What is used of its insides is
checked by tests, and the lock file pins the version that they ran against.
"""

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Any, cast

import httptools
from uvicorn._types import ASGI3Application
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from pmp_gateway.client_answer import ClientAnswer
from pmp_gateway.exchange import Exchange
from pmp_gateway.failures import (
    ClientTooSlow,
    GatewayError,
    HeadTooLarge,
    RequestMalformed,
    TooManyConnections,
    answer_to,
)
from pmp_gateway.gateway import Gateway
from pmp_gateway.relay import Relay
from pmp_gateway.routes import is_inference

if TYPE_CHECKING:
    from pmp_gateway.app import Door

log = logging.getLogger(__name__)

# What is still read and thrown away of a request that was refused, so that the client gets to see the answer.
_LINGER_SECONDS = 5.0
_LINGER_BYTES = 64 * 1024 * 1024
_UPGRADE_HEADERS = frozenset({b"connection", b"upgrade", b"http2-settings"})


class PublicProtocol(HttpToolsProtocol):
    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.cycle: Relay | RequestResponseCycle | None = None  # type: ignore[assignment]
        self._gateway: Gateway = cast("Door", config.app).gateway
        self._unfinished: list[Relay] = []
        # Since when it waits for the client: for another request, the rest of a head or a body, or to read an answer.
        self._idle_since: float | None = None
        self._head_since: float | None = None
        self._body_since: float | None = None
        self._body_part_at = 0.0
        self._stalled_since: float | None = None
        self._lingers_since: float | None = None
        self._head_bytes = 0
        self._lingered_bytes = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(cast("asyncio.Transport", transport))
        self._head_since = time.monotonic()
        if len(self.connections) > self._gateway.settings.max_connections:
            self._reject(TooManyConnections())

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        for relay in [*self._unfinished]:
            relay.client_left()

    def data_received(self, data: bytes) -> None:
        if self._lingers_since is not None:
            self._lingered_bytes += len(data)
            if self._lingered_bytes > _LINGER_BYTES:
                self.transport.abort()
            return
        self._idle_since = None
        if self._body_since is None:
            self._head_bytes += len(data)
            if self._head_since is None:
                self._head_since = time.monotonic()
        try:
            self._feed(data)
        except httptools.HttpParserError as error:
            if not isinstance(error, httptools.HttpParserCallbackError):
                self._reject(RequestMalformed())
            else:
                log.exception("a connection failed")
                self.transport.abort()
            return
        if self._head_since is not None and self._head_bytes > self._gateway.settings.max_head_bytes:
            self._reject(HeadTooLarge())

    def eof_received(self) -> None:
        if self._lingers_since is not None:
            self.transport.close()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stalled_since = time.monotonic()
        if self._unfinished:
            self._unfinished[0].client_stalls()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stalled_since = None
        if self._unfinished:
            self._unfinished[0].client_reads_on()

    def check_deadlines(self, now: float) -> None:
        """Called every second or so; `now` is of the monotonic clock."""
        settings = self._gateway.settings
        if self._lingers_since is not None:
            if now - self._lingers_since > _LINGER_SECONDS:
                self.transport.abort()
        elif self._stalled_since is not None:
            if now - self._stalled_since > settings.client_stall_seconds:
                self.transport.abort()
        elif self._body_since is not None and not self.flow.read_paused:
            if now - self._body_part_at > settings.body_stall_seconds or now - self._body_since > settings.body_seconds:
                self._reject(ClientTooSlow())
        elif self._head_since is not None and not self._answering and now - self._head_since > settings.head_seconds:
            self._reject(ClientTooSlow())
        elif self._idle_since is not None and now - self._idle_since > self.timeout_keep_alive:
            self.transport.close()

    def on_response_complete(self) -> None:
        """As uvicorn's, without a timer for each answer: `check_deadlines` sees to idle connections."""
        self.server_state.total_requests += 1
        if self._is_over:
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        else:
            self._idle_since = time.monotonic()

    def relay_done(self, relay: Relay) -> None:
        self._unfinished.remove(relay)
        if relay.disconnected:
            return
        if relay.keep_alive:
            self.on_response_complete()
        elif relay.body_complete:
            self.transport.close()
        else:
            self._linger()

    def on_message_begin(self) -> None:
        # Without the scope that an ASGI application is called with: most requests go to none.
        self.url = b""
        self.headers = []
        self.expect_100_continue = False

    def on_headers_complete(self) -> None:
        if self.parser.should_upgrade() or self._is_over:
            return
        if self._head_is_too_large():
            self._reject(HeadTooLarge())
            return
        self._head_since = None
        self._head_bytes = 0
        self._body_since = self._body_part_at = time.monotonic()
        method = self.parser.get_method()
        path = self._path()
        if path is None:
            self._reject(RequestMalformed())
        elif is_inference(method, path):
            self._start_relay(method.decode("ascii"), path)
        else:
            self._start_asgi()

    def _start_asgi(self) -> None:
        url, headers, expect_100_continue = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expect_100_continue
        self.headers.extend(headers)
        super().on_headers_complete()

    def _start_relay(self, method: str, path: bytes) -> None:
        http_version = self.parser.get_http_version()
        exchange = Exchange(method, path, self.headers, self.client[0] if self.client else None)
        headers = self.server_state.default_headers + self._gateway.cors.headers_for(self.headers)
        relay = Relay(
            self._gateway,
            self,
            exchange,
            ClientAnswer(self.transport, exchange, headers, http_version),
            keep_alive=http_version != "1.0" and self.parser.should_keep_alive(),
            expects_continue=self.expect_100_continue,
        )
        previous, self.cycle = self.cycle, relay
        self._unfinished.append(relay)
        if previous is None or previous.response_complete:
            relay.begin()
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((cast("RequestResponseCycle", relay), self.app))

    def on_body(self, body: bytes) -> None:
        self._body_part_at = time.monotonic()
        if isinstance(self.cycle, Relay):
            self.cycle.take_body(body)
        elif not self._is_over:
            super().on_body(body)

    def on_message_complete(self) -> None:
        if self.parser.should_upgrade() or self._is_over:
            return
        self._body_since = None
        if isinstance(self.cycle, Relay):
            self.cycle.take_body_end()
        else:
            super().on_message_complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle | Relay, app: ASGI3Application) -> None:
        # The next of several requests that came at once.
        if isinstance(cycle, Relay):
            cycle.begin()
        else:
            super()._start_asgi_task(cycle, app)

    @property
    def _answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    @property
    def _is_over(self) -> bool:
        return self._lingers_since is not None or self.transport.is_closing()

    def _head_is_too_large(self) -> bool:
        settings = self._gateway.settings
        if len(self.headers) > settings.max_headers:
            return True
        # What was received may hold the body as well, or the request before.
        return self._head_bytes > settings.max_head_bytes and (
            len(self.url) + sum(len(name) + len(value) for name, value in self.headers) > settings.max_head_bytes
        )

    def _path(self) -> bytes | None:
        url = self.url
        if not url.startswith(b"/"):
            try:
                url = httptools.parse_url(url).path or b""
            except httptools.HttpParserInvalidURLError:
                return None
        path, _, _ = url.partition(b"?")
        return path

    def _feed(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            # The parser takes what follows for another protocol's. None is offered here, so it is the body.
            method = self.parser.get_method()
            if method == b"CONNECT":
                self._reject(RequestMalformed())
                return
            head = [method, b" ", self.url, b" HTTP/1.1\r\n"]
            for name, value in self.headers:
                if name not in _UPGRADE_HEADERS:
                    head += (name, b": ", value, b"\r\n")
            self.parser = httptools.HttpRequestParser(self)
            self.parser.feed_data(b"".join(head) + b"\r\n" + data[upgrade.args[0] :])

    def _reject(self, error: GatewayError) -> None:
        """Give up on what the client sends: it is not, or not yet, a request that could be answered like others."""
        if self._is_over:
            return
        cycle = self.cycle
        if isinstance(cycle, Relay) and not cycle.response_complete and not cycle.body_complete:
            cycle.keep_alive = False
            cycle.refuse(error)
        elif self._answering:
            # Nothing can be written into an answer that is under way.
            self.transport.abort()
        else:
            exchange = Exchange("", b"", [], self.client[0] if self.client else None)
            answer = answer_to(error)
            exchange.error_code = answer.code
            ClientAnswer(self.transport, exchange, self.server_state.default_headers, "1.1").send_whole(
                answer.status, answer.headers, answer.body, keep_alive=False
            )
            self._gateway.record(exchange)
            self._linger()

    def _linger(self) -> None:
        """Close so that the client sees the answer: with unread data left, closing at once would take it away."""
        self._lingers_since = time.monotonic()
        self.transport.write_eof()
