"""uvicorn's HTTP protocol, with the inference routes taken out of ASGI and with bounds on what a client may do.

Parsing, keep-alive, pipelining, flow control and graceful shutdown stay uvicorn's. What is used of its insides is
checked by tests, and the lock file pins the version that they ran against.
"""

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Any, cast

import httptools
from uvicorn.config import Config
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
from pmp_gateway.patience import Overdue
from pmp_gateway.pipelining import Pipelined
from pmp_gateway.relay import Relay
from pmp_gateway.request_head import RequestHead
from pmp_gateway.routes import is_inference

if TYPE_CHECKING:
    from pmp_gateway.app import Door

log = logging.getLogger(__name__)

# How much is still read and thrown away of a request that was refused.
_LINGER_BYTES = 64 * 1024 * 1024
_VERSIONS = frozenset({"1.0", "1.1"})
# Even the smallest chunks of a body have no more beside each of their bytes.
_FRAMING_PER_BYTE = 8


class PublicProtocol(Pipelined):
    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._gateway: Gateway = cast("Door", config.app).gateway
        # In uvicorn's place, which makes the scope that an ASGI application is called with: most requests go to none.
        self._head = RequestHead(self)
        self.parser = httptools.HttpRequestParser(self._head)
        self._is_counted = False
        self._head_bytes = 0
        # What came lately with a body beside it: sizes of chunks, their extensions, trailers.
        self._framing_bytes = 0
        self._lingered_bytes = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(cast("asyncio.Transport", transport))
        self.patience.idle_since = time.monotonic()
        try:
            self._gateway.crowd.enter(self._host)
            self._is_counted = True
        except TooManyConnections as error:
            if len(self.connections) > 2 * self._gateway.settings.max_connections:
                self.transport.abort()
            else:
                self._reject(error)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._is_counted:
            self._gateway.crowd.leave(self._host)

    def data_received(self, data: bytes) -> None:
        patience = self.patience
        if patience.lingers_since is not None:
            self._lingered_bytes += len(data)
            if self._lingered_bytes > _LINGER_BYTES:
                self.transport.abort()
            return
        patience.idle_since = None
        if patience.body_since is not None:
            self._framing_bytes += len(data)
        else:
            self._head_bytes += len(data)
            if patience.head_since is None:
                patience.head_since = time.monotonic()
        try:
            self._feed(data)
        except httptools.HttpParserCallbackError:
            log.exception("a connection failed")
            self.transport.abort()
        except httptools.HttpParserError:
            self._reject(RequestMalformed())
        else:
            most = self._gateway.settings.max_head_bytes
            if self._framing_bytes > most or (patience.head_since is not None and self._head_bytes > most):
                self._reject(HeadTooLarge())

    def eof_received(self) -> None:
        if self.patience.lingers_since is not None:
            self.transport.close()

    def check_deadlines(self, now: float) -> None:
        """Called every second or so; `now` is of the monotonic clock."""
        if self.flow.read_paused and not self.transport.is_closing() and self.client_is_gone:
            self.transport.abort()
            return
        overdue = self.patience.overdue(
            now, self._gateway.settings, answering=self._answering, reading=not self.flow.read_paused
        )
        if overdue is Overdue.TOO_SLOW:
            self._reject(ClientTooSlow())
        elif overdue is Overdue.CLOSE:
            self.transport.close()
        elif overdue is Overdue.ABORT:
            self.transport.abort()

    def on_headers_complete(self) -> None:
        if self.parser.should_upgrade() or self.is_over:
            return
        settings, head = self._gateway.settings, self._head
        # What was received may hold the body as well, or the request before.
        if len(head.headers) > settings.max_headers or (
            self._head_bytes > settings.max_head_bytes and head.size_bytes > settings.max_head_bytes
        ):
            self._reject(HeadTooLarge())
            return
        method, path, http_version = self.parser.get_method(), head.path, self.parser.get_http_version()
        if not path or http_version not in _VERSIONS:
            self._reject(RequestMalformed())
            return
        if not self.has_room():
            self.transport.abort()
            return
        self.patience.head_since = None
        self.patience.body_since = self.patience.body_part_at = time.monotonic()
        self._head_bytes = self._framing_bytes = 0
        if is_inference(method, path):
            self._start_relay(method.decode("ascii"), path, http_version)
        else:
            self._start_asgi()
        # What may follow the body is thrown away: nobody would look at it before it counts.
        head.headers = []

    def _start_asgi(self) -> None:
        head = self._head
        super().on_message_begin()
        self.url, self.expect_100_continue = head.url, head.expects_continue
        # This very list is the scope's.
        self.headers.extend(head.headers)
        super().on_headers_complete()
        if head.expects_continue and self.cycle is not None:
            # None of these routes asks for the body, and then it is unknown whether it comes.
            self.cycle.keep_alive = False

    def _start_relay(self, method: str, path: bytes, http_version: str) -> None:
        head = self._head
        exchange = Exchange(method, path, head.headers, self._host)
        headers = self.server_state.default_headers + self._gateway.cors.headers_for(head.headers)
        relay = Relay(
            self._gateway,
            self,
            exchange,
            ClientAnswer(self.transport, exchange, headers, http_version),
            keep_alive=http_version != "1.0" and self.parser.should_keep_alive(),
            expects_continue=head.expects_continue,
        )
        self.line_up(relay)

    def on_body(self, body: bytes) -> None:
        self.patience.body_part_at = time.monotonic()
        self._framing_bytes = max(0, self._framing_bytes - _FRAMING_PER_BYTE * len(body))
        if isinstance(self.cycle, Relay):
            self.cycle.take_body(body)
        elif not self.is_over:
            super().on_body(body)

    def on_message_complete(self) -> None:
        if self.parser.should_upgrade() or self.is_over:
            return
        self.patience.body_since = None
        self._framing_bytes = 0
        if not self._answering:
            self.patience.idle_since = time.monotonic()
        if isinstance(self.cycle, Relay):
            self.cycle.take_body_end()
        else:
            super().on_message_complete()

    @property
    def _host(self) -> str | None:
        return self.client[0] if self.client else None

    @property
    def _answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _feed(self, data: bytes) -> None:
        while True:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                # The parser takes what follows for another protocol's, but it is the body.
                method = self.parser.get_method()
                if method == b"CONNECT":
                    self._reject(RequestMalformed())
                    return
                head = self._head.without_offer(method, self.parser.get_http_version())
                self.parser = httptools.HttpRequestParser(self._head)
                data = head + data[upgrade.args[0] :]
            else:
                return

    def _reject(self, error: GatewayError) -> None:
        """Give up on what the client sends: it is not, or not yet, a request that could be answered like others."""
        if self.is_over:
            return
        cycle = self.cycle
        if self.is_busy and cycle is self.answered and isinstance(cycle, Relay) and not cycle.body_complete:
            cycle.keep_alive = False
            cycle.refuse(error)
        elif self._answering:
            # Nothing can be written into an answer that is under way, or before one.
            self.transport.abort()
        else:
            exchange = Exchange("", b"", [], self._host)
            answer = answer_to(error)
            exchange.error_code = answer.code
            ClientAnswer(self.transport, exchange, self.server_state.default_headers, "1.1").send_whole(
                answer.status, answer.headers, answer.body, keep_alive=False
            )
            self._gateway.record(exchange)
            self.linger()
