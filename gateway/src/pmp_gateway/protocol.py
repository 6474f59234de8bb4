"""uvicorn's HTTP protocol, with the inference routes taken out of ASGI and with bounds on what a client may do.

Keep-alive, pipelining, flow control and graceful shutdown stay uvicorn's. What is used of its insides is checked by
tests, and the lock file pins the version that they ran against.
"""

import asyncio
import time
from typing import TYPE_CHECKING, Any, cast

import httptools
from uvicorn.config import Config
from uvicorn.server import ServerState

from pmp_gateway.client_answer import ClientAnswer
from pmp_gateway.exchange import Exchange
from pmp_gateway.failures import ClientTooSlow, GatewayError, TooManyConnections, answer_to
from pmp_gateway.gateway import Gateway
from pmp_gateway.patience import Overdue
from pmp_gateway.pipelining import Pipelined
from pmp_gateway.relay import Relay
from pmp_gateway.request_head import RequestHead
from pmp_gateway.request_reader import RequestReader

if TYPE_CHECKING:
    from pmp_gateway.app import Door


class PublicProtocol(Pipelined):
    _reader: RequestReader

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._gateway: Gateway = cast("Door", config.app).gateway
        self._is_counted = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(cast("asyncio.Transport", transport))
        self.patience.idle_since = time.monotonic()
        self._reader = RequestReader(
            self, self.transport, self._gateway, self.patience, self.server_state.default_headers, self._host
        )
        try:
            self._gateway.crowd.enter(self._host)
            self._is_counted = True
        except TooManyConnections as error:
            if len(self.connections) > 2 * self._gateway.settings.max_connections:
                self.transport.abort()
            else:
                self.reject(error)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._is_counted:
            self._gateway.crowd.leave(self._host)

    def data_received(self, data: bytes) -> None:
        self._reader.data_received(data)

    def eof_received(self) -> None:
        if self.patience.lingers_since is not None:
            self.transport.close()

    def check_deadlines(self, now: float) -> None:
        """Called every second or so; `now` is of the monotonic clock."""
        if self.flow.read_paused and not self.transport.is_closing() and self.client_is_gone:
            self.transport.abort()
            return
        overdue = self.patience.overdue(
            now, self._gateway.settings, answering=self.is_answering, reading=not self.flow.read_paused
        )
        if overdue is Overdue.TOO_SLOW:
            self.reject(ClientTooSlow())
        elif overdue is Overdue.CLOSE:
            self.transport.close()
        elif overdue is Overdue.ABORT:
            self.transport.abort()

    def start_asgi(self, parser: httptools.HttpRequestParser, head: RequestHead) -> None:
        self.parser = parser
        self.on_message_begin()
        self.url, self.expect_100_continue = head.url, head.expects_continue
        # This very list is the scope's.
        self.headers.extend(head.headers)
        self.on_headers_complete()
        if head.expects_continue and self.cycle is not None:
            # None of these routes asks for the body, and then it is unknown whether it comes.
            self.cycle.keep_alive = False

    def reject(self, error: GatewayError) -> None:
        """Give up on what the client sends: it is not, or not yet, a request that could be answered like others."""
        if self.is_over:
            return
        cycle = self.cycle
        if self.is_busy and cycle is self.answered and isinstance(cycle, Relay) and not cycle.body_complete:
            cycle.keep_alive = False
            cycle.refuse(error)
        elif self.is_answering:
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

    @property
    def is_answering(self) -> bool:
        """The request that came last has not all of its answer."""
        return self.cycle is not None and not self.cycle.response_complete

    @property
    def _host(self) -> str | None:
        return self.client[0] if self.client else None
