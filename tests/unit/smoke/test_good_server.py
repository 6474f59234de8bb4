"""The good server of the zoo is good by the word of OpenAI's own client, not by that of our checks alone."""

import json
from collections.abc import Iterator

import openai
import pytest
from openai.types.chat import ChatCompletionMessageFunctionToolCall

from pmpctl.smoke import prompts
from tests.unit.smoke.zoo.api import MODEL, TOKEN, WellBehaved
from tests.unit.smoke.zoo.serving import served

HELLO = {"role": "user", "content": "Tell me something."}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with served(WellBehaved()) as url:
        yield url


@pytest.fixture
def client(url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{url}/v1", api_key=TOKEN, max_retries=0) as client:
        yield client


def test_it_answers_whole_and_in_a_stream_with_the_same_words(client: openai.OpenAI) -> None:
    asked = {"model": MODEL, "messages": [HELLO], "max_tokens": 7}
    whole = client.chat.completions.create(**asked)  # type: ignore[call-overload]
    options = {"stream": True, "stream_options": {"include_usage": True}}
    chunks = list(client.chat.completions.create(**asked, **options))  # type: ignore[call-overload]
    pieces = [choice.delta.content or "" for chunk in chunks for choice in chunk.choices]
    assert whole.choices[0].finish_reason == "length"
    assert len([piece for piece in pieces if piece]) == 7
    assert "".join(pieces) == whole.choices[0].message.content
    assert chunks[-1].usage == whole.usage


def test_a_round_with_tools_ends_in_what_the_tools_said(client: openai.OpenAI) -> None:
    messages = [prompts.user(prompts.TWO_CITIES)]
    asked = {"model": MODEL, "messages": messages, "tools": [prompts.WEATHER]}
    with client.chat.completions.stream(**asked) as stream:  # type: ignore[arg-type]
        message = stream.get_final_completion().choices[0].message
    calls = message.tool_calls or []
    results = []
    for call in calls:
        assert isinstance(call, ChatCompletionMessageFunctionToolCall)
        results.append(prompts.result(json.loads(call.function.arguments)["city"], call.id))
    messages += [message.model_dump(exclude_none=True), *results]
    answer = client.chat.completions.create(**asked).choices[0].message.content  # type: ignore[call-overload]
    assert len(calls) == 2
    assert "foggy" in answer
    assert "snowy" in answer


def test_it_refuses_in_the_form_of_openai(client: openai.OpenAI, url: str) -> None:
    with pytest.raises(openai.BadRequestError, match="maximum context length"):
        client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "word " * 4096}])
    with pytest.raises(openai.AuthenticationError):
        client.with_options(api_key="wrong").models.list()


def test_it_lists_the_model_with_its_context(client: openai.OpenAI) -> None:
    (card,) = client.models.list().data
    assert (card.id, card.model_dump()["max_model_len"]) == (MODEL, 4096)
