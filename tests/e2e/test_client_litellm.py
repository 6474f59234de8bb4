"""LiteLLM's client through the gateway, to the demo model in the real vLLM, by each of its ways to get there."""

import json
from typing import Any

import pytest

from tests.e2e.conftest import TOKEN
from tests.e2e.engine import CONTEXT_TOKENS, GREETING
from tests.e2e.litellm_client import LiteLLM, LiteLLMError
from tests.unit.gateway.gateway_process import GatewayProcess

pytestmark = [pytest.mark.vllm, pytest.mark.slow, pytest.mark.timeout(600)]

HELLO = [{"role": "user", "content": "Hello"}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
TOO_LONG = "word " * CONTEXT_TOKENS
# Of these the first two speak OpenAI's API, each over an HTTP client of its own, and the last Anthropic's.
PROVIDERS = ["openai", "hosted_vllm", "anthropic"]


def at(gateway: GatewayProcess, provider: str, *, key: str = "any", model: str = "llm") -> dict[str, Any]:
    base = gateway.url if provider == "anthropic" else f"{gateway.url}/v1"
    return {"model": f"{provider}/{model}", "api_base": base, "api_key": key, "max_tokens": 100}


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_chat_is_answered(gateway: GatewayProcess, litellm: LiteLLM, provider: str) -> None:
    choice = litellm.call("acompletion", messages=HELLO, **at(gateway, provider))["choices"][0]

    assert choice["message"]["content"] == GREETING
    assert choice["finish_reason"] == "stop"


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_streamed_chat_comes_in_pieces(gateway: GatewayProcess, litellm: LiteLLM, provider: str) -> None:
    chunks = [chunk["choices"][0] for chunk in litellm.stream("acompletion", messages=HELLO, **at(gateway, provider))]
    pieces = [chunk["delta"]["content"] or "" for chunk in chunks]

    assert "".join(pieces) == GREETING
    assert len(pieces) > 5
    assert chunks[-1]["finish_reason"] == "stop"


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_tool_is_called_and_its_result_reported(gateway: GatewayProcess, litellm: LiteLLM, provider: str) -> None:
    messages: list[Any] = [{"role": "user", "content": "What is the weather in Rome?"}]
    asked = litellm.call("acompletion", messages=messages, tools=[WEATHER], **at(gateway, provider))["choices"][0]
    (call,) = asked["message"]["tool_calls"]

    assert asked["finish_reason"] == "tool_calls"
    assert (call["function"]["name"], json.loads(call["function"]["arguments"])) == ("get_weather", {"city": "Rome"})

    messages += [asked["message"], {"role": "tool", "tool_call_id": call["id"], "content": "rainy"}]
    reported = litellm.call("acompletion", messages=messages, tools=[WEATHER], **at(gateway, provider))

    assert "rainy in Rome" in reported["choices"][0]["message"]["content"]


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_tool_call_streams(gateway: GatewayProcess, litellm: LiteLLM, provider: str) -> None:
    oslo = [{"role": "user", "content": "What is the weather in Oslo?"}]
    chunks = list(litellm.stream("acompletion", messages=oslo, tools=[WEATHER], **at(gateway, provider)))
    deltas = [call["function"] for chunk in chunks for call in chunk["choices"][0]["delta"]["tool_calls"] or ()]

    assert "".join(delta["name"] or "" for delta in deltas) == "get_weather"
    assert json.loads("".join(delta["arguments"] for delta in deltas)) == {"city": "Oslo"}


def test_completions_and_responses_are_answered(gateway: GatewayProcess, litellm: LiteLLM) -> None:
    there = {"api_base": f"{gateway.url}/v1", "api_key": "any"}
    completed = litellm.call(
        "atext_completion", model="text-completion-openai/llm", prompt="Hello", max_tokens=5, **there
    )
    response = litellm.call("aresponses", model="openai/llm", input="Hello", **there)

    assert completed["choices"][0]["finish_reason"] == "length"
    assert response["output"][0]["content"][0]["text"] == GREETING


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_prompt_that_is_too_long_is_known_as_such(gateway: GatewayProcess, litellm: LiteLLM, provider: str) -> None:
    with pytest.raises(LiteLLMError) as refused:
        litellm.call("acompletion", messages=[{"role": "user", "content": TOO_LONG}], **at(gateway, provider))

    assert refused.value.name == "ContextWindowExceededError"


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_wrong_token_is_an_authentication_error(
    guarded_gateway: GatewayProcess, litellm: LiteLLM, provider: str
) -> None:
    with pytest.raises(LiteLLMError) as refused:
        litellm.call("acompletion", messages=HELLO, **at(guarded_gateway, provider, key="wrong"))

    assert refused.value.name == "AuthenticationError"


@pytest.mark.parametrize("provider", PROVIDERS)
def test_the_right_token_comes_in(guarded_gateway: GatewayProcess, litellm: LiteLLM, provider: str) -> None:
    answer = litellm.call("acompletion", messages=HELLO, **at(guarded_gateway, provider, key=TOKEN))

    assert answer["choices"][0]["message"]["content"] == GREETING


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_model_that_is_not_there_is_not_found(
    guarded_gateway: GatewayProcess, litellm: LiteLLM, provider: str
) -> None:
    with pytest.raises(LiteLLMError, match="gpt-4o") as refused:
        litellm.call("acompletion", messages=HELLO, **at(guarded_gateway, provider, key=TOKEN, model="gpt-4o"))

    assert refused.value.name == "NotFoundError"
