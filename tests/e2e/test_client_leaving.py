"""Clients that leave early, each in its own way: the engine stops working for them at once."""

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anthropic
import openai
import pytest
from anthropic import Anthropic
from openai import AsyncOpenAI, OpenAI

from tests.e2e.engine import LONG_CHAT, LONG_MESSAGE, LONG_RESPONSE, Engine
from tests.e2e.litellm_client import LiteLLM, LiteLLMError
from tests.support import eventually
from tests.unit.gateway.gateway_process import GatewayProcess

pytestmark = [pytest.mark.vllm, pytest.mark.slow, pytest.mark.timeout(600)]

HELLO: Any = [{"role": "user", "content": "Hello"}]
# Its answers would last longer, even on a machine with much else to do.
IDLE_WITHIN_SECONDS = 30.0


@pytest.fixture(autouse=True)
def finishes_none(engine: Engine) -> Iterator[None]:
    """The engine stopped because it was told to, not because it was done."""
    before = engine.long_answers_finished()
    yield
    eventually(engine.is_idle, timeout=IDLE_WITHIN_SECONDS)
    assert engine.long_answers_finished() == before


@pytest.fixture
def openai_client(gateway: GatewayProcess) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{gateway.url}/v1", api_key="any", max_retries=0) as client:
        yield client


@pytest.fixture
def anthropic_client(gateway: GatewayProcess) -> Iterator[Anthropic]:
    with Anthropic(base_url=gateway.url, api_key="any", max_retries=0) as client:
        yield client


OPENAI_STREAMS: dict[str, Callable[[OpenAI], Any]] = {
    "a quiet chat": lambda client: client.chat.completions.create(
        model="llm", messages=HELLO, stream=True, **LONG_CHAT
    ),
    "a busy completion": lambda client: client.completions.create(
        model="llm", prompt="Hello", stream=True, **LONG_CHAT
    ),
    "a response": lambda client: client.responses.create(model="llm", input="Hello", stream=True, **LONG_RESPONSE),
}


@pytest.mark.parametrize("start", OPENAI_STREAMS.values(), ids=OPENAI_STREAMS)
def test_openais_client_leaves_a_stream(
    engine: Engine, openai_client: OpenAI, start: Callable[[OpenAI], openai.Stream[Any]]
) -> None:
    with start(openai_client) as stream:
        next(stream)
        eventually(engine.is_at_work)


def test_anthropics_client_leaves_a_stream(engine: Engine, anthropic_client: Anthropic) -> None:
    with anthropic_client.messages.create(model="llm", messages=HELLO, stream=True, **LONG_MESSAGE) as stream:
        next(stream)
        eventually(engine.is_at_work)


@pytest.mark.parametrize("provider", ["openai", "hosted_vllm"])
def test_litellms_client_leaves_a_stream(gateway: GatewayProcess, litellm: LiteLLM, provider: str) -> None:
    chunks = litellm.stream(
        "acompletion", model=f"{provider}/llm", api_base=f"{gateway.url}/v1", api_key="any", messages=HELLO,
        leave_after=2, **LONG_CHAT,
    )  # fmt: skip
    assert len(list(chunks)) == 2


TIME_OUTS: dict[str, Callable[[OpenAI, Anthropic], Any]] = {
    "an openai chat": lambda client, _: client.chat.completions.create(model="llm", messages=HELLO, **LONG_CHAT),
    "an openai stream": lambda client, _: list(
        client.chat.completions.create(model="llm", messages=HELLO, stream=True, **LONG_CHAT)
    ),
    "an openai response": lambda client, _: client.responses.create(model="llm", input="Hello", **LONG_RESPONSE),
    "an anthropic message": lambda _, client: client.messages.create(model="llm", messages=HELLO, **LONG_MESSAGE),
}


@pytest.mark.parametrize("ask", TIME_OUTS.values(), ids=TIME_OUTS)
def test_a_client_whose_patience_ends_leaves(
    engine: Engine, openai_client: OpenAI, anthropic_client: Anthropic, ask: Callable[[OpenAI, Anthropic], Any]
) -> None:
    impatient = openai_client.with_options(timeout=1), anthropic_client.with_options(timeout=1)
    seen_at_work = False
    with ThreadPoolExecutor() as pool:
        # A busy machine may tell of the work only when the client's second is over.
        while not seen_at_work:
            asking = pool.submit(ask, *impatient)
            while not asking.done():
                seen_at_work = engine.is_at_work() or seen_at_work
            with pytest.raises((openai.APITimeoutError, anthropic.APITimeoutError)):
                asking.result()


def test_litellms_client_whose_patience_ends_leaves(gateway: GatewayProcess, litellm: LiteLLM) -> None:
    with pytest.raises(LiteLLMError) as timed_out:
        litellm.call(
            "acompletion", model="hosted_vllm/llm", api_base=f"{gateway.url}/v1", api_key="any", messages=HELLO,
            timeout=1, **LONG_CHAT,
        )  # fmt: skip
    assert timed_out.value.name == "Timeout"


async def test_a_task_that_is_cancelled_leaves(engine: Engine, gateway: GatewayProcess) -> None:
    async with AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="any", max_retries=0) as client:
        asking = asyncio.create_task(client.chat.completions.create(model="llm", messages=HELLO, **LONG_CHAT))
        while not await asyncio.to_thread(engine.is_at_work):
            assert not asking.done()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
