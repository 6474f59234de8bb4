"""Metrics, CORS and the guard of an open gateway, through the real process."""

import asyncio
import json
import random
from pathlib import Path

import httpx
import pytest

from tests.support import eventually
from tests.unit.gateway.conftest import StartGateway
from tests.unit.gateway.gateway_process import GatewayProcess
from tests.unit.gateway.stub import Backend, Call
from tests.unit.gateway.test_metrics import Page, scrape_socket
from tests.unit.gateway.wire import wire

PATH = "/v1/chat/completions"
TOKEN = "canary-token"
PAGE = "https://chat.example"


def with_token(folder: Path) -> str:
    path = folder / "auth.json"
    path.write_text(json.dumps({"tokens": [TOKEN]}))
    return str(path)


async def ask(gateway: GatewayProcess, request_line: str, *headers: str) -> tuple[int, bytes]:
    """Exactly these headers."""
    async with wire(gateway.port) as connection:
        await connection.send("\r\n".join([f"{request_line} HTTP/1.1", *headers, "Content-Length: 0", "", ""]).encode())
        return await connection.answer()


async def test_finished_requests_show_in_the_metrics(
    start_gateway: StartGateway, backend: Backend, tmp_path: Path
) -> None:
    async def hang(call: Call) -> None:
        await asyncio.Event().wait()

    socket_path = tmp_path / "control.sock"
    gateway = start_gateway(PMP_GATEWAY_CONTROL_SOCKET=str(socket_path))
    async with httpx.AsyncClient(base_url=gateway.url) as client:
        await client.post(PATH, json={})
        await client.post(PATH, content=b"{")
        await client.get("/v1/models")
    backend.handler = hang
    async with wire(gateway.port) as connection:
        await connection.post(PATH, b"{}", "X-Request-Id: left")
        await backend.next_call(2)
    await asyncio.to_thread(gateway.logged, "left")
    page = await scrape_socket(socket_path)
    for status in ("200", "400", "499"):
        assert page.value("requests_total", route=PATH, status=status) == 1
    assert page.value("requests_total", route="/v1/models", status="200") == 1
    assert page.value("errors_total", code="invalid_json") == 1
    assert page.value("time_to_first_byte_seconds_count", stream="false") == 2
    assert page.value("requests_in_flight") == 0


async def test_no_request_makes_the_page_grow_or_leaves_itself_in_it(
    start_gateway: StartGateway, tmp_path: Path
) -> None:
    socket_path = tmp_path / "control.sock"
    gateway = start_gateway(PMP_GATEWAY_CONTROL_SOCKET=str(socket_path), AUTH_CONFIG_PATH=with_token(tmp_path))
    chance = random.Random(7)  # noqa: S311 (requests at random, the same in every run)
    bodies = {"model": "canary", "messages": [{"role": "user", "content": "canary"}], "user": "canary"}
    async with httpx.AsyncClient(base_url=gateway.url) as client:
        for number in range(150):
            method = chance.choice(["GET", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "HEAD", "PROPFIND"])
            path = chance.choice([f"/canary/{number}", f"/v1/models/canary-{number}", PATH, f"/v1/canary{number}"])
            token = chance.choice([TOKEN, f"canary-{number}"])
            headers = {"authorization": f"Bearer {token}", "x-request-id": f"canary-{number}", "x-canary": "canary"}
            await client.request(method, f"{path}?canary={number}", json=bodies, headers=headers)
    page = await scrape_socket(socket_path)
    labels = {value for _, labels in page.samples for _, value in labels}
    assert not [value for value in labels if "canary" in value]
    assert page.label_values("route") <= {"other", "/v1/models/{id}", PATH}
    assert len(page.samples) < 400


async def test_public_metrics_need_a_token_where_there_are_tokens(
    start_gateway: StartGateway, backend: Backend, tmp_path: Path
) -> None:
    gateway = start_gateway(PMP_GATEWAY_PUBLIC_METRICS="1", AUTH_CONFIG_PATH=with_token(tmp_path))
    async with httpx.AsyncClient(base_url=gateway.url) as client:
        refused = await client.get("/metrics")
        shown = await client.get("/metrics", headers={"authorization": f"Bearer {TOKEN}"})
        posted = await client.post("/metrics", headers={"authorization": f"Bearer {TOKEN}"})
    assert (refused.status_code, posted.status_code) == (401, 405)
    assert "pmp_gateway" not in refused.text
    assert shown.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert Page(shown.text).value("phase", phase="open") == 1
    assert backend.calls == []


async def test_a_listed_page_reads_answers_and_failures_and_asks_first_without_a_token(
    start_gateway: StartGateway, backend: Backend, tmp_path: Path
) -> None:
    gateway = start_gateway(PMP_GATEWAY_CORS_ORIGINS=PAGE, AUTH_CONFIG_PATH=with_token(tmp_path))
    async with httpx.AsyncClient(base_url=gateway.url, headers={"origin": PAGE}) as client:
        asked = await client.options(
            PATH,
            headers={"access-control-request-method": "POST", "access-control-request-headers": "authorization"},
        )
        refused = await client.post(PATH, json={})
        answered = await client.post(PATH, json={}, headers={"authorization": f"Bearer {TOKEN}"})
        lost = await client.post("/nowhere", json={}, headers={"authorization": f"Bearer {TOKEN}"})
    assert [each.status_code for each in (asked, refused, answered, lost)] == [204, 401, 200, 404]
    assert asked.headers["access-control-allow-methods"] == "POST"
    assert asked.headers["access-control-allow-headers"] == "authorization"
    for each in (asked, refused, answered, lost):
        assert each.headers.get_list("access-control-allow-origin") == [PAGE]
        assert each.headers["access-control-expose-headers"] == "X-Request-Id, Retry-After"
        assert each.headers["vary"] == "Origin"
        assert "access-control-allow-credentials" not in each.headers
    assert len(backend.calls) == 1


async def test_other_pages_get_no_leave_to_read(start_gateway: StartGateway, backend: Backend, tmp_path: Path) -> None:
    gateway = start_gateway(PMP_GATEWAY_CORS_ORIGINS=PAGE, AUTH_CONFIG_PATH=with_token(tmp_path))
    headers = {"origin": "https://evil.example", "access-control-request-method": "POST"}
    async with httpx.AsyncClient(base_url=gateway.url, headers=headers) as client:
        asked = await client.options(PATH)
        answered = await client.post(PATH, json={}, headers={"authorization": f"Bearer {TOKEN}"})
    assert asked.status_code == 403
    assert asked.json()["error"]["code"] == "origin_not_allowed"
    assert answered.status_code == 200
    for each in (asked, answered):
        assert not [name for name in each.headers if name.startswith("access-control-")]


async def test_without_cors_a_browser_that_asks_first_is_told_nothing(client: httpx.AsyncClient) -> None:
    response = await client.options(PATH, headers={"access-control-request-method": "POST"})
    assert response.status_code == 405
    assert not [name for name in response.headers if name.startswith("access-control-")]


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        (["Host: evil.example:8000"], "host_not_allowed"),
        (["Host: evil.example", "Origin: http://evil.example"], "host_not_allowed"),
        (["Host: 127.0.0.1", "Origin: https://evil.example"], "origin_not_allowed"),
        (["Host: 127.0.0.1", "Origin: null"], "origin_not_allowed"),
    ],
)
async def test_an_open_gateway_does_not_serve_pages_of_others(
    gateway: GatewayProcess, backend: Backend, headers: list[str], code: str
) -> None:
    for request_line in (f"POST {PATH}", "GET /v1/models"):
        status, body = await ask(gateway, request_line, *headers)
        assert (status, json.loads(body)["error"]["code"]) == (403, code)
    assert (await ask(gateway, "GET /health", *headers))[0] == 200
    assert backend.calls == []
    assert backend.models_asked == 0


async def test_two_host_headers_are_refused(gateway: GatewayProcess, backend: Backend) -> None:
    status, body = await ask(gateway, f"POST {PATH}", "Host: 127.0.0.1", "Host: evil.example")
    assert (status, json.loads(body)["error"]["code"]) == (400, "host_repeated")
    assert backend.calls == []


async def test_with_tokens_any_name_will_do_unless_names_are_listed(
    start_gateway: StartGateway, tmp_path: Path
) -> None:
    auth = with_token(tmp_path)
    token = f"Authorization: Bearer {TOKEN}"
    guarded = await asyncio.to_thread(start_gateway, AUTH_CONFIG_PATH=auth)
    listed = await asyncio.to_thread(start_gateway, AUTH_CONFIG_PATH=auth, PMP_GATEWAY_ALLOWED_HOSTS="gpu.example.com")
    assert (await ask(guarded, "GET /v1/models", "Host: any.example", token))[0] == 200
    assert (await ask(listed, "GET /v1/models", "Host: any.example", token))[0] == 403
    assert (await ask(listed, "GET /v1/models", "Host: gpu.example.com:8000", token))[0] == 200
    assert (await ask(listed, "GET /v1/models", "Host: 127.0.0.1", token))[0] == 200


async def test_tokens_that_come_into_force_lift_the_guard(start_gateway: StartGateway, tmp_path: Path) -> None:
    auth = tmp_path / "auth.json"
    auth.write_text('{"tokens": []}')
    gateway = await asyncio.to_thread(start_gateway, AUTH_CONFIG_PATH=str(auth))
    request = ("GET /v1/models", "Host: any.example", f"Authorization: Bearer {TOKEN}")
    assert (await ask(gateway, *request))[0] == 403
    with_token(tmp_path)

    def is_let_in() -> bool:
        headers = {"host": "any.example", "authorization": f"Bearer {TOKEN}"}
        return httpx.get(f"{gateway.url}/v1/models", headers=headers, trust_env=False).status_code == 200

    assert await asyncio.to_thread(eventually, is_let_in)


async def test_a_stream_shows_its_gaps_its_first_byte_and_its_tokens(
    start_gateway: StartGateway, backend: Backend, tmp_path: Path
) -> None:
    async def stream(call: Call) -> None:
        await call.start()
        for number in range(4):
            await call.chunk(b'data: {"choices":[{"index":0,"delta":{"content":"%d"}}]}\n\n' % number)
            await asyncio.sleep(0.03)
        await call.chunk(b'data: {"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":4}}\n\n')
        await call.chunk(b"data: [DONE]\n\n")
        await call.finish()

    backend.handler = stream
    socket_path = tmp_path / "control.sock"
    gateway = start_gateway(PMP_GATEWAY_CONTROL_SOCKET=str(socket_path))
    async with httpx.AsyncClient(base_url=gateway.url) as client:
        await client.post(PATH, json={"stream": True}, headers={"x-request-id": "stream"})
    line = await asyncio.to_thread(gateway.logged, "stream")
    page = await scrape_socket(socket_path)
    assert page.value("chunk_gap_seconds_count") in (4, 5)  # the last two chunks may come as one
    assert (page.value("chunk_gap_seconds_sum") or 0) >= 0.1
    assert page.value("time_to_first_byte_seconds_count", stream="true") == 1
    assert (page.value("prompt_tokens_total"), page.value("completion_tokens_total")) == (7, 4)
    assert (line["stream"], line["prompt_tokens"], line["completion_tokens"]) == (True, 7, 4)
    assert 0 < line["first_byte_ms"] < line["duration_ms"]


async def test_a_client_that_leaves_a_stream_is_a_499_in_log_and_metrics(
    start_gateway: StartGateway, backend: Backend, tmp_path: Path
) -> None:
    async def stream(call: Call) -> None:
        await call.start()
        await call.chunk(b"data: first\n\n")
        await asyncio.Event().wait()

    backend.handler = stream
    socket_path = tmp_path / "control.sock"
    gateway = start_gateway(PMP_GATEWAY_CONTROL_SOCKET=str(socket_path))
    async with wire(gateway.port) as connection:
        await connection.post(PATH, b'{"stream": true}', "X-Request-Id: left")
        await connection.until(b"data: first\n\n")
    assert (await asyncio.to_thread(gateway.logged, "left"))["status"] == 499
    assert (await scrape_socket(socket_path)).value("requests_total", route=PATH, status="499") == 1


async def test_the_log_names_the_token_and_never_shows_it(start_gateway: StartGateway, tmp_path: Path) -> None:
    gateway = start_gateway(AUTH_CONFIG_PATH=with_token(tmp_path))
    headers = {"authorization": f"Bearer {TOKEN}", "x-request-id": "named"}
    async with httpx.AsyncClient(base_url=gateway.url) as client:
        await client.post(PATH, json={"messages": "canary"}, headers=headers)
    assert (await asyncio.to_thread(gateway.logged, "named"))["token"] == "token-1"
    assert "canary" not in gateway.stdout_path.read_text() + gateway.stderr
