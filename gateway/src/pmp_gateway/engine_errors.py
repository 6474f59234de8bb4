"""The engine's own error answers, where clients would not understand them as they are."""

import msgspec

from pmp_gateway.failures import TYPED_ROUTES, BackendBroken, answer_to

_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
# What its framework says of a route that this model does not serve.
_NO_SUCH_ROUTE = b'{"detail":"Not Found"}'


def is_not_served(status: int, body: bytes) -> bool:
    return status == 404 and body == _NO_SUCH_ROUTE


def as_event_data(raw_path: bytes, body: bytes) -> bytes:
    """An error body for an event stream that has begun: clients look for `error`, on some routes for `type` as well."""
    try:
        members = _MEMBERS.decode(body)
        error = members["error"]
    except (msgspec.DecodeError, KeyError, RecursionError):
        return answer_to(BackendBroken(), raw_path).body
    if raw_path.startswith(TYPED_ROUTES):
        return msgspec.json.encode({"type": "error", "error": error})
    return msgspec.json.encode({"error": error})
