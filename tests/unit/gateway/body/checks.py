"""The two ways a body may go: to the engine, or back with a refusal."""

import json
from typing import Any

import pytest

from pmp_gateway.body import check_body
from pmp_gateway.failures import FieldRefused
from pmp_gateway.request_policy import RequestPolicy

CHAT = b"/v1/chat/completions"
ROUTES = (
    CHAT,
    b"/v1/completions",
    b"/v1/embeddings",
    b"/v1/responses",
    b"/v1/messages",
    b"/v1/messages/count_tokens",
    b"/v1/score",
    b"/v1/rerank",
    b"/v2/rerank",
    b"/tokenize",
    b"/detokenize",
)


def sent(body: dict[str, Any] | bytes, path: bytes = CHAT, **policy: Any) -> dict[str, Any]:
    """What the engine reads of a body that named no model or any."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    read = json.loads(check_body(path, raw, RequestPolicy(**policy)).naming("the-model"))
    assert read.pop("model") == "the-model"
    return dict(read)


def refused(body: dict[str, Any] | bytes, path: bytes = CHAT, **policy: Any) -> FieldRefused:
    with pytest.raises(FieldRefused) as caught:
        sent(body, path, **policy)
    return caught.value
