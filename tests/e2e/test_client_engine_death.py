"""The real vLLM is killed while every client has a stream open: each of them is told, and none takes it for an end."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import anthropic
import openai
import pytest
from anthropic import Anthropic
from openai import OpenAI

from tests.e2e.engine import LONG_CHAT, LONG_MESSAGE, LONG_RESPONSE, Engine
from tests.e2e.litellm_client import LiteLLM, LiteLLMError
from tests.unit.gateway.gateway_process import GatewayProcess

pytestmark = [pytest.mark.vllm, pytest.mark.slow, pytest.mark.timeout(600)]

HELLO: Any = [{"role": "user", "content": "Hello"}]


@pytest.fixture
def doomed(vllm_program: Path, tmp_path: Path) -> Iterator[Engine]:
    engine = Engine(vllm_program, tmp_path)
    try:
        engine.wait_until_healthy()
        yield engine
    finally:
        engine.kill()


@pytest.fixture
def gateway(doomed: Engine, tmp_path: Path) -> Iterator[GatewayProcess]:
    gateway = GatewayProcess(tmp_path / "gateway", doomed.url, {})
    try:
        gateway.wait_until_listening()
        yield gateway
    finally:
        gateway.kill()


def test_every_client_with_a_stream_open_is_told_that_the_engine_died(
    doomed: Engine, gateway: GatewayProcess, litellm: LiteLLM
) -> None:
    base_url = f"{gateway.url}/v1"
    with (
        OpenAI(base_url=base_url, api_key="any", max_retries=0) as by_openai,
        Anthropic(base_url=gateway.url, api_key="any", max_retries=0) as by_anthropic,
    ):
        chat = {"model": "llm", "messages": HELLO, "stream": True}
        starts: dict[str, Callable[[], Iterable[Any]]] = {
            "chat": lambda: by_openai.chat.completions.create(**chat, **LONG_CHAT),
            "completion": lambda: by_openai.completions.create(model="llm", prompt="Hi", stream=True, **LONG_CHAT),
            "response": lambda: by_openai.responses.create(model="llm", input="Hi", stream=True, **LONG_RESPONSE),
            "message": lambda: by_anthropic.messages.create(**chat, **LONG_MESSAGE),
            "litellm": lambda: litellm.stream(
                "acompletion", **{**chat, **LONG_CHAT, "model": "hosted_vllm/llm"}, api_base=base_url, api_key="any"
            ),
        }
        under_way = Barrier(len(starts) + 1, timeout=120)
        with ThreadPoolExecutor(len(starts)) as pool:
            reading = {name: pool.submit(read, start, under_way) for name, start in starts.items()}
            under_way.wait()
            doomed.kill()
            endings = {name: each.exception(timeout=30) for name, each in reading.items()}

        for name, ending in endings.items():
            assert isinstance(ending, openai.APIError | anthropic.APIError | LiteLLMError), (name, ending)
            assert "engine broke off" in str(ending), name
        with pytest.raises(openai.InternalServerError) as refused:
            by_openai.chat.completions.create(model="llm", messages=HELLO)
        assert refused.value.status_code == 503


def read(start: Callable[[], Iterable[Any]], under_way: Barrier) -> None:
    """Waits for the others once the first chunk is there; without one nobody waits."""
    try:
        for number, _ in enumerate(start()):
            if number == 0:
                under_way.wait()
    finally:
        under_way.abort()
