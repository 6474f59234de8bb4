"""Which headers cross the gateway: those that an engine may heed, and those that are about its answer."""

from collections.abc import Collection

from pmp_gateway.failures import Headers

# All else tells who the client is, frames its connection, or would let it steer the engine.
_FORWARDED = frozenset(
    {b"accept", b"user-agent", b"traceparent", b"tracestate", b"anthropic-version", b"anthropic-beta"}
)
_HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
_NOT_RETURNED = _HOP_BY_HOP | {b"content-length", b"date", b"server", b"set-cookie", b"x-request-id"}


def steers_engine(name: str) -> bool:
    """Whether vLLM lets such a header decide on priorities or ranks."""
    return name.startswith(("x-vllm-", "x-data-parallel-"))


def forwarded(headers: Headers, also: Collection[bytes]) -> Headers:
    """`also` are further names that may pass, such as those that are logged."""
    named_by_connection = _named_by_connection(headers)
    return [
        item for item in headers if (item[0] in _FORWARDED or item[0] in also) and item[0] not in named_by_connection
    ]


def returned(headers: Headers) -> Headers:
    named_by_connection = _named_by_connection(headers)
    # The engine allows every origin; which ones may come in is not its business.
    return [
        item
        for item in headers
        if item[0] not in _NOT_RETURNED
        and item[0] not in named_by_connection
        and not item[0].startswith(b"access-control-")
    ]


def length_of(headers: Headers) -> int | None:
    """The content length, which the parser has seen to be a number."""
    for name, value in headers:
        if name == b"content-length":
            return int(value)
    return None


def is_chunked(headers: Headers) -> bool:
    """The parser has seen that there is no other transfer coding."""
    return any(name == b"transfer-encoding" for name, _ in headers)


def is_event_stream(headers: Headers) -> bool:
    return _has_type(headers, b"text/event-stream")


def is_json(headers: Headers) -> bool:
    return _has_type(headers, b"application/json")


def _has_type(headers: Headers, media_type: bytes) -> bool:
    return any(name == b"content-type" and value.lower().startswith(media_type) for name, value in headers)


def _named_by_connection(headers: Headers) -> Collection[bytes]:
    for name, value in headers:
        if name == b"connection" and value.lower() not in (b"keep-alive", b"close"):
            values = (value for name, value in headers if name == b"connection")
            return {token.strip().lower() for value in values for token in value.split(b",")}
    return ()
