import asyncio
import json

import httpx
import pytest

from tests.unit.gateway.conftest import StartGateway
from tests.unit.gateway.gateway_process import GatewayProcess
from tests.unit.gateway.stub import Backend, Call, answer_ok
from tests.unit.gateway.wire import wire

DEADLINE_SECONDS = 20.0
PATH = "/v1/chat/completions"


async def _wait_forever(_call: Call) -> None:
    await asyncio.Event().wait()


async def test_each_chunk_arrives_before_the_next_one_is_made(client: httpx.AsyncClient, backend: Backend) -> None:
    confirmed = asyncio.Semaphore(0)

    async def stream(call: Call) -> None:
        await call.start()
        for number in range(5):
            await call.chunk(b"data: %d\n\n" % number)
            async with asyncio.timeout(30):
                await confirmed.acquire()
        await call.finish()

    backend.handler = stream
    async with client.stream("POST", PATH, json={"stream": True}) as response:
        assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
        received = []
        async for chunk in response.aiter_raw():
            received.append(chunk)
            confirmed.release()
    assert received == [b"data: %d\n\n" % number for number in range(5)]


async def test_the_head_of_a_stream_does_not_wait_for_its_first_chunk(
    client: httpx.AsyncClient, backend: Backend
) -> None:
    seen = asyncio.Event()

    async def stream(call: Call) -> None:
        await call.start()
        async with asyncio.timeout(30):
            await seen.wait()
        await call.finish()

    backend.handler = stream
    async with client.stream("POST", PATH, json={"stream": True}) as response:
        assert response.status_code == 200
        seen.set()
        assert await response.aread() == b""


async def test_bytes_are_passed_on_as_they_are(client: httpx.AsyncClient, backend: Backend) -> None:
    odd = bytes(range(256)) * 300

    async def stream(call: Call) -> None:
        await call.start("application/octet-stream")
        await call.chunk(odd)
        await call.finish()

    backend.handler = stream
    assert (await client.post(PATH, json={})).content == odd


@pytest.mark.parametrize("chunks_before", [0, 1])
async def test_a_client_that_leaves_a_stream_cancels_the_engines_work(
    gateway: GatewayProcess, backend: Backend, chunks_before: int
) -> None:
    async def stream(call: Call) -> None:
        await call.start()
        for _ in range(chunks_before):
            await call.chunk(b"data: {}\n\n")
        await asyncio.Event().wait()

    backend.handler = stream
    async with wire(gateway.port) as connection:
        await connection.post(PATH, b'{"stream":true}', "X-Request-Id: leaves-stream-" + str(chunks_before))
        await connection.until(b"\r\n\r\n")
        if chunks_before:
            await connection.until(b"data: {}\n\n")
        await connection.leave()
        async with asyncio.timeout(DEADLINE_SECONDS):
            await backend.call.gone.wait()
    assert gateway.logged(f"leaves-stream-{chunks_before}")["status"] == 499


async def test_a_client_that_leaves_before_a_plain_answer_cancels_the_engines_work(
    gateway: GatewayProcess, backend: Backend
) -> None:
    backend.handler = _wait_forever
    async with wire(gateway.port) as connection:
        await connection.post(PATH, b"{}", "X-Request-Id: leaves-plain")
        call = await backend.next_call()
        await connection.leave()
        async with asyncio.timeout(DEADLINE_SECONDS):
            await call.gone.wait()
    assert gateway.logged("leaves-plain")["status"] == 499


async def test_a_client_that_leaves_while_the_body_is_under_way_never_reaches_the_engine(
    gateway: GatewayProcess, backend: Backend
) -> None:
    async with wire(gateway.port) as connection:
        head = f"POST {PATH} HTTP/1.1\r\nHost: g\r\nX-Request-Id: leaves-early\r\nExpect: 100-continue\r\n"
        await connection.send(head.encode() + b"Content-Length: 100\r\n\r\n")
        await connection.until(b"HTTP/1.1 100 Continue\r\n\r\n")
        await connection.send(b"{")
        await connection.leave()
    assert gateway.logged("leaves-early")["status"] == 499
    assert not backend.calls


async def test_one_client_that_leaves_does_not_disturb_the_others(gateway: GatewayProcess, backend: Backend) -> None:
    release = asyncio.Event()

    async def stream(call: Call) -> None:
        await call.start()
        await call.chunk(b"data: first\n\n")
        await release.wait()
        await call.chunk(b"data: last\n\n")
        await call.finish()

    backend.handler = stream
    async with wire(gateway.port) as stays, wire(gateway.port) as leaves:
        await stays.post(PATH, b"{}")
        await stays.until(b"data: first\n\n")
        await leaves.post(PATH, b"{}")
        await leaves.until(b"data: first\n\n")
        await leaves.leave()
        async with asyncio.timeout(DEADLINE_SECONDS):
            await backend.calls[1].gone.wait()
        release.set()
        await stays.until(b"data: last\n\n")
        await stays.until(b"0\r\n\r\n")


async def test_a_reader_that_stalls_holds_the_engine_back_and_may_go_on(
    gateway: GatewayProcess, backend: Backend
) -> None:
    total_chunks = 1000
    chunk = b"x" * 65536
    sent_chunks = 0

    async def flood(call: Call) -> None:
        nonlocal sent_chunks
        await call.start("application/octet-stream")
        for _ in range(total_chunks):
            await call.chunk(chunk)
            sent_chunks += 1
        await call.finish()

    backend.handler = flood
    async with wire(gateway.port) as connection:
        await connection.post(PATH, b"{}")
        await connection.until(b"\r\n\r\n")
        stalled_at = -1
        async with asyncio.timeout(20):
            while stalled_at != sent_chunks:
                stalled_at = sent_chunks
                await asyncio.sleep(0.5)
        # The kernel's buffers of four sockets and little more.
        assert sent_chunks * len(chunk) < 24 * 1024 * 1024
        async with asyncio.timeout(60):
            tail = b""
            while not tail.endswith(b"\r\n0\r\n\r\n"):
                tail = tail[-16:] + await connection.reader.read(1 << 20)
        assert sent_chunks == total_chunks


async def test_a_stream_that_breaks_ends_with_an_error_event(client: httpx.AsyncClient, backend: Backend) -> None:
    async def stream(call: Call) -> None:
        await call.start()
        await call.chunk(b'data: {"n":1}\n\n')
        await call.chunk(b'data: {"n":')
        call.break_off()

    backend.handler = stream
    response = await client.post(PATH, json={"stream": True})
    assert response.status_code == 200
    first, error, rest = response.text.split("\n\n")
    assert (first, rest) == ('data: {"n":1}', "")
    assert json.loads(error.removeprefix("data: "))["error"] == {
        "message": "The engine broke off or gave an unusable answer.",
        "type": "api_error",
        "param": None,
        "code": "backend_broken",
    }
    assert "[DONE]" not in response.text


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/responses"])
async def test_the_error_event_has_a_name_where_clients_need_one(
    client: httpx.AsyncClient, backend: Backend, path: str
) -> None:
    async def stream(call: Call) -> None:
        await call.start()
        await call.chunk(b"event: ping\ndata: {}\n\n")
        call.break_off()

    backend.handler = stream
    response = await client.post(path, json={"stream": True})
    assert response.text.split("\n\n")[1].startswith('event: error\ndata: {"type":"error","error":{')


async def test_a_plain_answer_that_breaks_is_a_failure_like_others(client: httpx.AsyncClient, backend: Backend) -> None:
    async def respond(call: Call) -> None:
        await call.raw(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{")
        call.break_off()

    backend.handler = respond
    response = await client.post(PATH, json={})
    assert response.status_code == 502
    assert response.json()["error"]["code"] == "backend_broken"


async def test_an_answer_of_unknown_length_that_breaks_is_never_taken_for_a_whole_one(
    client: httpx.AsyncClient, gateway: GatewayProcess, backend: Backend
) -> None:
    async def respond(call: Call) -> None:
        await call.start(call.json()["model"])
        await call.chunk(b"{")
        call.break_off()

    backend.handler = respond
    backend.models = ["application/json", "application/octet-stream"]
    await client.get("/v1/models")
    response = await client.post(PATH, json={"model": "application/json"})
    assert (response.status_code, response.json()["error"]["code"]) == (502, "backend_broken")
    with pytest.raises(httpx.RemoteProtocolError):
        await client.post(PATH, json={"model": "application/octet-stream"}, headers={"x-request-id": "breaks"})
    assert gateway.logged("breaks")["error"] == "backend_broken"


async def test_after_a_break_the_next_request_is_served(client: httpx.AsyncClient, backend: Backend) -> None:
    async def vanish(call: Call) -> None:
        call.break_off()

    backend.handler = vanish
    assert (await client.post(PATH, json={})).status_code == 502
    backend.handler = answer_ok
    assert (await client.post(PATH, json={})).status_code == 200


async def test_a_silent_engine_is_given_up(start_gateway: StartGateway, backend: Backend) -> None:
    async def stream(call: Call) -> None:
        await call.start()
        await call.chunk(b"data: {}\n\n")
        await asyncio.Event().wait()

    gateway = start_gateway(PMP_GATEWAY_BACKEND_SILENCE_SECONDS="1")
    async with httpx.AsyncClient(base_url=gateway.url, timeout=30) as client:
        backend.handler = stream
        assert '"code":"backend_silent"' in (await client.post(PATH, json={})).text
        backend.handler = _wait_forever
        response = await client.post(PATH, json={})
        assert response.status_code == 504
        assert response.json()["error"]["code"] == "backend_silent"
    async with asyncio.timeout(DEADLINE_SECONDS):
        await backend.calls[1].gone.wait()
