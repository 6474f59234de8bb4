"""Asks small servers through the client of the checks, and the answers that these give."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from pmpctl.smoke.api import Api
from pmpctl.smoke.check import Failed
from pmpctl.smoke.target import Target
from tests.unit.smoke.small_server import Reply, serving

HELLO = [{"role": "user", "content": "Hello"}]


@contextmanager
def api(url: str, token: str | None = None, timeout_seconds: float = 10) -> Iterator[Api]:
    with Api(Target(url, token=token, timeout_seconds=timeout_seconds)) as opened:
        yield opened


def completion(content: str | None = "Hello", finish_reason: str = "stop", **message: Any) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", "content": content, **message}}
    return {"choices": [choice | {"finish_reason": finish_reason}], "usage": {"completion_tokens": 1}}


def chunk(finish_reason: str | None = None, **delta: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}]}


def failure_of_chat(url: str, token: str | None = None, timeout_seconds: float = 10) -> Failed:
    with api(url, token, timeout_seconds) as opened, pytest.raises(Failed) as caught:
        opened.chat(HELLO)
    assert caught.value.cure
    return caught.value


def failure_of_stream(*events: Any) -> Failed:
    def answer(reply: Reply) -> None:
        reply.begin_stream()
        for event in events:
            reply.event(event)
        reply.part(b"")

    with (
        serving(answer) as server,
        api(server.url) as opened,
        pytest.raises(Failed) as caught,
        opened.stream_chat(HELLO) as stream,
    ):
        stream.read_all()
    return caught.value
