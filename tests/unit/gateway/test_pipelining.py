"""Several requests on one connection at once: each is answered once, in order, and within bounds."""

import asyncio
from contextlib import suppress

import pytest

from tests.support import eventually
from tests.unit.gateway.conftest import StartGateway
from tests.unit.gateway.gateway_process import GatewayProcess
from tests.unit.gateway.refusals import last_refusal, refusal
from tests.unit.gateway.stub import Backend, Call, answer_ok
from tests.unit.gateway.wire import wire

LINE = b"POST /v1/chat/completions HTTP/1.1\r\nHost: gateway\r\n"
CHUNKED = LINE + b"Transfer-Encoding: chunked\r\n\r\n"
HEALTH = b"GET /health HTTP/1.1\r\nHost: gateway\r\n\r\n"


async def test_pipelined_requests_of_all_kinds_are_answered_once_and_in_order(
    gateway: GatewayProcess, backend: Backend
) -> None:
    async def echo(call: Call) -> None:
        if call.json()["n"] == 3:
            await call.start()
            await call.chunk(b"data: 3\n\n")
            await call.finish()
        else:
            await call.respond(200, call.json()["n"])

    def post(number: int) -> bytes:
        body = b'{"n":%d}' % number
        return LINE + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)

    backend.handler = echo
    sent = (
        post(1)
        + HEALTH
        + post(2)
        + b"GET /nowhere HTTP/1.1\r\nHost: gateway\r\n\r\n"
        + post(3)
        + (LINE + b"Content-Length: 1\r\n\r\n{")
        + b"GET /v1/models/nowhere HTTP/1.1\r\nHost: gateway\r\n\r\n"
        + post(4)
    )
    async with wire(gateway.port) as connection:
        await connection.send(sent)
        assert await connection.answer() == (200, b"1")
        assert await connection.answer() == (200, b'{"status":"ok"}')
        assert await connection.answer() == (200, b"2")
        assert await refusal(connection) == (404, "not_found")
        assert (await connection.head())[0] == 200
        assert await connection.until(b"0\r\n\r\n") == b"9\r\ndata: 3\n\n\r\n0\r\n\r\n"
        assert await refusal(connection) == (400, "invalid_json")
        assert await refusal(connection) == (404, "model_not_found")
        assert await connection.answer() == (200, b"4")
        await connection.send(HEALTH)
        assert (await connection.answer())[0] == 200
    assert [call.json()["n"] for call in backend.calls] == [1, 2, 3, 4]


async def test_answers_that_need_no_waiting_may_be_many(gateway: GatewayProcess, backend: Backend) -> None:
    async with wire(gateway.port) as connection:
        await connection.send((LINE + b"Content-Length: 1\r\n\r\n{") * 500)
        for _ in range(500):
            assert await refusal(connection) == (400, "invalid_json")
    assert not backend.calls


async def test_refusals_that_waited_behind_an_answer_come_after_it(gateway: GatewayProcess, backend: Backend) -> None:
    release = asyncio.Event()

    async def wait(call: Call) -> None:
        await release.wait()
        await answer_ok(call)

    backend.handler = wait
    async with wire(gateway.port) as connection:
        await connection.send(LINE + b"Content-Length: 2\r\n\r\n{}" + (LINE + b"Content-Length: 1\r\n\r\n{") * 30)
        await backend.next_call()
        release.set()
        assert await connection.answer() == (200, b'{"ok": true}')
        for _ in range(30):
            assert await refusal(connection) == (400, "invalid_json")


async def test_more_requests_than_may_wait_on_a_connection_end_it(gateway: GatewayProcess, backend: Backend) -> None:
    async def wait(call: Call) -> None:
        await asyncio.Event().wait()

    backend.handler = wait
    async with wire(gateway.port) as connection:
        await connection.send((LINE + b"Content-Length: 2\r\n\r\n{}") * 100)
        with suppress(ConnectionError):
            assert await connection.rest() == b""
    async with asyncio.timeout(30):
        await asyncio.gather(*(call.gone.wait() for call in backend.calls))
    assert len(backend.calls) <= 1


@pytest.mark.parametrize("second", [b"GET / HTTP/9.9\r\n\r\n", CHUNKED + b"zz\r\n", b"\x00", b"X" * 100_000])
async def test_nothing_is_written_into_an_answer_that_is_under_way(
    gateway: GatewayProcess, backend: Backend, second: bytes
) -> None:
    async def stream(call: Call) -> None:
        await call.start()
        await call.chunk(b"data: 1\n\n")
        await asyncio.Event().wait()

    backend.handler = stream
    async with wire(gateway.port) as connection:
        await connection.send(LINE + b"Content-Length: 2\r\n\r\n{}")
        await connection.until(b"data: 1\n\n\r\n")
        await connection.send(second)
        with suppress(ConnectionError):
            assert await connection.rest() == b""
    async with asyncio.timeout(30):
        await backend.call.gone.wait()
    assert len(backend.calls) == 1


async def test_offers_of_other_protocols_may_be_pipelined(gateway: GatewayProcess, backend: Backend) -> None:
    offer = LINE + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"
    whole = offer + b"Content-Length: 2\r\n\r\n{}"
    async with wire(gateway.port) as connection:
        await connection.send(whole * 3 + HEALTH + whole)
        for body in (b'{"ok": true}', b'{"ok": true}', b'{"ok": true}', b'{"status":"ok"}', b'{"ok": true}'):
            assert await connection.answer() == (200, body)
    assert len(backend.calls) == 4


async def test_when_the_gateway_stops_what_waits_behind_an_answer_is_refused_after_it(
    start_gateway: StartGateway, backend: Backend
) -> None:
    release = asyncio.Event()

    async def wait(call: Call) -> None:
        await release.wait()
        await answer_ok(call)

    backend.handler = wait
    gateway = start_gateway()
    async with wire(gateway.port) as connection, wire(gateway.port) as sends_its_body:
        await sends_its_body.send(LINE + b"Content-Length: 2\r\n\r\n{")
        await connection.send((LINE + b"Content-Length: 2\r\n\r\n{}") * 2)
        await backend.next_call()
        gateway.terminate()
        await asyncio.to_thread(eventually, lambda: "stopping" in gateway.stderr)
        release.set()
        assert await connection.answer() == (200, b'{"ok": true}')
        assert await last_refusal(connection) == (503, "gateway_stopping")
        await sends_its_body.send(b"}")
        assert await last_refusal(sends_its_body) == (503, "gateway_stopping")
    assert await asyncio.to_thread(gateway.wait) == 0
    assert len(backend.calls) == 1
    assert "Traceback" not in gateway.stderr
