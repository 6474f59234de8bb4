"""Clients that would rather speak HTTP/2, as Java's does by default: they are answered as if they had not asked."""

import asyncio
import json

import pytest

from tests import needs
from tests.unit.gateway.gateway_process import GatewayProcess
from tests.unit.gateway.stub import Backend
from tests.unit.gateway.wire import Wire, wire

PATH = "/v1/chat/completions"
BODY = json.dumps({"model": "llm", "messages": [{"role": "user", "content": "Hello" * 1000}]}).encode()

OFFERS = {
    "h2c": ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAUAAEAA"),
    "websocket": ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"),
    "unknown": ("Connection: keep-alive, Upgrade", "Upgrade: something/7"),
}  # fmt: skip


async def post(connection: Wire, *headers: str, pause_before_body: bool = False) -> None:
    if not pause_before_body:
        await connection.post(PATH, BODY, *headers)
        return
    lines = [f"POST {PATH} HTTP/1.1", "Host: gateway", *headers, f"Content-Length: {len(BODY)}", "", ""]
    await connection.send("\r\n".join(lines).encode())
    for start in range(0, len(BODY), 1500):
        # So that the gateway reads each part by itself.
        await asyncio.sleep(0.01)
        await connection.send(BODY[start : start + 1500])


@pytest.mark.parametrize("pause_before_body", [False, True])
@pytest.mark.parametrize("offer", OFFERS.values(), ids=OFFERS)
async def test_the_body_arrives_whole_and_the_answer_is_plain_http(
    gateway: GatewayProcess, backend: Backend, offer: tuple[str, ...], pause_before_body: bool
) -> None:
    async with wire(gateway.port) as connection:
        await post(connection, *offer, pause_before_body=pause_before_body)
        assert await connection.answer() == (200, b'{"ok": true}')

    assert backend.call.json()["messages"] == json.loads(BODY)["messages"]
    assert not backend.call.all_of("upgrade")
    assert not backend.call.all_of("http2-settings")


async def test_the_connection_takes_further_requests_after_an_offer(gateway: GatewayProcess, backend: Backend) -> None:
    async with wire(gateway.port) as connection:
        for headers in (OFFERS["h2c"], (), OFFERS["h2c"]):
            await connection.post(PATH, BODY, *headers)
            assert (await connection.answer())[0] == 200

    assert [call.json()["messages"] for call in backend.calls] == [json.loads(BODY)["messages"]] * 3


async def test_a_chunked_body_arrives_whole(gateway: GatewayProcess, backend: Backend) -> None:
    head = [f"POST {PATH} HTTP/1.1", "Host: gateway", *OFFERS["h2c"], "Transfer-Encoding: chunked", "", ""]
    async with wire(gateway.port) as connection:
        await connection.send("\r\n".join(head).encode() + b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY))
        assert (await connection.answer())[0] == 200

    assert backend.call.json()["messages"] == json.loads(BODY)["messages"]


async def test_an_offer_does_not_get_around_the_routes(gateway: GatewayProcess, backend: Backend) -> None:
    async with wire(gateway.port) as connection:
        await connection.post("/sleep", b"{}", *OFFERS["h2c"])
        assert (await connection.answer())[0] == 404
        await connection.send(b"GET /health HTTP/1.1\r\nHost: g\r\n" + "\r\n".join((*OFFERS["h2c"], "", "")).encode())
        assert await connection.answer() == (200, b'{"status":"ok"}')

    assert not backend.calls


async def test_curl_that_offers_http2_is_answered(gateway: GatewayProcess, backend: Backend) -> None:
    curl = await asyncio.create_subprocess_exec(
        *(needs.require(needs.curl), "--http2", "--silent", "--show-error", "--max-time", "10"),
        *("--write-out", "%{http_version}", "--header", "Content-Type: application/json", "--data-binary", "@-"),
        f"{gateway.url}{PATH}",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    printed, _ = await curl.communicate(BODY)

    assert printed == b'{"ok": true}1.1'
    assert backend.call.json()["messages"] == json.loads(BODY)["messages"]
