"""Servers that mean no good, or speak no HTTP: whatever they send, there is an end to it, in time and memory."""

import resource
import time
from collections.abc import Callable
from typing import Any

import pytest

from pmpctl.smoke.api import Api
from pmpctl.smoke.check import Failed
from pmpctl.smoke.target import Target
from tests.unit.smoke.zoo import raw

_HELLO = [{"role": "user", "content": "Hello"}]
_MIB_IN_KIB = 1024


def _models(api: Api) -> None:
    api.request("GET", "/v1/models").json()


def _chat(api: Api) -> None:
    api.chat(_HELLO)


def _stream(api: Api) -> None:
    with api.stream_chat(_HELLO) as stream:
        stream.read_all()


@pytest.mark.parametrize("ask", [_models, _chat, _stream])
@pytest.mark.parametrize(
    "handler",
    [
        raw.closes_at_once,
        raw.drips,
        raw.never_ends_its_answer,
        raw.never_ends_its_headers,
        raw.never_ends_its_line,
        raw.never_ends_its_pauses,
        raw.never_ends_its_stream,
        raw.resets,
        raw.says_nothing,
        raw.speaks_something_else,
    ],
    ids=lambda handler: handler.__name__,
)
def test_each_ends_in_a_failure_with_a_cure_before_long(handler: raw.Handler, ask: Callable[[Api], Any]) -> None:
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with raw.listening(handler) as url, Api(Target(url, timeout_seconds=0.3)) as api:
        began = time.monotonic()
        with pytest.raises(Failed) as caught:
            ask(api)
    assert caught.value.cure
    assert time.monotonic() - began < 20
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib < 100 * _MIB_IN_KIB


def test_a_stream_of_nothing_but_comments_is_no_answer() -> None:
    with (
        raw.listening(raw.never_ends_its_pauses) as url,
        Api(Target(url, timeout_seconds=0.3)) as api,
        pytest.raises(Failed, match="no answer within"),
    ):
        _stream(api)


def test_a_stream_that_never_ends_is_left_with_words_about_max_tokens() -> None:
    with (
        raw.listening(raw.never_ends_its_stream) as url,
        Api(Target(url, timeout_seconds=0.3)) as api,
        pytest.raises(Failed, match="does not end") as caught,
    ):
        _stream(api)
    assert "max_tokens" in caught.value.cure
