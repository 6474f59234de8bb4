"""What a client sends on one connection, from bytes to requests, and the bounds that it must keep."""

import asyncio
import logging
import time
from typing import Protocol

import httptools

from pmp_gateway.client_answer import ClientAnswer
from pmp_gateway.exchange import Exchange
from pmp_gateway.failures import GatewayError, Headers, HeadTooLarge, RequestMalformed
from pmp_gateway.gateway import Gateway
from pmp_gateway.patience import Patience
from pmp_gateway.relay import ClientConnection, Relay
from pmp_gateway.request_head import RequestHead
from pmp_gateway.routes import is_inference

log = logging.getLogger(__name__)

# How much is still read and thrown away of a request that was refused.
_LINGER_BYTES = 64 * 1024 * 1024
_VERSIONS = frozenset({"1.0", "1.1"})
# Even the smallest chunks of a body have no more beside each of their bytes.
_FRAMING_PER_BYTE = 8


class Connection(ClientConnection, Protocol):
    """What the reader needs of the connection that it reads."""

    @property
    def is_answering(self) -> bool: ...

    @property
    def has_room(self) -> bool: ...

    def line_up(self, relay: Relay) -> None: ...

    def reject(self, error: GatewayError) -> None: ...

    # Of the requests that are no relays; the last two are uvicorn's own.

    def start_asgi(self, parser: httptools.HttpRequestParser, head: RequestHead) -> None: ...

    def on_body(self, body: bytes) -> None: ...

    def on_message_complete(self) -> None: ...


class RequestReader:
    """Parses; a request of an inference route becomes a relay, and any other one the connection's."""

    def __init__(
        self,
        connection: Connection,
        transport: asyncio.Transport,
        gateway: Gateway,
        patience: Patience,
        answer_headers: Headers,
        client_host: str | None,
    ) -> None:
        self._connection = connection
        self._transport = transport
        self._gateway = gateway
        self._patience = patience
        self._answer_headers = answer_headers
        self._client_host = client_host
        self._head = RequestHead(self)
        self._parser = httptools.HttpRequestParser(self._head)
        # The request that is being read, if it is one.
        self._relay: Relay | None = None
        self._head_bytes = 0
        # What came lately with a body beside it: sizes of chunks, their extensions, trailers.
        self._framing_bytes = 0
        self._lingered_bytes = 0

    def data_received(self, data: bytes) -> None:
        patience = self._patience
        if patience.lingers_since is not None:
            self._lingered_bytes += len(data)
            if self._lingered_bytes > _LINGER_BYTES:
                self._transport.abort()
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
            self._transport.abort()
        except httptools.HttpParserError:
            self._connection.reject(RequestMalformed())
        else:
            most = self._gateway.settings.max_head_bytes
            if self._framing_bytes > most or (patience.head_since is not None and self._head_bytes > most):
                self._connection.reject(HeadTooLarge())

    def on_headers_complete(self) -> None:
        self._relay = None
        if self._parser.should_upgrade() or self._patience.is_over(self._transport):
            return
        settings, head = self._gateway.settings, self._head
        # What was received may hold the body as well, or the request before.
        if len(head.headers) > settings.max_headers or (
            self._head_bytes > settings.max_head_bytes and head.size_bytes > settings.max_head_bytes
        ):
            self._connection.reject(HeadTooLarge())
            return
        method, path, http_version = self._parser.get_method(), head.path, self._parser.get_http_version()
        if not path or http_version not in _VERSIONS:
            self._connection.reject(RequestMalformed())
            return
        if not self._connection.has_room:
            self._transport.abort()
            return
        self._patience.head_since = None
        self._patience.body_since = self._patience.body_part_at = time.monotonic()
        self._head_bytes = self._framing_bytes = 0
        if is_inference(method, path):
            self._start_relay(method.decode("ascii"), path, http_version)
        else:
            self._connection.start_asgi(self._parser, head)
        # What may follow the body is thrown away: nobody would look at it before it counts.
        head.headers = []

    def on_body(self, body: bytes) -> None:
        self._patience.body_part_at = time.monotonic()
        self._framing_bytes = max(0, self._framing_bytes - _FRAMING_PER_BYTE * len(body))
        if self._relay is not None:
            self._relay.take_body(body)
        elif not self._patience.is_over(self._transport):
            self._connection.on_body(body)

    def on_message_complete(self) -> None:
        if self._parser.should_upgrade() or self._patience.is_over(self._transport):
            return
        self._patience.body_since = None
        self._framing_bytes = 0
        relay = self._relay
        if not (self._connection.is_answering if relay is None else not relay.response_complete):
            self._patience.idle_since = time.monotonic()
        if relay is not None:
            relay.take_body_end()
        else:
            self._connection.on_message_complete()

    def _start_relay(self, method: str, path: bytes, http_version: str) -> None:
        head = self._head
        exchange = Exchange(method, path, head.headers, self._client_host)
        headers = self._answer_headers + self._gateway.cors.headers_for(head.headers)
        self._relay = relay = Relay(
            self._gateway,
            self._connection,
            exchange,
            ClientAnswer(self._transport, exchange, headers, http_version),
            keep_alive=http_version != "1.0" and self._parser.should_keep_alive(),
            expects_continue=head.expects_continue,
        )
        self._connection.line_up(relay)

    def _feed(self, data: bytes) -> None:
        while True:
            try:
                self._parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                # The parser takes what follows for another protocol's, but it is the body.
                method = self._parser.get_method()
                if method == b"CONNECT":
                    self._connection.reject(RequestMalformed())
                    return
                head = self._head.without_offer(method, self._parser.get_http_version())
                self._parser = httptools.HttpRequestParser(self._head)
                data = head + data[upgrade.args[0] :]
            else:
                return
