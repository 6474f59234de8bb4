import asyncio
import json
from typing import Any

import httpx
import pytest

from tests.unit.gateway.conftest import StartGateway
from tests.unit.gateway.gateway_process import GatewayProcess
from tests.unit.gateway.stub import MODEL, Backend, Call, answer_ok
from tests.unit.gateway.wire import wire

PATH = "/v1/chat/completions"

MODEL_CASES: list[tuple[dict[str, Any], str]] = [
    ({"model": MODEL}, MODEL),
    ({"model": "adapter"}, "adapter"),
    ({"model": "llm"}, MODEL),
    ({"model": "gpt-4o"}, MODEL),
    ({"model": ""}, MODEL),
    ({"model": None}, MODEL),
    ({"model": 5}, MODEL),
    ({}, MODEL),
]


@pytest.mark.parametrize(("asked", "sent"), MODEL_CASES, ids=lambda case: json.dumps(case))
async def test_any_model_name_is_served_by_default(
    start_gateway: StartGateway, client: httpx.AsyncClient, backend: Backend, asked: dict[str, Any], sent: str
) -> None:
    backend.models = [MODEL, "adapter"]
    # The gateway may know the names of the engine that was there in the test before.
    assert (await client.get("/v1/models")).status_code == 200
    assert (await client.post(PATH, json={**asked, "messages": ["ü"]})).status_code == 200
    assert backend.call.json() == {"model": sent, "messages": ["ü"]}


async def test_unknown_names_are_refused_where_that_is_asked_for(start_gateway: StartGateway, backend: Backend) -> None:
    gateway = start_gateway(PMP_GATEWAY_UNKNOWN_MODEL="reject")
    async with httpx.AsyncClient(base_url=gateway.url) as client:
        for asked in ({"model": "gpt-4o"}, {"model": None}, {}):
            refused = await client.post(PATH, json=asked)
            assert refused.status_code == 404
            error = refused.json()["error"]
            assert (error["type"], error["param"], error["code"]) == (
                "not_found_error",
                "model",
                "model_not_found",
            )
        assert not backend.calls
        for known in ("llm", MODEL):
            assert (await client.post(PATH, json={"model": known})).status_code == 200
        assert [call.json()["model"] for call in backend.calls] == [MODEL, MODEL]


async def test_a_configured_backend_id_is_what_unknown_names_mean(
    start_gateway: StartGateway, backend: Backend
) -> None:
    async def no_list(call: Call) -> None:
        await call.respond(404, {"detail": "Not Found"})

    backend.models = ["first", "second"]
    gateway = start_gateway(BACKEND_MODEL_ID="second")
    async with httpx.AsyncClient(base_url=gateway.url) as client:
        assert (await client.post(PATH, json={"model": "gpt-4o"})).status_code == 200
        assert (await client.post(PATH, json={"model": "first"})).status_code == 200
        assert [call.json()["model"] for call in backend.calls] == ["second", "first"]
        backend.models_handler = no_list
        listed = (await client.get("/v1/models")).json()["data"]
        assert [entry["id"] for entry in listed] == ["second", "llm"]


async def test_the_names_are_asked_once_and_again_when_the_engine_was_away(
    client: httpx.AsyncClient, backend: Backend
) -> None:
    await client.get("/v1/models")
    backend.models_asked = 0
    for _ in range(3):
        await client.post(PATH, json={})
    assert backend.models_asked == 0

    await backend.stop()
    assert (await client.post(PATH, json={})).status_code == 503
    backend.models = ["another"]
    await backend.start(backend.port)
    assert (await client.post(PATH, json={})).status_code == 200
    assert backend.calls[-1].json() == {"model": "another"}
    assert backend.models_asked == 1


async def test_an_engine_that_was_replaced_unnoticed_is_asked_by_its_own_name(
    client: httpx.AsyncClient, backend: Backend
) -> None:
    async def strict(call: Call) -> None:
        if call.json()["model"] in backend.models:
            await answer_ok(call)
        else:
            await call.respond(404, {"error": {"message": "no such model", "code": 404}})

    backend.handler = strict
    await client.get("/v1/models")
    backend.models = ["another"]
    for asked in ("llm", MODEL):
        assert (await client.post(PATH, json={"model": asked})).json() == {"ok": True}


async def test_the_engines_own_errors_pass_as_they_are(client: httpx.AsyncClient, backend: Backend) -> None:
    await client.get("/v1/models")
    for status in (400, 404, 422, 429, 500, 503):

        async def refuse(call: Call, status: int = status) -> None:
            await call.respond(status, {"error": {"message": "the engine's own", "code": status}}, "retry-after: 3\r\n")

        backend.handler = refuse
        response = await client.post(PATH, json={})
        assert response.status_code == status
        assert response.json() == {"error": {"message": "the engine's own", "code": status}}
        assert response.headers["retry-after"] == "3"
    assert len(backend.calls) == 6


async def test_the_list_of_models_is_the_engines_own_and_always_has_llm(
    client: httpx.AsyncClient, backend: Backend
) -> None:
    backend.models = ["first", "second"]
    listed = (await client.get("/v1/models")).json()
    assert listed == {
        "object": "list",
        "data": [
            {"id": "first", "object": "model", "max_model_len": 4096},
            {"id": "second", "object": "model", "max_model_len": 4096},
            {"id": "llm", "object": "model", "max_model_len": 4096},
        ],
    }
    backend.models = ["llm", "first"]
    assert [entry["id"] for entry in (await client.get("/v1/models")).json()["data"]] == ["llm", "first"]


@pytest.mark.parametrize("path", ["/v1/models/org/model-1.5", "/v1/models/org%2Fmodel-1.5", "/v1/models/llm"])
async def test_one_model_is_found_by_its_id(client: httpx.AsyncClient, backend: Backend, path: str) -> None:
    backend.models = ["org/model-1.5"]
    response = await client.get(path)
    assert response.status_code == 200
    assert response.json()["max_model_len"] == 4096


async def test_a_model_that_is_not_listed_is_not_found(client: httpx.AsyncClient) -> None:
    response = await client.get("/v1/models/gpt-4o")
    assert response.status_code == 404
    assert response.json()["error"]["code"] == "model_not_found"


async def test_what_tells_who_the_client_is_stays_at_the_gateway(gateway: GatewayProcess, backend: Backend) -> None:
    kept_back = [
        "Authorization: Bearer canary",
        "X-Api-Key: canary",
        "Cookie: canary=1",
        "X-Forwarded-For: 192.0.2.1",
        "X-Forwarded-Host: canary",
        "X-Forwarded-Anything: canary",
        "Forwarded: for=192.0.2.1",
        "X-Real-IP: 192.0.2.1",
        "Via: 1.1 canary",
        "Proxy-Authorization: Basic canary",
        "TE: trailers",
        "Trailer: X-Canary",
        "Keep-Alive: timeout=99",
        "Accept-Encoding: br",
        "X-Named: canary",
        "Connection: keep-alive, X-Named",
    ]
    passed_on = ["X-Signal-Hunter-Operation: scan", "User-Agent: test", "Accept: text/event-stream"]
    async with wire(gateway.port) as connection:
        await connection.post(PATH, b'{"model":"llm"}', *kept_back, *passed_on)
        assert (await connection.answer())[0] == 200
    received = dict(backend.call.headers)
    assert "canary" not in str(received)
    assert "192.0.2.1" not in str(received)
    assert set(received) == {
        "host",
        "content-type",
        "content-length",
        "accept-encoding",
        "x-request-id",
        "x-signal-hunter-operation",
        "user-agent",
        "accept",
    }
    assert received["host"] == f"127.0.0.1:{backend.port}"
    assert received["accept-encoding"] == "identity"
    assert received["user-agent"] == "test"


async def test_headers_that_would_steer_the_engine_stay_at_the_gateway_though_they_are_logged(
    start_gateway: StartGateway, backend: Backend
) -> None:
    gateway = start_gateway(PMP_GATEWAY_LOG_HEADERS="X-Vllm-Priority,X-Data-Parallel-Rank,X-Team")
    steering = {"x-vllm-priority": "-9", "x-data-parallel-rank": "1", "x-team": "blue", "x-request-id": "steers"}
    async with httpx.AsyncClient(base_url=gateway.url) as client:
        assert (await client.post(PATH, json={}, headers=steering)).status_code == 200
    received = dict(backend.call.headers)
    assert received["x-team"] == "blue"
    assert not {"x-vllm-priority", "x-data-parallel-rank"} & set(received)
    assert (await asyncio.to_thread(gateway.logged, "steers"))["headers"]["x-vllm-priority"] == "-9"


async def test_what_belongs_to_the_engines_connection_stays_behind(client: httpx.AsyncClient, backend: Backend) -> None:
    async def respond(call: Call) -> None:
        await call.respond(
            200,
            {},
            "connection: close, x-named\r\nx-named: 1\r\nkeep-alive: timeout=1\r\nproxy-authenticate: Basic\r\n"
            "access-control-allow-origin: *\r\nx-request-id: theirs\r\nx-engine: passed\r\n",
        )

    backend.handler = respond
    response = await client.post(PATH, json={})
    assert set(response.headers) == {"date", "content-type", "content-length", "x-engine", "x-request-id"}
    assert response.headers["x-request-id"] != "theirs"


async def test_a_redirect_of_the_engine_is_neither_followed_nor_shown(
    client: httpx.AsyncClient, backend: Backend
) -> None:
    async def redirect(call: Call) -> None:
        await call.respond(307, {}, f"location: {backend.url}/sleep\r\n")

    backend.handler = redirect
    response = await client.post(PATH, json={})
    assert response.status_code == 502
    assert backend.url not in response.text + str(response.headers)
    assert len(backend.calls) == 1


async def test_a_request_id_that_is_sane_is_kept_everywhere(
    client: httpx.AsyncClient, gateway: GatewayProcess, backend: Backend
) -> None:
    response = await client.post(PATH, json={}, headers={"x-request-id": "job-7.a:b_c"})
    assert response.headers["x-request-id"] == "job-7.a:b_c"
    assert backend.call.all_of("x-request-id") == ["job-7.a:b_c"]
    assert gateway.logged("job-7.a:b_c")["status"] == 200


@pytest.mark.parametrize("given", [[], [""], ["a b"], ["x" * 129], ["<script>"], ["one", "two"], ["ü"]])
async def test_any_other_request_id_is_replaced(gateway: GatewayProcess, backend: Backend, given: list[str]) -> None:
    async with wire(gateway.port) as connection:
        await connection.post(PATH, b"{}", *(f"X-Request-Id: {value}" for value in given))
        _, headers = await connection.head()
    (made,) = [value for name, value in headers if name == "x-request-id"]
    assert len(made) == 32
    assert made not in given
    assert backend.call.all_of("x-request-id") == [made]


async def test_failures_carry_a_request_id_too(client: httpx.AsyncClient) -> None:
    response = await client.get("/nowhere", headers={"x-request-id": "lost"})
    assert response.headers["x-request-id"] == "lost"
