"""A request's head: what the parser tells of it, and what must be known before anybody looks at anything else."""

from typing import Any, Protocol

import httptools

from pmp_gateway.failures import Headers

# An offer to speak another protocol; none is taken.
_OFFER = frozenset({b"connection", b"upgrade", b"http2-settings"})


class AfterHead(Protocol):
    """Whoever hears what the parser tells of a request from the end of its head on."""

    def on_headers_complete(self) -> None: ...

    def on_body(self, body: bytes) -> None: ...

    def on_message_complete(self) -> None: ...


class RequestHead:
    """To be given to the parser. It holds what came last, until the next request begins."""

    def __init__(self, rest: AfterHead) -> None:
        self.url = b""
        self.headers: Headers = []
        self.expects_continue = False
        # The parser calls these without a detour.
        self.on_headers_complete = rest.on_headers_complete
        self.on_body = rest.on_body
        self.on_message_complete = rest.on_message_complete

    def on_message_begin(self) -> None:
        self.url = b""
        self.headers = []
        self.expects_continue = False

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        if name == b"expect" and value.lower() == b"100-continue":
            self.expects_continue = True
        self.headers.append((name, value))

    @property
    def path(self) -> bytes | None:
        """As it came over the wire; None where there is none that could be held against the routes."""
        if b"#" in self.url:
            return None
        if self.url.startswith(b"/"):
            path, _, _ = self.url.partition(b"?")
            return path
        try:
            # Not what its stubs say: an address need not have a path.
            parsed: Any = httptools.parse_url(self.url)
        except httptools.HttpParserInvalidURLError:
            return None
        found: bytes | None = parsed.path
        return found

    @property
    def size_bytes(self) -> int:
        return len(self.url) + sum(len(name) + len(value) for name, value in self.headers)

    def without_offer(self, method: bytes, http_version: str) -> bytes:
        """The head anew, as if its client had not asked for another protocol."""
        head = [method, b" ", self.url, b" HTTP/", http_version.encode(), b"\r\n"]
        for name, value in self.headers:
            if name not in _OFFER:
                head += (name, b": ", value, b"\r\n")
        return b"".join((*head, b"\r\n"))
