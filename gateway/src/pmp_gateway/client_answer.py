"""The answer on its way to the client: how it is framed, and what of it has gone out."""

import asyncio
from typing import Literal

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from pmp_gateway.exchange import Exchange
from pmp_gateway.failures import Headers
from pmp_gateway.headers import is_event_stream

_HTTP_1_0 = "1.0"
_NO_CONTENT = 204


class ClientAnswer:
    def __init__(
        self, transport: asyncio.Transport, exchange: Exchange, default_headers: Headers, http_version: str
    ) -> None:
        self._transport = transport
        self._exchange = exchange
        self._default_headers = default_headers
        self._chunked = http_version != _HTTP_1_0
        self.framing: Literal["none", "length", "stream"] = "none"
        self.takes_events = False
        self._last_sent = b""

    @property
    def started(self) -> bool:
        return self.framing != "none"

    def send_whole(self, status: int, headers: Headers, body: bytes, *, keep_alive: bool) -> None:
        """The whole answer at once; `headers` say nothing of its length."""
        self.framing = "length"
        framing = b"content-length: %d\r\n" % len(body) if status != _NO_CONTENT else b""
        head = self._head(status, headers, framing, keep_alive)
        self._exchange.bytes_sent += len(body)
        self._transport.write(head + body)

    def start(self, status: int, headers: Headers, *, keep_alive: bool, length: int | None = None) -> None:
        """The head of an answer whose body follows in parts, of a length that is known or not."""
        self.framing = "stream" if length is None else "length"
        self.takes_events = length is None and is_event_stream(headers)
        if length is not None:
            framing = b"content-length: %d\r\n" % length
        else:
            framing = b"transfer-encoding: chunked\r\n" if self._chunked else b""
        self._transport.write(self._head(status, headers, framing, keep_alive))

    def send(self, data: bytes) -> None:
        self._exchange.bytes_sent += len(data)
        self._last_sent = data
        if self.framing == "stream" and self._chunked:
            self._transport.write(b"%x\r\n%b\r\n" % (len(data), data))
        else:
            self._transport.write(data)

    def send_event(self, event: bytes) -> None:
        """An event of our own; what is left of one that broke off is closed before it."""
        broken = self._last_sent and not self._last_sent.endswith((b"\n\n", b"\r\n\r\n"))
        self.send(b"\n\n" + event if broken else event)

    def end(self) -> None:
        if self.framing == "stream" and self._chunked:
            self._transport.write(b"0\r\n\r\n")

    def _head(self, status: int, headers: Headers, framing: bytes, keep_alive: bool) -> bytes:
        exchange = self._exchange
        exchange.status = status
        parts = [STATUS_LINE[status]]
        for name, value in self._default_headers:
            parts += (name, b": ", value, b"\r\n")
        for name, value in headers:
            parts += (name, b": ", value, b"\r\n")
        parts += (b"x-request-id: ", exchange.request_id, b"\r\n", framing)
        if exchange.raw_path.startswith(b"/v1/messages"):
            # Where Anthropic's clients look for it.
            parts += (b"request-id: ", exchange.request_id, b"\r\n")
        if not keep_alive:
            parts.append(b"connection: close\r\n")
        parts.append(b"\r\n")
        return b"".join(parts)
