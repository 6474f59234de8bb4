"""Whatever a server answers, the client ends with an answer in the types that it promises, or with words and a cure."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pmpctl.smoke import prompts
from pmpctl.smoke.api import Api
from pmpctl.smoke.check import Failed
from pmpctl.smoke.target import Target
from tests.unit.smoke.zoo.api import TOKEN
from tests.unit.smoke.zoo.odd import ABSENT, Fixed, Odd
from tests.unit.smoke.zoo.serving import served

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8)
any_json = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner)
)
odd_values = st.just(ABSENT) | st.sampled_from(["", "9", -1, 10**400, 1e308, [], {}, [[]], [{}]]) | any_json

# The server stands outside of the examples, and takes what each wants it to answer.
fuzzed = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def odd() -> Iterator[tuple[Odd, str]]:
    server = Odd()
    with served(server) as url:
        yield server, url


@pytest.fixture(scope="module")
def fixed() -> Iterator[tuple[Fixed, str]]:
    server = Fixed()
    with served(server) as url:
        yield server, url


def ask_all(url: str) -> None:
    """Asks for the models, an answer and a stream; each gives types as promised, or a failure in words."""
    tools: dict[str, Any] = {"tools": [prompts.WEATHER], "max_tokens": 8}
    with Api(Target(url, TOKEN, timeout_seconds=10)) as api:
        for ask in (_list_models, _chat, _stream):
            for question in (prompts.ONE_CITY, "Hello"):
                try:
                    ask(api, [prompts.user(question)], tools)
                except Failed as failed:
                    assert failed.what.isprintable() or "\n" not in failed.what
                    failed.what.encode()
                    assert failed.cure


def _list_models(api: Api, _: list[prompts.Message], __: dict[str, Any]) -> None:
    answer = api.request("GET", "/v1/models")
    assert answer.error is None or isinstance(answer.error.message, str)
    answer.require_ok().json()


def _chat(api: Api, messages: list[prompts.Message], fields: dict[str, Any]) -> None:
    _require_types(api.chat(messages, **fields))


def _stream(api: Api, messages: list[prompts.Message], fields: dict[str, Any]) -> None:
    with api.stream_chat(messages, **fields) as stream:
        _require_types(stream.read_all())


def _require_types(answer: Any) -> None:
    assert isinstance(answer.text, str)
    assert isinstance(answer.reasoning, str)
    assert answer.finish_reason is None or isinstance(answer.finish_reason, str)
    assert answer.usage is None or all(isinstance(count, int) for count in answer.usage.values())
    for call in answer.tool_calls:
        assert all(isinstance(value, str) for value in (call.id, call.name, call.arguments))
    assert answer.text or answer.reasoning or answer.tool_calls


@fuzzed
@given(nth=st.integers(0, 30), value=odd_values)
def test_a_value_of_another_kind_anywhere_is_no_crash(odd: tuple[Odd, str], nth: int, value: Any) -> None:
    server, url = odd
    server.nth, server.value = nth, value
    ask_all(url)


@fuzzed
@given(
    body=st.binary(max_size=40) | st.sampled_from([b"[" * 100_000, b'{"a":' * 100_000, b'"\\ud800"', b"9" * 5000]),
    kind=st.sampled_from(["application/json", "text/event-stream", "text/html", "", "é"]),
    status=st.sampled_from([200, 201, 302, 400, 401, 404, 429, 500, 503, 599]),
    is_event=st.booleans(),
)
def test_bytes_of_any_kind_are_no_crash(
    fixed: tuple[Fixed, str], body: bytes, kind: str, status: int, is_event: bool
) -> None:
    server, url = fixed
    server.body = b"data: " + body + b"\n\n" if is_event else body
    server.kind, server.status = kind, status
    ask_all(url)
