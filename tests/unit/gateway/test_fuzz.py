"""Requests and answers that nobody thought of: never a 500, never a crash, never a connection that hangs."""

import asyncio
import json
import random
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode

from pmp_gateway.routes import ROUTE_NAMES, allowed_method
from tests.unit.gateway.conftest import StartGateway
from tests.unit.gateway.gateway_process import GatewayProcess
from tests.unit.gateway.stub import Backend, Call
from tests.unit.gateway.wire import wire

PATHS = tuple(path.decode() for path in ROUTE_NAMES if path != b"/metrics")
INFERENCE = tuple(path for path in PATHS if allowed_method(path.encode()) == "POST")
HEALTH = b"GET /health HTTP/1.1\r\nHost: gateway\r\n\r\n"
# All but the gateway's own failure to foresee something, and the engine's, which answers here.
EXPECTED = frozenset({200, 400, 401, 403, 404, 405, 408, 413, 431})

QUICK = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
LONG = settings(QUICK, max_examples=200, derandomize=False)
BATCH = 48


@pytest.fixture(autouse=True)
def _alive(gateway: GatewayProcess) -> Iterator[None]:
    """The fixture of the gateway sees to tracebacks."""
    yield
    assert gateway.process.poll() is None
    assert httpx.get(f"{gateway.url}/health", trust_env=False).json() == {"status": "ok"}


def description() -> dict[str, Any]:
    """The API as OpenAPI describes it, as far as a generator of requests needs to know."""
    text = {"type": "string"}
    message = {
        "type": "object",
        "required": ["role", "content"],
        "properties": {"role": {"enum": ["user", "assistant", "system"]}, "content": text},
    }
    body = {
        "type": "object",
        "properties": {
            "model": text,
            "messages": {"type": "array", "items": message},
            "prompt": {"anyOf": [text, {"type": "array", "items": {"type": "integer"}}]},
            "input": {"anyOf": [text, {"type": "array", "items": text}]},
            "stream": {"type": "boolean"},
            "n": {"type": "integer", "minimum": 0, "maximum": 16},
            "max_tokens": {"type": "integer", "minimum": 1},
            "logprobs": {"anyOf": [{"type": "boolean"}, {"type": "integer", "minimum": 0, "maximum": 20}]},
            "stop": {"anyOf": [text, {"type": "array", "items": text}]},
            "logit_bias": {"type": "object", "additionalProperties": {"type": "number"}},
            "response_format": {"type": "object"},
            "tools": {"type": "array", "items": {"type": "object"}},
            "metadata": {"type": "object"},
        },
    }
    content = {"required": True, "content": {"application/json": {"schema": body}}}
    answers = {"default": {"description": "Whatever it is."}}
    paths: dict[str, Any] = {
        path: {"post": {"requestBody": content, "responses": answers}}
        if path in INFERENCE
        else {"get": {"responses": answers}}
        for path in PATHS
    }
    one_model = {"name": "id", "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
    paths["/v1/models/{id}"] = {"get": {"parameters": [one_model], "responses": answers}}
    return {"openapi": "3.1.0", "info": {"title": "The gateway", "version": "1"}, "paths": paths}


API = schemathesis.openapi.from_dict(description())
CASES = st.one_of(
    [
        API[path][method].as_strategy(generation_mode=mode)
        for path, methods in description()["paths"].items()
        for method in methods
        for mode in GenerationMode
    ]
)


def check(status: int, request_id: str, body: bytes) -> None:
    assert status in EXPECTED, body
    assert re.fullmatch(r"[A-Za-z0-9._:-]{1,128}", request_id)
    if status != 200 and body:
        error = json.loads(body)["error"]
        assert error.keys() == {"message", "type", "param", "code"}


async def check_described(gateway: GatewayProcess, case: schemathesis.Case[Any]) -> None:
    answer = await asyncio.to_thread(case.call, base_url=gateway.url, timeout=30)
    check(answer.status_code, answer.headers["x-request-id"][0], answer.content or b"")


@given(case=CASES)
@QUICK
async def test_requests_by_and_against_the_description(
    gateway: GatewayProcess, backend: Backend, case: schemathesis.Case[Any]
) -> None:
    await check_described(gateway, case)


@pytest.mark.slow
@given(case=CASES)
@LONG
async def test_many_requests_by_and_against_the_description(
    gateway: GatewayProcess, backend: Backend, case: schemathesis.Case[Any]
) -> None:
    await check_described(gateway, case)


KNOWN_NAMES = (
    "model", "messages", "prompt", "input", "stream", "n", "best_of", "max_tokens", "max_completion_tokens", "logprobs",
    "top_logprobs", "stop", "logit_bias", "response_format", "tools", "tool_choice", "chat_template", "echo", "seed",
    "chat_template_kwargs", "prompt_embeds", "media_io_kwargs", "guided_json", "structured_outputs", "image_url",
    "type", "content", "role", "url", "documents", "query", "data_1", "text_1", "encoding_format", "usage",
)  # fmt: skip
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
    | st.sampled_from(["llm", "data:image/png;base64,AAAA", "http://192.0.2.1/", "abort"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(KNOWN_NAMES) | st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)
BODIES = st.dictionaries(st.sampled_from(KNOWN_NAMES), VALUES, max_size=8) | VALUES
# Such as no encoder would write.
TEXTS = (
    BODIES.map(json.dumps)
    | BODIES.map(lambda value: json.dumps(value, ensure_ascii=False))
    | st.tuples(BODIES.map(json.dumps), st.integers(0, 200)).map(lambda pair: pair[0][: pair[1]])
    | st.integers(1, 3000).map(lambda depth: '{"messages":' + "[" * depth + "]" * depth + "}")
    | st.text(alphabet='{}[]",:\\u0123eE+-.ntf \x00é', max_size=60)
).map(lambda text: text.encode("utf-8", "surrogatepass")) | st.binary(max_size=60)
REQUESTS = st.lists(st.tuples(st.sampled_from(INFERENCE), TEXTS), min_size=10, max_size=30)


async def check_bodies(gateway: GatewayProcess, requests: list[tuple[str, bytes]]) -> None:
    async with httpx.AsyncClient(base_url=gateway.url, timeout=30, trust_env=False) as client:
        for path, body in requests:
            answer = await client.post(path, content=body, headers={"content-type": "application/json"})
            check(answer.status_code, answer.headers["x-request-id"], answer.content)


@given(requests=REQUESTS)
@settings(QUICK, max_examples=25)
async def test_bodies_of_random_json_and_of_what_is_almost_json(
    gateway: GatewayProcess, backend: Backend, requests: list[tuple[str, bytes]]
) -> None:
    await check_bodies(gateway, requests)


@pytest.mark.slow
@given(requests=REQUESTS)
@LONG
async def test_many_bodies_of_random_json_and_of_what_is_almost_json(
    gateway: GatewayProcess, backend: Backend, requests: list[tuple[str, bytes]]
) -> None:
    await check_bodies(gateway, requests)


SEEDS = (
    b'POST /v1/chat/completions HTTP/1.1\r\nHost: gateway\r\nContent-Length: 17\r\n\r\n{"messages":"ab"}',
    b'POST /v1/messages HTTP/1.1\r\nHost: g\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n{"model":\r\n'
    b'3;x=y\r\n"a"\r\n1\r\n}\r\n0\r\nT: x\r\n\r\n',
    b"GET /v1/models/llm?a=b HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: a\r\nConnection: keep-alive\r\n\r\n",
    b"POST /tokenize HTTP/1.1\r\nHost: g\r\nExpect: 100-continue\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}",
    b"POST /v1/score HTTP/1.1\r\nHost: g\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\n{}"
    + HEALTH,
    b"OPTIONS /v1/models HTTP/1.1\r\nHost: g\r\nOrigin: http://a\r\nAccess-Control-Request-Method: GET\r\n\r\n"
    + HEALTH,
    b"GET http://localhost/health HTTP/1.0\r\nHost: g\r\n\r\n",
)
ANSWERS = (
    b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 11\r\n\r\n{"ok":true}',
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n"
    b'1a\r\ndata: {"finish_reason":"a\r\n8\r\nbort"}\n\n\r\n0\r\n\r\n',
    b"HTTP/1.0 200 OK\r\nContent-Type: audio/wav\r\n\r\nabc",
    b"HTTP/1.1 103 X\r\nA: b\r\n\r\nHTTP/1.1 400 Bad\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
)
PIECES = (
    b"\r\n", b"\n", b"\r", b"\x00", b" ", b"\t", b":", b"0", b"-1", b"ffffffff", b"Content-Length: 5\r\n", b"\r\n\r\n",
    b"Transfer-Encoding: chunked\r\n", b"Connection: close\r\n", b"Connection: upgrade\r\nUpgrade: x\r\n", b"%2e",
    b"\xff", b"HTTP/1.1", b"HTTP/2.0", b"Host: x\r\n", b"Expect: 100-continue\r\n", b"x" * 5000, b"/../",
    b"Content-Encoding: br\r\n",
)  # fmt: skip


def mutated(seed: bytes, chance: random.Random) -> bytes:
    data = bytearray(seed)
    for _ in range(chance.randint(0, 4)):
        at = chance.randrange(len(data) + 1)
        match chance.randrange(5):
            case 0:
                data[at:at] = chance.choice(PIECES)
            case 1:
                del data[at : at + chance.randint(1, 12)]
            case 2:
                data[at : at + 1] = chance.randbytes(1)
            case 3:
                data[at:at] = data[at : at + chance.randint(1, 60)]
            case _:
                data = data[:at] + bytearray(chance.choice(SEEDS + ANSWERS)) if chance.random() < 0.2 else data
    return bytes(data)


async def talk(gateway: GatewayProcess, data: bytes, chance: random.Random) -> list[int]:
    """Sends it in parts; all statuses that come back until the gateway closes the connection."""
    cuts = sorted(chance.randrange(len(data) + 1) for _ in range(chance.randint(0, 3)))
    async with wire(gateway.port) as connection:
        try:
            for begin, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
                await connection.send(data[begin:end])
                await asyncio.sleep(0)
            received = await connection.rest()
        except ConnectionError:
            return []
    return [int(found) for found in re.findall(rb"HTTP/1\.1 (\d{3}) ", received)]


async def talk_in_batches(gateway: GatewayProcess, backend: Backend, seed: int, batches: int) -> None:
    chance = random.Random(seed)  # noqa: S311

    async def answer_oddly(call: Call) -> None:
        await call.raw(mutated(chance.choice(ANSWERS), chance))

    backend.handler = answer_oddly
    for _ in range(batches):
        statuses = await asyncio.gather(
            *(talk(gateway, mutated(chance.choice(SEEDS), chance), chance) for _ in range(BATCH))
        )
        backend.calls.clear()
        seen = {status for each in statuses for status in each}
        # The engine's own errors pass, and it may say 500 by chance.
        assert 400 in seen
        assert "internal_error" not in gateway.stdout_path.read_text()


@pytest.fixture
def hasty(start_gateway: StartGateway) -> GatewayProcess:
    """Closes every connection soon, so that one that it forgot is noticed."""
    return start_gateway(
        PMP_GATEWAY_HEAD_SECONDS="1",
        PMP_GATEWAY_BODY_STALL_SECONDS="1",
        PMP_GATEWAY_CLIENT_IDLE_SECONDS="1",
        PMP_GATEWAY_BACKEND_SILENCE_SECONDS="2",
    )


async def test_broken_requests_and_broken_answers(hasty: GatewayProcess, backend: Backend) -> None:
    await talk_in_batches(hasty, backend, seed=1, batches=4)
    assert "Traceback" not in hasty.stderr


@pytest.mark.slow
async def test_many_broken_requests_and_broken_answers(hasty: GatewayProcess, backend: Backend) -> None:
    seed = random.SystemRandom().randrange(10**6)
    print(f"seed {seed}")
    await talk_in_batches(hasty, backend, seed=seed, batches=40)
    assert "Traceback" not in hasty.stderr
