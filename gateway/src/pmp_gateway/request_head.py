"""What the first lines of a request say, as far as the gateway must know before it looks at anything else."""

from typing import Any

import httptools

from pmp_gateway.failures import Headers

# An offer to speak another protocol; none is taken.
_OFFER = frozenset({b"connection", b"upgrade", b"http2-settings"})


def path_of(url: bytes) -> bytes | None:
    """The path as it came over the wire; None where there is none that could be held against the routes."""
    if b"#" in url:
        return None
    if url.startswith(b"/"):
        path, _, _ = url.partition(b"?")
        return path
    try:
        # Not what its stubs say: an address need not have a path.
        parsed: Any = httptools.parse_url(url)
    except httptools.HttpParserInvalidURLError:
        return None
    found: bytes | None = parsed.path
    return found


def size_of(url: bytes, headers: Headers) -> int:
    return len(url) + sum(len(name) + len(value) for name, value in headers)


def without_offer(method: bytes, url: bytes, http_version: str, headers: Headers) -> bytes:
    """The head anew, as if its client had not asked for another protocol."""
    head = [method, b" ", url, b" HTTP/", http_version.encode(), b"\r\n"]
    for name, value in headers:
        if name not in _OFFER:
            head += (name, b": ", value, b"\r\n")
    return b"".join((*head, b"\r\n"))
