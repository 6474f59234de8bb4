import json

import httpx
import pytest

from tests.unit.gateway.gateway_process import GatewayProcess
from tests.unit.gateway.stub import Backend
from tests.unit.gateway.wire import wire

INFERENCE_ROUTES = [
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/embeddings",
    "/v1/responses",
    "/v1/messages",
    "/v1/messages/count_tokens",
    "/tokenize",
    "/detokenize",
    "/v1/score",
    "/score",
    "/v1/rerank",
    "/v2/rerank",
    "/rerank",
]

# What a vLLM serves beside its API, in part without asking for a key, and what frameworks add by themselves.
FOREIGN_PATHS = [
    "/",
    "/invocations",
    "/generative_scoring",
    "/pooling",
    "/classify",
    "/ping",
    "/version",
    "/load",
    "/metrics",
    "/pause",
    "/resume",
    "/is_paused",
    "/scale_elastic_ep",
    "/init_weight_transfer_engine",
    "/update_weights",
    "/get_world_size",
    "/sleep",
    "/wake_up",
    "/collective_rpc",
    "/reset_prefix_cache",
    "/server_info",
    "/start_profile",
    "/v1/load_lora_adapter",
    "/docs",
    "/redoc",
    "/openapi.json",
    "/status",
    "/reload",
]

PATH_TRICKS = [
    "/v1/../sleep",
    "/v1/chat/completions/../../../sleep",
    "/v1/%2e%2e/sleep",
    "/v1/models/../../sleep",
    "/v1/models/%2e%2e/%2e%2e/sleep",
    "/v1/models/..%2f..%2fsleep",
    "//v1/chat/completions",
    "/v1//chat/completions",
    "/v1/./chat/completions",
    "/v1/chat/completions/",
    "/v1/chat%2fcompletions",
    "/%761/chat/completions",
    "/v1/chat/completions;a=b",
    "/v1/chat/completions%00",
    "/v1/chat/completions%0d%0aX: y",
    "/v1\\chat\\completions",
    "/V1/chat/completions",
    "/health/",
    "//health",
    "/health/../sleep",
    "/v1/models/",
    "/v1/models//a",
    "/v1/models/a?b/../c#/sleep/..",
]


@pytest.mark.parametrize("path", INFERENCE_ROUTES)
async def test_an_inference_route_reaches_the_same_path_of_the_engine(
    client: httpx.AsyncClient, backend: Backend, path: str
) -> None:
    response = await client.post(path, json={"model": "llm"}, params={"token": "canary", "x": "y"})
    assert response.json() == {"ok": True}
    assert (backend.call.method, backend.call.target) == ("POST", path)


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("path", FOREIGN_PATHS)
async def test_what_is_not_in_the_table_is_not_there(
    client: httpx.AsyncClient, backend: Backend, method: str, path: str
) -> None:
    response = await client.request(method, path, json={})
    assert response.status_code == 404
    assert response.json()["error"]["code"] == "not_found"
    assert not backend.calls


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("path", PATH_TRICKS[:-1])
async def test_no_other_spelling_of_a_path_means_a_route(
    gateway: GatewayProcess, backend: Backend, method: str, path: str
) -> None:
    async with wire(gateway.port) as connection:
        await connection.send(f"{method} {path} HTTP/1.1\r\nHost: g\r\nContent-Length: 2\r\n\r\n{{}}".encode())
        status, headers = await connection.head()
        assert status in (400, 404)
        assert dict(headers)["content-type"].startswith(("application/json", "text/plain"))
    assert not backend.calls
    assert backend.models_asked == 0


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/v1/chat/completions", "POST"),
        ("PUT", "/v1/chat/completions", "POST"),
        ("OPTIONS", "/v1/chat/completions", "POST"),
        ("DELETE", "/v1/models", "GET"),
        ("DELETE", "/v1/models/llm", "GET"),
        ("POST", "/health", "GET"),
    ],
)
async def test_a_wrong_method_is_told_the_right_one(
    client: httpx.AsyncClient, backend: Backend, method: str, path: str, allowed: str
) -> None:
    response = await client.request(method, path)
    assert response.status_code == 405
    assert response.headers["allow"] == allowed
    assert response.json()["error"]["type"] == "invalid_request_error"
    assert not backend.calls


async def test_health_is_fixed_and_does_not_need_the_engine(client: httpx.AsyncClient, backend: Backend) -> None:
    await backend.stop()
    response = await client.get("/health")
    assert (response.status_code, response.content) == (200, b'{"status":"ok"}')
    assert set(response.headers) == {"date", "content-type", "content-length", "x-request-id"}
    await backend.start(backend.port)


async def test_a_request_with_two_framings_is_refused(gateway: GatewayProcess, backend: Backend) -> None:
    smuggled = b"0\r\n\r\nPOST /sleep HTTP/1.1\r\nHost: g\r\nContent-Length: 0\r\n\r\n"
    head = f"POST /v1/completions HTTP/1.1\r\nHost: g\r\nContent-Length: {len(smuggled)}\r\n"
    async with wire(gateway.port) as connection:
        await connection.send(head.encode() + b"Transfer-Encoding: chunked\r\n\r\n" + smuggled)
        assert (await connection.rest()).startswith(b"HTTP/1.1 400 ")
    assert not backend.calls


async def test_requests_follow_one_another_on_one_connection(gateway: GatewayProcess, backend: Backend) -> None:
    async with wire(gateway.port) as connection:
        for number in range(3):
            await connection.post("/v1/completions", json.dumps({"number": number}).encode())
            assert await connection.answer() == (200, b'{"ok": true}')
        await connection.post("/nowhere", b"{}")
        assert (await connection.answer())[0] == 404
        await connection.post("/v1/completions", b"{}")
        assert (await connection.answer())[0] == 200
    assert [call.json().get("number") for call in backend.calls] == [0, 1, 2, None]
