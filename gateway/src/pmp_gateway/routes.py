"""The whole public API as a table; what is not in it does not exist."""

import re
from collections.abc import Mapping
from enum import Enum, auto

from pmp_gateway.failures import MethodNotAllowed, RouteUnknown


class Handler(Enum):
    HEALTH = auto()
    MODELS = auto()
    METRICS = auto()
    INFERENCE = auto()


_TABLE: Mapping[bytes, tuple[str, Handler]] = {
    b"/health": ("GET", Handler.HEALTH),
    b"/v1/models": ("GET", Handler.MODELS),
    b"/v1/chat/completions": ("POST", Handler.INFERENCE),
    b"/v1/completions": ("POST", Handler.INFERENCE),
    b"/v1/embeddings": ("POST", Handler.INFERENCE),
    b"/v1/responses": ("POST", Handler.INFERENCE),
    b"/v1/messages": ("POST", Handler.INFERENCE),
    b"/v1/messages/count_tokens": ("POST", Handler.INFERENCE),
    b"/v1/score": ("POST", Handler.INFERENCE),
    b"/v1/rerank": ("POST", Handler.INFERENCE),
    b"/v2/rerank": ("POST", Handler.INFERENCE),
    b"/score": ("POST", Handler.INFERENCE),
    b"/rerank": ("POST", Handler.INFERENCE),
    b"/tokenize": ("POST", Handler.INFERENCE),
    b"/detokenize": ("POST", Handler.INFERENCE),
}

_INFERENCE_PATHS = frozenset(path for path, (_, handler) in _TABLE.items() if handler is Handler.INFERENCE)

# A model's id may contain slashes, which clients send as they are or as %2F; nothing else may be encoded.
_ID_PART = rb"[A-Za-z0-9][A-Za-z0-9._:@+-]*"
_ONE_MODEL = re.compile(rb"/v1/models/" + _ID_PART + rb"(?:(?:/|%2[Ff])" + _ID_PART + rb")*")

_METRICS_PATH = b"/metrics"

ONE_MODEL = "/v1/models/{id}"
# The names of all routes that are one path; they and ONE_MODEL are all the names there are.
ROUTE_NAMES: Mapping[bytes, str] = {path: path.decode() for path in (*_TABLE, _METRICS_PATH)}


def find_handler(method: str, raw_path: bytes, *, with_metrics: bool = False) -> Handler:
    """Matches the path exactly as it came over the wire, so that no spelling of a path can mean another one."""
    is_metrics = with_metrics and raw_path == _METRICS_PATH
    allowed, handler = ("GET", Handler.METRICS) if is_metrics else _find(raw_path)
    if method != allowed:
        raise MethodNotAllowed(allowed)
    return handler


def allowed_method(raw_path: bytes) -> str:
    """The one method that a path of the API takes; raises RouteUnknown."""
    return _find(raw_path)[0]


def route_name(raw_path: bytes) -> str | None:
    """The route that a path belongs to; None where there is none."""
    return ROUTE_NAMES.get(raw_path) or (ONE_MODEL if _ONE_MODEL.fullmatch(raw_path) else None)


def _find(raw_path: bytes) -> tuple[str, Handler]:
    entry = _TABLE.get(raw_path)
    if entry is None and _ONE_MODEL.fullmatch(raw_path):
        entry = ("GET", Handler.MODELS)
    if entry is None:
        raise RouteUnknown
    return entry


def is_inference(method: bytes, path: bytes) -> bool:
    return method == b"POST" and path in _INFERENCE_PATHS
