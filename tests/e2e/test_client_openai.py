"""OpenAI's own Python client through the gateway, to the demo model in the real vLLM."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any

import httpx
import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from openai.types.chat import ChatCompletionFunctionToolParam, ChatCompletionMessageParam
from openai.types.responses import FunctionToolParam, ResponseFunctionToolCall, ResponseInputParam

from tests.e2e.conftest import TOKEN
from tests.e2e.engine import CONTEXT_TOKENS, GREETING
from tests.unit.gateway.gateway_process import GatewayProcess

pytestmark = [pytest.mark.vllm, pytest.mark.slow, pytest.mark.timeout(600)]

HELLO: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Hello"}]
CITY: dict[str, object] = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER: ChatCompletionFunctionToolParam = {
    "type": "function",
    "function": {"name": "get_weather", "description": "The weather in a city", "parameters": CITY},
}
TOO_LONG = "word " * CONTEXT_TOKENS


@pytest.fixture
def client(gateway: GatewayProcess) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{gateway.url}/v1", api_key="any", max_retries=0) as client:
        yield client


@pytest.fixture
async def async_client(gateway: GatewayProcess) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="any", max_retries=0) as client:
        yield client


@pytest.fixture
def guarded(guarded_gateway: GatewayProcess) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{guarded_gateway.url}/v1", api_key=TOKEN, max_retries=0) as client:
        yield client


def arguments_of(calls: Iterable[Any]) -> list[tuple[str, Any]]:
    return [(call.function.name, json.loads(call.function.arguments)) for call in calls]


def test_a_chat_is_answered(client: OpenAI) -> None:
    answer = client.chat.completions.create(model="llm", messages=HELLO)

    assert answer.choices[0].message.content == GREETING
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage
    assert answer.usage.completion_tokens > 0


def test_a_streamed_chat_comes_in_pieces_with_its_usage_last(client: OpenAI) -> None:
    options: Any = {"include_usage": True}
    chunks = list(client.chat.completions.create(model="llm", messages=HELLO, stream=True, stream_options=options))

    pieces = [chunk.choices[0].delta.content for chunk in chunks[:-1]]
    assert "".join(piece or "" for piece in pieces) == GREETING
    assert len(pieces) > 5
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].usage
    assert chunks[-1].usage.completion_tokens > 5


def test_a_tool_is_called_and_its_result_reported(client: OpenAI) -> None:
    messages: list[ChatCompletionMessageParam] = [{"role": "user", "content": "What is the weather in Rome?"}]
    asked = client.chat.completions.create(model="llm", messages=messages, tools=[WEATHER]).choices[0]

    assert asked.finish_reason == "tool_calls"
    assert asked.message.tool_calls
    assert arguments_of(asked.message.tool_calls) == [("get_weather", {"city": "Rome"})]

    (call,) = asked.message.tool_calls
    messages += [
        {"role": "assistant", "tool_calls": [{"id": call.id, "type": "function", "function": WEATHER_IN_ROME}]},
        {"role": "tool", "tool_call_id": call.id, "content": "rainy"},
    ]
    reported = client.chat.completions.create(model="llm", messages=messages, tools=[WEATHER]).choices[0]

    assert reported.finish_reason == "stop"
    assert "rainy in Rome" in (reported.message.content or "")


WEATHER_IN_ROME: Any = {"name": "get_weather", "arguments": '{"city": "Rome"}'}


def test_a_streamed_tool_call_is_put_together_by_the_client(client: OpenAI) -> None:
    with client.chat.completions.stream(
        model="llm", messages=[{"role": "user", "content": "What is the weather in Oslo?"}], tools=[WEATHER]
    ) as stream:
        kinds = [event.type for event in stream]
        choice = stream.get_final_completion().choices[0]

    assert "tool_calls.function.arguments.delta" in kinds
    assert choice.finish_reason == "tool_calls"
    assert choice.message.tool_calls
    assert arguments_of(choice.message.tool_calls) == [("get_weather", {"city": "Oslo"})]


def test_completions_are_answered_plainly_and_streamed(client: OpenAI) -> None:
    plain = client.completions.create(model="llm", prompt="Hello", max_tokens=5)
    chunks = list(client.completions.create(model="llm", prompt="Hello", max_tokens=5, stream=True))

    assert plain.choices[0].finish_reason == "length"
    assert len(chunks) > 1
    assert "".join(chunk.choices[0].text for chunk in chunks) == plain.choices[0].text


def test_responses_are_answered_plainly_and_streamed(client: OpenAI) -> None:
    plain = client.responses.create(model="llm", input="Hello")
    events = list(client.responses.create(model="llm", input="Hello", stream=True))
    deltas = [event.delta for event in events if event.type == "response.output_text.delta"]

    assert plain.output_text == GREETING
    assert "".join(deltas) == GREETING
    assert len(deltas) > 5
    assert events[-1].type == "response.completed"


def test_responses_call_a_tool_and_report_its_result(client: OpenAI) -> None:
    tool: FunctionToolParam = {"type": "function", "name": "get_weather", "parameters": CITY, "strict": None}
    question: ResponseInputParam = [{"role": "user", "content": "What is the weather in Prague?"}]
    called = client.responses.create(model="llm", input=question, tools=[tool])
    calls = [item for item in called.output if isinstance(item, ResponseFunctionToolCall)]

    assert [(call.name, json.loads(call.arguments)) for call in calls] == [("get_weather", {"city": "Prague"})]

    (call,) = calls
    round_: ResponseInputParam = [
        *question,
        {"type": "function_call", "call_id": call.call_id, "name": call.name, "arguments": call.arguments},
        {"type": "function_call_output", "call_id": call.call_id, "output": "snowy"},
    ]
    assert "snowy in Prague" in client.responses.create(model="llm", input=round_, tools=[tool]).output_text


def test_models_tell_their_context(client: OpenAI) -> None:
    models = {model.id: model.model_dump() for model in client.models.list()}

    assert models["llm"]["max_model_len"] == CONTEXT_TOKENS
    assert client.models.retrieve("llm").id == "llm"


def test_tokenize_and_detokenize_give_the_text_back(gateway: GatewayProcess) -> None:
    with httpx.Client(base_url=gateway.url, timeout=30) as client:
        tokens = client.post("/tokenize", json={"model": "llm", "prompt": "Hello"}).json()
        text = client.post("/detokenize", json={"model": "llm", "tokens": tokens["tokens"]}).json()

    assert tokens["max_model_len"] == CONTEXT_TOKENS
    assert text["prompt"] == "Hello"


def test_an_answer_and_an_error_carry_the_id_that_the_gateways_log_has(client: OpenAI, gateway: GatewayProcess) -> None:
    answer = client.chat.completions.create(model="llm", messages=HELLO)
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(model="llm", messages=HELLO, max_tokens=CONTEXT_TOKENS + 1)
    named = client.chat.completions.create(model="llm", messages=HELLO, extra_headers={"X-Request-Id": "my-own-id"})

    assert answer._request_id
    assert gateway.logged(answer._request_id)["status"] == 200
    assert refused.value.request_id
    assert gateway.logged(refused.value.request_id)["status"] == 400
    assert named._request_id == "my-own-id"


@pytest.mark.parametrize("stream", [False, True])
def test_a_prompt_that_is_too_long_is_a_bad_request_that_names_the_context(client: OpenAI, stream: bool) -> None:
    with pytest.raises(openai.BadRequestError, match=f"maximum context length is {CONTEXT_TOKENS}"):
        client.chat.completions.create(model="llm", messages=[{"role": "user", "content": TOO_LONG}], stream=stream)


def test_what_the_engine_does_not_take_is_a_bad_request_in_its_words(client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="temperature"):
        client.chat.completions.create(model="llm", messages=HELLO, temperature=-1)


@pytest.mark.parametrize("stream", [False, True])
def test_a_wrong_token_is_an_authentication_error(guarded: OpenAI, stream: bool) -> None:
    with pytest.raises(openai.AuthenticationError) as refused:
        guarded.with_options(api_key="wrong").chat.completions.create(model="llm", messages=HELLO, stream=stream)

    assert refused.value.code == "invalid_api_key"


def test_the_right_token_comes_in(guarded: OpenAI) -> None:
    assert guarded.chat.completions.create(model="llm", messages=HELLO).choices[0].message.content == GREETING


def test_a_model_that_is_not_there_is_not_found(guarded: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="gpt-4o") as refused:
        guarded.chat.completions.create(model="gpt-4o", messages=HELLO)
    with pytest.raises(openai.NotFoundError) as no_entry:
        guarded.models.retrieve("gpt-4o")

    assert refused.value.code == no_entry.value.code == "model_not_found"


def test_a_base_url_without_its_path_is_told_so(gateway: GatewayProcess) -> None:
    with (
        OpenAI(base_url=gateway.url, api_key="any", max_retries=0) as client,
        pytest.raises(openai.NotFoundError) as refused,
    ):
        client.chat.completions.create(model="llm", messages=HELLO)

    assert refused.value.code == "not_found"


def test_embeddings_that_the_model_cannot_make_are_not_found(client: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError):
        client.embeddings.create(model="llm", input="Hello")


async def test_twenty_streams_at_once_each_get_the_whole_answer(async_client: AsyncOpenAI) -> None:
    async def ask() -> str:
        stream = await async_client.chat.completions.create(model="llm", messages=HELLO, stream=True)
        return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    assert await asyncio.gather(*(ask() for _ in range(20))) == [GREETING] * 20
