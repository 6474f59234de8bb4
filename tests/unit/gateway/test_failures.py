import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from pmp_gateway.failures import RULES, BackendFailure, GatewayError, answer_to
from tests.unit.gateway.conftest import StartGateway
from tests.unit.gateway.gateway_process import GatewayProcess
from tests.unit.gateway.stub import Backend, Call
from tests.unit.gateway.wire import wire

PATH = "/v1/chat/completions"


def test_every_failure_has_its_rule() -> None:
    def leaves(kind: type[GatewayError]) -> set[type[GatewayError]]:
        below = kind.__subclasses__()
        return {kind} if not below else {leaf for sub in below for leaf in leaves(sub)}

    assert set(RULES) == leaves(GatewayError)


def test_an_unforeseen_error_says_nothing_about_itself() -> None:
    answer = answer_to(RuntimeError("/secret/path"))
    assert answer.status == 500
    assert b"secret" not in answer.body


async def _expect(response: httpx.Response, status: int, code: str, type_: str) -> None:
    assert response.status_code == status
    assert response.headers["content-type"] == "application/json"
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert (error["type"], error["code"]) == (type_, code)
    assert "127.0.0.1" not in response.text
    assert "Traceback" not in response.text


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'{"a":"\xff"}', b"\x1f\x8b", b"[" * 100_000])
async def test_a_body_that_is_not_a_json_object_is_400(
    client: httpx.AsyncClient, backend: Backend, body: bytes
) -> None:
    response = await client.post(PATH, content=body, headers={"content-type": "application/json"})
    await _expect(response, 400, "invalid_json", "invalid_request_error")
    assert not backend.calls


async def test_a_body_over_the_cap_is_413_however_it_is_framed(start_gateway: StartGateway, backend: Backend) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b" " * 100

    gateway = start_gateway(PMP_GATEWAY_MAX_BODY_BYTES="1000")
    async with httpx.AsyncClient(base_url=gateway.url) as client:
        just_fits = b'{"text":"' + b"x" * 989 + b'"}'
        assert len(just_fits) == 1000
        assert (await client.post(PATH, content=just_fits)).status_code == 200
        await _expect(await client.post(PATH, content=just_fits + b" "), 413, "body_too_large", "invalid_request_error")
        await _expect(await client.post(PATH, content=endless()), 413, "body_too_large", "invalid_request_error")
        far_too_large = b" " * 20_000_000
        await _expect(await client.post(PATH, content=far_too_large), 413, "body_too_large", "invalid_request_error")
        assert (await client.post(PATH, content=b"{}")).status_code == 200
    assert len(backend.calls) == 2


async def test_a_body_of_some_megabytes_passes(client: httpx.AsyncClient, backend: Backend) -> None:
    text = "ä" * 4_000_000
    assert (await client.post(PATH, json={"prompt": text})).status_code == 200
    assert backend.call.json()["prompt"] == text


async def test_an_engine_that_is_away_is_503_with_a_time_to_come_again(
    client: httpx.AsyncClient, backend: Backend
) -> None:
    await backend.stop()
    for response in (await client.post(PATH, json={}), await client.get("/v1/models")):
        await _expect(response, 503, "backend_away", "overloaded_error")
        assert int(response.headers["retry-after"]) > 0
    await backend.start(backend.port)


@pytest.mark.parametrize(("status", "data"), [(503, {}), (500, {}), (200, {"data": []})])
async def test_an_engine_that_is_not_ready_is_503(
    client: httpx.AsyncClient, backend: Backend, status: int, data: object
) -> None:
    async def not_ready(call: Call) -> None:
        await call.respond(status, data)

    backend.models_handler = not_ready
    for response in (await client.get("/v1/models"), await client.post(PATH, json={})):
        await _expect(response, 503, "backend_away", "overloaded_error")
    assert not backend.calls


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nbad header\r\n\r\n",
    ],
)
async def test_an_engine_that_talks_nonsense_is_502(client: httpx.AsyncClient, backend: Backend, answer: bytes) -> None:
    async def talk(call: Call) -> None:
        await call.raw(answer)

    backend.handler = talk
    await _expect(await client.post(PATH, json={}), 502, "backend_broken", "api_error")


@pytest.mark.parametrize("listing", [[], {"data": [{}]}, {"data": [1]}, {"data": [{"id": 1}]}, {"models": []}])
async def test_a_list_of_models_that_makes_no_sense_is_502(
    client: httpx.AsyncClient, backend: Backend, listing: object
) -> None:
    async def talk(call: Call) -> None:
        await call.respond(200, listing)

    backend.models_handler = talk
    await _expect(await client.get("/v1/models"), 502, "backend_broken", "api_error")


async def test_requests_that_come_while_the_engine_is_asked_for_its_names_share_the_answer(
    start_gateway: StartGateway, backend: Backend
) -> None:
    asked, release = asyncio.Event(), asyncio.Event()

    async def slow(call: Call) -> None:
        asked.set()
        await release.wait()
        await call.respond(200, {"data": [{"id": "late"}]})

    backend.models_handler = slow
    gateway = start_gateway()
    async with httpx.AsyncClient(base_url=gateway.url) as client:
        requests = [asyncio.create_task(client.post(PATH, json={})) for _ in range(5)]
        # A client that leaves meanwhile takes the answer from nobody.
        async with wire(gateway.port) as connection:
            await connection.post(PATH, b"{}", "X-Request-Id: left")
            async with asyncio.timeout(30):
                await asked.wait()
            await connection.leave()
        assert (await asyncio.to_thread(gateway.logged, "left"))["status"] == 499
        release.set()
        assert [(await request).status_code for request in requests] == [200] * 5
    assert backend.models_asked == 1
    assert [call.json() for call in backend.calls] == [{"model": "late"}] * 5


async def test_an_engine_that_never_tells_its_names_keeps_nobody_waiting_for_ever(
    start_gateway: StartGateway, backend: Backend
) -> None:
    async def say_nothing(call: Call) -> None:
        await call.gone.wait()

    tell, backend.models_handler = backend.models_handler, say_nothing
    gateway = start_gateway(PMP_GATEWAY_BACKEND_SILENCE_SECONDS="1")
    async with httpx.AsyncClient(base_url=gateway.url, timeout=60) as client:
        for response in await asyncio.gather(client.post(PATH, json={}), client.get("/v1/models")):
            await _expect(response, 504, "backend_silent", "timeout_error")
        backend.models_handler = tell
        assert (await client.post(PATH, json={})).status_code == 200


def test_backend_failures_are_never_the_clients_fault() -> None:
    assert all(RULES[kind].status >= 500 for kind in RULES if issubclass(kind, BackendFailure))


def test_only_what_is_wrong_with_a_request_itself_is_of_the_type_that_litellm_takes_for_a_bad_request() -> None:
    taken = {rule.status for rule in RULES.values() if rule.type == "invalid_request_error"}
    assert taken == {400, 405, 413, 431}


async def test_the_connection_survives_a_refused_request(gateway: GatewayProcess) -> None:
    async with wire(gateway.port) as connection:
        await connection.post(PATH, b"{")
        assert (await connection.answer())[0] == 400
        await connection.post(PATH, b"{}")
        assert (await connection.answer())[0] == 200


async def test_a_route_that_the_model_does_not_serve_is_named_as_such(
    client: httpx.AsyncClient, backend: Backend
) -> None:
    async def unknown(call: Call) -> None:
        body = b'{"detail":"Not Found"}'
        await call.raw(b"HTTP/1.1 404 Not Found\r\ncontent-length: %d\r\n\r\n" % len(body) + body)

    backend.handler = unknown
    await _expect(await client.post("/v1/embeddings", json={"input": "a"}), 404, "not_served", "not_found_error")


async def test_anthropics_clients_find_the_request_id_where_they_look(client: httpx.AsyncClient) -> None:
    response = await client.post("/v1/messages", json={}, headers={"x-request-id": "job-1"})
    assert (response.headers["request-id"], response.headers["x-request-id"]) == ("job-1", "job-1")
