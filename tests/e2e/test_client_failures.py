"""What goes wrong behind the gateway, as the clients tell it, and what the gateway refuses that may be tried again."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing
from hashlib import sha256
from typing import Any

import anthropic
import openai
import pytest
from anthropic import AsyncAnthropic
from openai import AsyncOpenAI

from tests.e2e.litellm_client import LiteLLM, LiteLLMError
from tests.e2e.streams import beginning, ending
from tests.support import find_free_port
from tests.unit.gateway.gateway_process import GatewayProcess
from tests.unit.gateway.stub import Backend, Call

pytestmark = pytest.mark.slow

HELLO: Any = [{"role": "user", "content": "Hello"}]


@pytest.fixture(scope="module")
def gateway_and_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[GatewayProcess, int]]:
    """A gateway that has little patience, and the port where it expects an engine."""
    port = find_free_port()
    patience = {"PMP_GATEWAY_BACKEND_SILENCE_SECONDS": "1", "PMP_GATEWAY_ENGINE_WAIT_SECONDS": "0"}
    gateway = GatewayProcess(tmp_path_factory.mktemp("gateway"), f"http://127.0.0.1:{port}", patience)
    try:
        gateway.wait_until_listening()
        yield gateway, port
    finally:
        gateway.kill()


@pytest.fixture
def gateway(gateway_and_port: tuple[GatewayProcess, int]) -> GatewayProcess:
    return gateway_and_port[0]


@pytest.fixture
async def backend(gateway_and_port: tuple[GatewayProcess, int]) -> AsyncIterator[Backend]:
    backend = Backend()
    await backend.start(gateway_and_port[1])
    yield backend
    await backend.stop()


@pytest.fixture
async def openai_client(gateway: GatewayProcess) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="any", max_retries=0) as client:
        yield client


@pytest.fixture
async def anthropic_client(gateway: GatewayProcess) -> AsyncIterator[AsyncAnthropic]:
    async with AsyncAnthropic(base_url=gateway.url, api_key="any", max_retries=0) as client:
        yield client


async def _break_off(call: Call) -> None:
    call.break_off()


async def _stay_silent(call: Call) -> None:
    await call.gone.wait()


Fault = Callable[[Call], Awaitable[None]]
FAULTS: dict[int, Fault] = {502: _break_off, 504: _stay_silent}


async def test_an_engine_that_is_away_is_unavailable_and_says_when_to_come_again(
    openai_client: AsyncOpenAI, anthropic_client: AsyncAnthropic
) -> None:
    with pytest.raises(openai.InternalServerError) as by_openai:
        await openai_client.chat.completions.create(model="llm", messages=HELLO)
    with pytest.raises(anthropic.ServiceUnavailableError) as by_anthropic:
        await anthropic_client.messages.create(model="llm", max_tokens=10, messages=HELLO)

    assert (by_openai.value.status_code, by_openai.value.code) == (503, "backend_away")
    assert by_anthropic.value.type == "overloaded_error"
    for response in (by_openai.value.response, by_anthropic.value.response):
        assert int(response.headers["retry-after"]) > 0


@pytest.mark.parametrize(
    ("status", "anthropics"), [(502, anthropic.InternalServerError), (504, anthropic.GatewayTimeoutError)]
)
async def test_an_engine_that_breaks_off_or_stays_silent_is_a_server_error(
    backend: Backend,
    openai_client: AsyncOpenAI,
    anthropic_client: AsyncAnthropic,
    status: int,
    anthropics: type[anthropic.APIStatusError],
) -> None:
    backend.handler = FAULTS[status]
    with pytest.raises(openai.InternalServerError) as by_openai:
        await openai_client.chat.completions.create(model="llm", messages=HELLO)
    with pytest.raises(anthropics) as by_anthropic:
        await anthropic_client.messages.create(model="llm", max_tokens=10, messages=HELLO)

    assert by_openai.value.status_code == by_anthropic.value.status_code == status
    assert by_anthropic.value.type == {502: "api_error", 504: "timeout_error"}[status]


LITELLM_CALLS: dict[str, tuple[str, dict[str, Any]]] = {
    "openai": ("acompletion", {"model": "openai/llm", "messages": HELLO}),
    "hosted_vllm": ("acompletion", {"model": "hosted_vllm/llm", "messages": HELLO}),
    "completion": ("atext_completion", {"model": "text-completion-openai/llm", "prompt": "Hello"}),
    # It streams responses only of models that it knows.
    "response": ("aresponses", {"model": "openai/gpt-4o", "input": "Hello"}),
    "anthropic": ("acompletion", {"model": "anthropic/llm", "messages": HELLO, "max_tokens": 10}),
}
litellm_calls = pytest.mark.parametrize("way", LITELLM_CALLS)


async def by_litellm(litellm: LiteLLM, gateway: GatewayProcess, way: str, **options: Any) -> list[Any]:
    """The chunks of a streamed answer."""
    function, arguments = LITELLM_CALLS[way]
    base = gateway.url if way == "anthropic" else f"{gateway.url}/v1"

    def read() -> list[Any]:
        return list(litellm.stream(function, api_base=base, api_key="any", **arguments, **options))

    return await asyncio.to_thread(read)


@litellm_calls
async def test_litellm_knows_an_engine_that_is_away(litellm: LiteLLM, gateway: GatewayProcess, way: str) -> None:
    with pytest.raises(LiteLLMError) as refused:
        await by_litellm(litellm, gateway, way)

    # Anthropic's word for it, "overloaded", it counts as an internal error; both are tried again.
    assert refused.value.name == ("InternalServerError" if way == "anthropic" else "ServiceUnavailableError")
    assert int(refused.value.retry_after or 0) > 0


@litellm_calls
@pytest.mark.parametrize(("status", "name"), [(502, "BadGatewayError"), (504, "Timeout")])
async def test_litellm_knows_an_engine_that_breaks_off_or_stays_silent(
    litellm: LiteLLM, gateway: GatewayProcess, backend: Backend, way: str, status: int, name: str
) -> None:
    backend.handler = FAULTS[status]
    with pytest.raises(LiteLLMError) as refused:
        await by_litellm(litellm, gateway, way)

    assert refused.value.name == name


async def test_clients_that_try_again_outlast_an_engine_that_comes_back(
    gateway_and_port: tuple[GatewayProcess, int], openai_client: AsyncOpenAI, anthropic_client: AsyncAnthropic
) -> None:
    gateway, port = gateway_and_port
    ids = {"X-Request-Id": "openai-tries-again"}, {"X-Request-Id": "anthropic-tries-again"}
    patient_openai = openai_client.with_options(max_retries=9, default_headers=ids[0])
    patient_anthropic = anthropic_client.with_options(max_retries=9, default_headers=ids[1])
    asking = asyncio.gather(
        patient_openai.chat.completions.create(model="llm", messages=HELLO),
        patient_anthropic.messages.create(model="llm", max_tokens=10, messages=HELLO),
    )
    for each in ids:
        assert (await asyncio.to_thread(gateway.logged, each["X-Request-Id"]))["status"] == 503
    backend = Backend()
    await backend.start(port)
    try:
        await asking
        assert len(backend.calls) == 2
    finally:
        await backend.stop()


Texts = AsyncIterator[str]


async def _chat(client: AsyncOpenAI, _: AsyncAnthropic) -> Texts:
    async for chunk in await client.chat.completions.create(model="llm", messages=HELLO, stream=True):
        yield chunk.choices[0].delta.content or ""


async def _completion(client: AsyncOpenAI, _: AsyncAnthropic) -> Texts:
    async for chunk in await client.completions.create(model="llm", prompt="Hello", stream=True):
        yield chunk.choices[0].text


async def _response(client: AsyncOpenAI, _: AsyncAnthropic) -> Texts:
    async for event in await client.responses.create(model="llm", input="Hello", stream=True):
        yield event.delta if event.type == "response.output_text.delta" else ""


async def _message(_: AsyncOpenAI, client: AsyncAnthropic) -> Texts:
    async with client.messages.stream(model="llm", max_tokens=10, messages=HELLO) as stream:
        async for text in stream.text_stream:
            yield text


STREAMS: dict[str, Callable[[AsyncOpenAI, AsyncAnthropic], Texts]] = {
    "/v1/chat/completions": _chat,
    "/v1/completions": _completion,
    "/v1/responses": _response,
    "/v1/messages": _message,
}
streams = pytest.mark.parametrize("start", STREAMS.values(), ids=STREAMS)
ends = pytest.mark.parametrize("cut_short", [False, True], ids=["between events", "inside an event"])


def dying_after_the_beginning(cut_short: bool) -> Fault:
    async def stream(call: Call) -> None:
        events = beginning(call.target)
        await call.start()
        for event in events:
            await call.chunk(event)
        if cut_short:
            await call.chunk(events[-1][: len(events[-1]) // 2])
        call.break_off()

    return stream


@streams
@ends
async def test_a_stream_whose_engine_dies_raises_after_what_came_whole(
    backend: Backend,
    openai_client: AsyncOpenAI,
    anthropic_client: AsyncAnthropic,
    start: Callable[[AsyncOpenAI, AsyncAnthropic], Any],
    cut_short: bool,
) -> None:
    backend.handler = dying_after_the_beginning(cut_short)
    received: list[str] = []
    with pytest.raises((openai.APIError, anthropic.APIError), match="engine broke off") as broken:
        async with aclosing(start(openai_client, anthropic_client)) as texts:
            async for text in texts:
                received += [text]

    assert "".join(received) == "Hello"
    # A connection that breaks would raise too, but tell nobody why.
    assert not isinstance(broken.value, openai.APIConnectionError | anthropic.APIConnectionError)


@litellm_calls
@ends
async def test_litellm_raises_when_the_engine_of_a_stream_dies(
    litellm: LiteLLM, gateway: GatewayProcess, backend: Backend, way: str, cut_short: bool
) -> None:
    backend.handler = dying_after_the_beginning(cut_short)
    with pytest.raises(LiteLLMError, match="engine broke off"):
        await by_litellm(litellm, gateway, way)


@streams
async def test_comments_in_a_stream_disturb_no_client(
    backend: Backend,
    openai_client: AsyncOpenAI,
    anthropic_client: AsyncAnthropic,
    start: Callable[[AsyncOpenAI, AsyncAnthropic], Any],
) -> None:
    """They keep a held stream alive."""
    backend.handler = commenting
    async with aclosing(start(openai_client, anthropic_client)) as texts:
        assert "".join([text async for text in texts]) == "Hello"


@litellm_calls
async def test_comments_in_a_stream_do_not_disturb_litellm(
    litellm: LiteLLM, gateway: GatewayProcess, backend: Backend, way: str
) -> None:
    backend.handler = commenting
    assert "".join(text_in(chunk) for chunk in await by_litellm(litellm, gateway, way)) == "Hello"


def text_in(chunk: Any) -> str:
    """Of a chunk of any API."""
    choice = chunk.get("choices", [{}])[0]
    return chunk.get("delta") or choice.get("delta", {}).get("content") or choice.get("text") or ""


async def commenting(call: Call) -> None:
    await call.start()
    for event in [*beginning(call.target), *ending(call.target)]:
        await call.chunk(b": keep-alive\n\n")
        await call.chunk(event)
    await call.finish()


@pytest.fixture(scope="module")
def limited(
    gateway_and_port: tuple[GatewayProcess, int], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    """Its tokens may have one request at a time ("one"), or one a minute ("rare")."""
    folder = tmp_path_factory.mktemp("limited")
    limits = {"one": {"max_concurrent": 1}, "rare": {"requests_per_minute": 1}}
    entries = [{"name": name, "sha256": sha256(name.encode()).hexdigest(), **each} for name, each in limits.items()]
    (folder / "auth.json").write_text(json.dumps({"tokens": entries}))
    gateway = GatewayProcess(
        folder, f"http://127.0.0.1:{gateway_and_port[1]}", {"AUTH_CONFIG_PATH": str(folder / "auth.json")}
    )
    try:
        gateway.wait_until_listening()
        yield gateway
    finally:
        gateway.kill()


async def test_a_token_that_asks_too_often_is_told_how_long_to_wait(
    backend: Backend, limited: GatewayProcess, litellm: LiteLLM
) -> None:
    async with AsyncOpenAI(base_url=f"{limited.url}/v1", api_key="rare", max_retries=0) as by_openai:
        await by_openai.models.list()
        with pytest.raises(openai.RateLimitError) as refused:
            await by_openai.chat.completions.create(model="llm", messages=HELLO)
    async with AsyncAnthropic(base_url=limited.url, api_key="rare", max_retries=0) as by_anthropic:
        with pytest.raises(anthropic.RateLimitError) as refused_too:
            await by_anthropic.messages.create(model="llm", max_tokens=10, messages=HELLO)

    assert refused_too.value.type == "rate_limit_error"
    for response in (refused.value.response, refused_too.value.response):
        assert 1 <= int(response.headers["retry-after"]) <= 60
    for provider, base in (("hosted_vllm", f"{limited.url}/v1"), ("anthropic", limited.url)):
        call = {"model": f"{provider}/llm", "messages": HELLO, "max_tokens": 10, "api_base": base, "api_key": "rare"}
        with pytest.raises(LiteLLMError) as by_litellm_too:
            await asyncio.to_thread(litellm.call, "acompletion", **call)
        assert by_litellm_too.value.name == "RateLimitError"
    assert not backend.calls


async def test_a_client_that_tries_again_waits_for_its_turn(backend: Backend, limited: GatewayProcess) -> None:
    released = asyncio.Event()

    async def answer(call: Call) -> None:
        await released.wait()
        await call.respond(200, {"ok": True})

    backend.handler = answer
    async with AsyncOpenAI(base_url=f"{limited.url}/v1", api_key="one", max_retries=3) as client:
        first = asyncio.create_task(client.chat.completions.create(model="llm", messages=HELLO))
        await backend.next_call()
        second = asyncio.create_task(
            client.chat.completions.create(model="llm", messages=HELLO, extra_headers={"X-Request-Id": "second"})
        )
        assert (await asyncio.to_thread(limited.logged, "second"))["status"] == 429
        released.set()
        await asyncio.gather(first, second)
    assert len(backend.calls) == 2
