"""Anthropic's own Python client through the gateway, to the demo model in the real vLLM."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import anthropic
import pytest
from anthropic import Anthropic, AsyncAnthropic, Omit
from anthropic.types import Message, MessageParam, ToolParam, ToolUseBlock

from tests.e2e.conftest import TOKEN
from tests.e2e.engine import CONTEXT_TOKENS, GREETING
from tests.unit.gateway.gateway_process import GatewayProcess

pytestmark = [pytest.mark.vllm, pytest.mark.slow, pytest.mark.timeout(600)]

HELLO: list[MessageParam] = [{"role": "user", "content": "Hello"}]
WEATHER: ToolParam = {
    "name": "get_weather",
    "description": "The weather in a city",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
WITHOUT_BEARER: dict[str, Any] = {"Authorization": Omit()}
TOO_LONG = "word " * CONTEXT_TOKENS


@pytest.fixture
def client(gateway: GatewayProcess) -> Iterator[Anthropic]:
    with Anthropic(base_url=gateway.url, api_key="any", max_retries=0) as client:
        yield client


@pytest.fixture
async def async_client(gateway: GatewayProcess) -> AsyncIterator[AsyncAnthropic]:
    async with AsyncAnthropic(base_url=gateway.url, api_key="any", max_retries=0) as client:
        yield client


@pytest.fixture
def guarded(guarded_gateway: GatewayProcess) -> Iterator[Anthropic]:
    with Anthropic(base_url=guarded_gateway.url, api_key=TOKEN, max_retries=0) as client:
        yield client


def text_of(message: Message) -> str:
    return "".join(block.text for block in message.content if block.type == "text")


def calls_in(message: Message) -> list[ToolUseBlock]:
    return [block for block in message.content if block.type == "tool_use"]


def test_a_message_is_answered(client: Anthropic) -> None:
    answer = client.messages.create(model="llm", max_tokens=100, messages=HELLO)

    assert text_of(answer) == GREETING
    assert answer.stop_reason == "end_turn"
    assert answer.usage.output_tokens > 0


def test_a_streamed_message_comes_in_pieces(client: Anthropic) -> None:
    with client.messages.stream(model="llm", max_tokens=100, messages=HELLO) as stream:
        pieces = list(stream.text_stream)
        answer = stream.get_final_message()

    assert "".join(pieces) == GREETING
    assert len(pieces) > 5
    assert answer.stop_reason == "end_turn"
    assert answer.usage.output_tokens > 5


def test_a_tool_is_called_and_its_result_reported(client: Anthropic) -> None:
    messages: list[MessageParam] = [{"role": "user", "content": "What is the weather in Rome?"}]
    asked = client.messages.create(model="llm", max_tokens=100, messages=messages, tools=[WEATHER])
    (call,) = calls_in(asked)

    assert asked.stop_reason == "tool_use"
    assert (call.name, call.input) == ("get_weather", {"city": "Rome"})

    messages += [
        {"role": "assistant", "content": [{"type": "tool_use", "id": call.id, "name": call.name, "input": call.input}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call.id, "content": "rainy"}]},
    ]
    reported = client.messages.create(model="llm", max_tokens=100, messages=messages, tools=[WEATHER])

    assert reported.stop_reason == "end_turn"
    assert "rainy in Rome" in text_of(reported)


def test_a_streamed_tool_call_is_put_together_by_the_client(client: Anthropic) -> None:
    oslo: list[MessageParam] = [{"role": "user", "content": "What is the weather in Oslo?"}]
    with client.messages.stream(model="llm", max_tokens=100, messages=oslo, tools=[WEATHER]) as stream:
        kinds = [event.type for event in stream]
        answer = stream.get_final_message()

    assert "input_json" in kinds
    assert answer.stop_reason == "tool_use"
    assert [(call.name, call.input) for call in calls_in(answer)] == [("get_weather", {"city": "Oslo"})]


def test_tokens_are_counted_as_the_answer_counts_them(client: Anthropic) -> None:
    counted = client.messages.count_tokens(model="llm", messages=HELLO)
    answer = client.messages.create(model="llm", max_tokens=1, messages=HELLO)

    assert counted.input_tokens == answer.usage.input_tokens > 0


def test_models_are_listed(client: Anthropic) -> None:
    assert "llm" in [model.id for model in client.models.list()]
    assert client.models.retrieve("llm").id == "llm"


@pytest.mark.parametrize("stream", [False, True])
def test_a_prompt_that_is_too_long_is_a_bad_request_that_names_the_context(client: Anthropic, stream: bool) -> None:
    too_long: list[MessageParam] = [{"role": "user", "content": TOO_LONG}]
    with pytest.raises(anthropic.BadRequestError) as refused:
        client.messages.create(model="llm", max_tokens=100, messages=too_long, stream=stream)

    assert f"maximum context length is {CONTEXT_TOKENS}" in (refused.value.api_message or "")


def test_a_token_comes_in_as_this_client_sends_it_and_as_older_ones_do(guarded: Anthropic) -> None:
    older = guarded.with_options(default_headers={**WITHOUT_BEARER, "x-api-key": TOKEN})

    assert text_of(guarded.messages.create(model="llm", max_tokens=100, messages=HELLO)) == GREETING
    assert text_of(older.messages.create(model="llm", max_tokens=100, messages=HELLO)) == GREETING


@pytest.mark.parametrize("headers", [{}, {**WITHOUT_BEARER, "x-api-key": "wrong"}], ids=["bearer", "x-api-key"])
def test_a_wrong_token_is_an_authentication_error(guarded: Anthropic, headers: dict[str, str]) -> None:
    stranger = guarded.with_options(api_key="wrong", default_headers=headers)
    with pytest.raises(anthropic.AuthenticationError) as refused:
        stranger.messages.create(model="llm", max_tokens=100, messages=HELLO)

    assert refused.value.type == "authentication_error"


def test_a_model_that_is_not_there_is_not_found(guarded: Anthropic) -> None:
    with pytest.raises(anthropic.NotFoundError) as refused:
        guarded.messages.create(model="claude", max_tokens=100, messages=HELLO)

    assert "claude" in (refused.value.api_message or "")
    assert refused.value.type == "not_found_error"


def test_answers_and_errors_carry_the_id_that_the_gateways_log_has(
    guarded: Anthropic, guarded_gateway: GatewayProcess
) -> None:
    answer = guarded.messages.create(model="llm", max_tokens=1, messages=HELLO)
    with pytest.raises(anthropic.NotFoundError) as refused:
        guarded.messages.create(model="claude", max_tokens=100, messages=HELLO)

    assert answer._request_id
    assert guarded_gateway.logged(answer._request_id)["status"] == 200
    assert refused.value.request_id
    assert guarded_gateway.logged(refused.value.request_id)["status"] == 404


async def test_twenty_streams_at_once_each_get_the_whole_answer(async_client: AsyncAnthropic) -> None:
    async def ask() -> str:
        async with async_client.messages.stream(model="llm", max_tokens=100, messages=HELLO) as stream:
            return await stream.get_final_text()

    assert await asyncio.gather(*(ask() for _ in range(20))) == [GREETING] * 20
