"""Clients that take their time, or never go on: each wait has an end, and nobody else pays for it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from itertools import repeat
from pathlib import Path

import pytest

from tests.unit.gateway.conftest import StartGateway
from tests.unit.gateway.control import Control
from tests.unit.gateway.refusals import last_refusal, refusal
from tests.unit.gateway.stub import Backend, Call, answer_ok
from tests.unit.gateway.wire import Wire, wire

LINE = b"POST /v1/chat/completions HTTP/1.1\r\nHost: gateway\r\n"
WHOLE = LINE + b"Content-Length: 2\r\n\r\n{}"
HEALTH = b"GET /health HTTP/1.1\r\nHost: gateway\r\n\r\n"
MOMENT_SECONDS = 0.1


@asynccontextmanager
async def dribbling(connection: Wire, part: bytes) -> AsyncIterator[None]:
    """Sends one more part again and again."""

    async def dribble() -> None:
        with suppress(ConnectionError):
            for one in repeat(part):
                await connection.send(one)
                await asyncio.sleep(MOMENT_SECONDS)

    task = asyncio.create_task(dribble())
    try:
        yield
    finally:
        task.cancel()


SLOW = {
    "a head that stops": (b"POST /v1/chat/comp", b""),
    "a head that goes on and on": (LINE, b"X-A: b\r\n"),
    "lines before a head": (b"\r\n", b"\r\n"),
    "a body that stops": (LINE + b"Content-Length: 1000\r\n\r\n{", b""),
    "a body that does not begin": (LINE + b"Content-Length: 1000\r\n\r\n", b""),
    "a body that goes on and on": (LINE + b"Content-Length: 100000\r\n\r\n{", b" "),
    "chunks that go on and on": (LINE + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
    "a body that nobody asked for": (HEALTH[:-2] + b"Content-Length: 1000\r\n\r\n{", b""),
}


async def test_who_does_not_finish_a_request_is_told_so_and_cut_off(
    start_gateway: StartGateway, backend: Backend
) -> None:
    gateway = start_gateway(
        PMP_GATEWAY_HEAD_SECONDS="1", PMP_GATEWAY_BODY_STALL_SECONDS="1", PMP_GATEWAY_BODY_SECONDS="3"
    )

    async def dawdle(name: str) -> None:
        begin, more = SLOW[name]
        async with wire(gateway.port) as connection:
            await connection.send(begin)
            if name == "a body that nobody asked for":
                assert (await connection.answer())[0] == 200
            if more:
                async with dribbling(connection, more):
                    assert await refusal(connection) == (408, "request_timeout"), name
            else:
                assert await last_refusal(connection) == (408, "request_timeout"), name

    await asyncio.gather(*map(dawdle, SLOW))
    assert not backend.calls
    assert "Traceback" not in gateway.stderr


async def test_an_idle_connection_is_closed_without_a_word(start_gateway: StartGateway, backend: Backend) -> None:
    gateway = start_gateway(PMP_GATEWAY_CLIENT_IDLE_SECONDS="1")

    async def never_asks(connection: Wire) -> None:
        assert await connection.rest() == b""

    async def asked_once(connection: Wire) -> None:
        await connection.send(WHOLE)
        assert (await connection.answer())[0] == 200
        assert await connection.rest() == b""

    async def asked_for_a_small_answer(connection: Wire) -> None:
        await connection.send(HEALTH)
        assert (await connection.answer())[0] == 200
        assert await connection.rest() == b""

    async def sent_its_body_after_the_refusal(connection: Wire) -> None:
        await connection.send(LINE.replace(b"/v1/chat/completions", b"/nowhere") + b"Content-Length: 2\r\n\r\n")
        assert await refusal(connection) == (404, "not_found")
        await connection.send(b"{}")
        assert await connection.rest() == b""

    async def run(client: Callable[[Wire], Awaitable[None]]) -> None:
        async with wire(gateway.port) as connection:
            await client(connection)

    await asyncio.gather(*map(run, (never_asks, asked_once, asked_for_a_small_answer, sent_its_body_after_the_refusal)))


async def test_a_body_that_comes_after_the_refusal_leaves_an_idle_connection(
    start_gateway: StartGateway, backend: Backend, tmp_path: Path
) -> None:
    tokens = tmp_path / "auth.json"
    tokens.write_text('{"tokens": ["right"]}')
    gateway = start_gateway(PMP_GATEWAY_CLIENT_IDLE_SECONDS="1", AUTH_CONFIG_PATH=str(tokens))
    async with wire(gateway.port) as connection:
        await connection.send(LINE + b"Content-Length: 2\r\n\r\n")
        assert await refusal(connection) == (401, "invalid_api_key")
        await connection.send(b"{}")
        assert await connection.rest() == b""


async def test_who_waits_for_an_answer_is_not_idle(start_gateway: StartGateway, backend: Backend) -> None:
    release = asyncio.Event()

    async def wait(call: Call) -> None:
        await release.wait()
        await answer_ok(call)

    backend.handler = wait
    gateway = start_gateway(
        PMP_GATEWAY_CLIENT_IDLE_SECONDS="1",
        PMP_GATEWAY_HEAD_SECONDS="1",
        PMP_GATEWAY_BODY_STALL_SECONDS="1",
        PMP_GATEWAY_CLIENT_STALL_SECONDS="1",
    )
    async with wire(gateway.port) as waits, wire(gateway.port) as has_another_request:
        await waits.send(WHOLE)
        await has_another_request.send(WHOLE + WHOLE[:-1])
        for _ in range(2):
            async with wire(gateway.port) as idle:
                assert await idle.rest() == b""
        release.set()
        assert (await waits.answer())[0] == 200
        assert (await has_another_request.answer())[0] == 200
        await has_another_request.send(b"}")
        assert (await has_another_request.answer())[0] == 200


@pytest.mark.parametrize("content_type", ["text/event-stream", "application/octet-stream"])
async def test_a_reader_that_stalls_for_too_long_is_cut_off_and_the_engine_stops(
    start_gateway: StartGateway, backend: Backend, tmp_path: Path, content_type: str
) -> None:
    async def flood(call: Call) -> None:
        await call.start(content_type)
        while True:
            await call.chunk(b"data: " + b"x" * 65536 + b"\n\n")

    backend.handler = flood
    control = Control(tmp_path / "control.sock")
    gateway = start_gateway(PMP_GATEWAY_CLIENT_STALL_SECONDS="1", PMP_GATEWAY_CONTROL_SOCKET=str(control.socket_path))
    async with wire(gateway.port) as connection:
        connection.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await connection.send(WHOLE)
        call = await backend.next_call()
        async with asyncio.timeout(30):
            await call.gone.wait()
        await control.until(lambda status: status.in_flight == 0)
    async with wire(gateway.port) as connection:
        await connection.send(HEALTH)
        assert (await connection.answer())[0] == 200
    assert "Traceback" not in gateway.stderr


async def test_a_reader_that_is_slow_but_reads_gets_it_all(start_gateway: StartGateway, backend: Backend) -> None:
    total = 12 * 1024 * 1024

    async def flood(call: Call) -> None:
        await call.start("application/octet-stream")
        for _ in range(total // 65536):
            await call.chunk(b"x" * 65536)
        await call.finish()

    backend.handler = flood
    gateway = start_gateway(PMP_GATEWAY_CLIENT_STALL_SECONDS="1")
    async with wire(gateway.port) as connection:
        await connection.send(WHOLE)
        await connection.head()
        received, last = 0, b""
        # Three seconds and more for the whole.
        while not last.endswith(b"0\r\n\r\n"):
            async with asyncio.timeout(30):
                last = await connection.reader.read(512 * 1024)
            assert last
            received += last.count(b"x")
            await asyncio.sleep(0.04)
    assert received == total
