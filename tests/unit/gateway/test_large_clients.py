"""Clients that send or take more than they may: the gateway's memory stays its own."""

import asyncio
import json
import resource
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.unit.gateway.conftest import StartGateway
from tests.unit.gateway.gateway_process import GatewayProcess
from tests.unit.gateway.refusals import last_refusal, refusal
from tests.unit.gateway.stub import Backend, Call, answer_ok
from tests.unit.gateway.wire import Wire, wire

PATH = "/v1/chat/completions"
LINE = b"POST /v1/chat/completions HTTP/1.1\r\nHost: gateway\r\n"
WHOLE = LINE + b"Content-Length: 2\r\n\r\n{}"
HEALTH = b"GET /health HTTP/1.1\r\nHost: gateway\r\n\r\n"
MIB = 1024 * 1024


def rss_bytes(gateway: GatewayProcess) -> int:
    bytes_now: int = psutil.Process(gateway.process.pid).memory_info().rss
    return bytes_now


async def send_until_refused(connection: Wire, part: bytes, most_bytes: int) -> None:
    """Sends a part again and again; the gateway may close its ear at any time."""
    with suppress(ConnectionError):
        for _ in range(most_bytes // len(part)):
            if connection.reader.at_eof():
                return
            await connection.send(part)


HEADS = {
    "one header": (b"GET /health HTTP/1.1\r\nX-A: " + b"x" * 70_000 + b"\r\nHost: gateway\r\n\r\n", b""),
    "all headers together": (
        b"GET /health HTTP/1.1\r\n" + b"X-A: %b\r\n" % (b"x" * 1000) * 70 + b"Host: gateway\r\n\r\n",
        b"",
    ),
    "the path": (b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\nHost: gateway\r\n\r\n", b""),
    "too many": (b"GET /health HTTP/1.1\r\n" + b"X-A: b\r\n" * 129 + b"\r\n", b""),
    "a header without end": (b"GET /health HTTP/1.1\r\nX-A: ", b"x" * 1000),
    "headers without end": (b"GET /health HTTP/1.1\r\n", b"X-A: b\r\n" * 10),
    "a path without end": (b"GET /", b"x" * 1000),
    "an offer without end": (LINE + b"Connection: upgrade\r\nUpgrade: h2c\r\n", b"X-A: %b\r\n" % (b"x" * 1000)),
}


@pytest.mark.parametrize(("begin", "more"), HEADS.values(), ids=HEADS)
async def test_a_head_over_the_cap_is_refused(
    gateway: GatewayProcess, backend: Backend, begin: bytes, more: bytes
) -> None:
    async with wire(gateway.port) as connection:
        await connection.send(begin)
        if more:
            await send_until_refused(connection, more, most_bytes=200_000)
        assert await last_refusal(connection) == (431, "headers_too_large")
    assert not backend.calls


async def test_a_head_below_the_cap_is_none_of_these(gateway: GatewayProcess, backend: Backend) -> None:
    head = b"GET /health HTTP/1.1\r\nHost: gateway\r\n" + b"X-A: %b\r\n" % (b"x" * 500) * 120 + b"\r\n"
    async with wire(gateway.port) as connection:
        # Two of them together are beyond it.
        await connection.send(head + head)
        for _ in range(2):
            assert (await connection.answer())[0] == 200


async def test_a_body_over_the_cap_is_refused_while_it_comes(start_gateway: StartGateway, backend: Backend) -> None:
    gateway = start_gateway(PMP_GATEWAY_MAX_BODY_BYTES="100000")
    async with wire(gateway.port) as connection:
        await connection.send(LINE + b"Transfer-Encoding: chunked\r\n\r\n")
        await send_until_refused(connection, b"1000\r\n" + b" " * 4096 + b"\r\n", most_bytes=10 * MIB)
        assert await last_refusal(connection) == (413, "body_too_large")
    async with wire(gateway.port) as connection:
        await connection.send(LINE + b"Content-Length: 100001\r\n\r\n")
        assert await last_refusal(connection) == (413, "body_too_large")
    async with wire(gateway.port) as connection:
        # Behind another request, where it is not yet looked at when it comes.
        await connection.send(HEALTH + LINE + b"Transfer-Encoding: chunked\r\n\r\n186a1\r\n" + b" " * 100_001)
        assert (await connection.answer())[0] == 200
        assert await last_refusal(connection) == (413, "body_too_large")
    assert not backend.calls


async def test_large_bodies_take_only_so_much_together_and_keep_no_small_ones_out(
    start_gateway: StartGateway, backend: Backend
) -> None:
    gateway = start_gateway(PMP_GATEWAY_MAX_UPLOADS_BYTES=str(3 * MIB))
    large = LINE + b"Content-Length: %d\r\n\r\n{%b}" % (2 * MIB + 2, b" " * 2 * MIB)
    is_asked, may_answer = asyncio.Event(), asyncio.Event()

    async def answer_later(call: Call) -> None:
        is_asked.set()
        await may_answer.wait()
        await answer_ok(call)

    async with wire(gateway.port) as connection:
        await connection.send(LINE + b"Transfer-Encoding: chunked\r\n\r\n")
        await send_until_refused(connection, b"1000\r\n" + b" " * 4096 + b"\r\n", most_bytes=10 * MIB)
        assert await last_refusal(connection) == (503, "uploads_full")
    backend.handler = answer_later
    async with wire(gateway.port) as first, wire(gateway.port) as second:
        await first.send(large)
        await asyncio.wait_for(is_asked.wait(), 30)
        await second.send(large)
        assert await refusal(second) == (503, "uploads_full")
        is_asked.clear()
        await second.send(WHOLE)
        await asyncio.wait_for(is_asked.wait(), 30)
        may_answer.set()
        assert (await second.answer())[0] == 200
        assert (await first.answer())[0] == 200
        is_asked.clear()
        may_answer.clear()
        await second.send(large)
        await asyncio.wait_for(is_asked.wait(), 30)
        await second.leave()
        may_answer.set()
        async with asyncio.timeout(30):
            await first.send(large)
            while (await first.answer())[0] != 200:
                await first.send(large)


async def test_who_sends_a_large_body_that_is_refused_sees_why(start_gateway: StartGateway, backend: Backend) -> None:
    gateway = start_gateway(PMP_GATEWAY_MAX_BODY_BYTES="100000")
    before = rss_bytes(gateway)
    async with wire(gateway.port) as connection:
        await connection.send(LINE + b"Content-Length: %d\r\n\r\n" % (40 * MIB))
        for _ in range(40):
            await connection.send(b" " * MIB)
        assert await last_refusal(connection) == (413, "body_too_large")
    assert rss_bytes(gateway) - before < 5 * MIB


async def test_who_asks_before_sending_is_told_to_continue_or_why_not(
    start_gateway: StartGateway, backend: Backend, tmp_path: Path
) -> None:
    tokens = tmp_path / "auth.json"
    tokens.write_text('{"tokens": ["right"]}')
    gateway = start_gateway(PMP_GATEWAY_MAX_BODY_BYTES="100000", AUTH_CONFIG_PATH=str(tokens))
    asks = LINE + b"Expect: 100-continue\r\n"
    right = b"Authorization: Bearer right\r\n"
    async with wire(gateway.port) as connection:
        for _ in range(2):
            await connection.send(asks + right + b"Content-Length: 2\r\n\r\n")
            assert await connection.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            await connection.send(b"{}")
            assert await connection.answer() == (200, b'{"ok": true}')
    refused = {
        asks + right + b"Content-Length: 100001\r\n\r\n": (413, "body_too_large"),
        asks + b"Content-Length: 2\r\n\r\n": (401, "invalid_api_key"),
        asks.replace(b"/v1/chat/completions", b"/nowhere") + b"Content-Length: 2\r\n\r\n": (404, "not_found"),
    }
    for request, answer in refused.items():
        async with wire(gateway.port) as connection:
            # Whether the body comes is open then, so nothing more is read as a request.
            await connection.send(request)
            assert await refusal(connection) == answer
            with suppress(ConnectionError):
                await connection.send(WHOLE)
                assert await connection.rest() == b""
    assert len(backend.calls) == 2


@pytest.mark.parametrize("whole_head", [b"", WHOLE[:-2]])
async def test_connections_over_the_cap_are_refused_and_the_others_work_on(
    start_gateway: StartGateway, backend: Backend, whole_head: bytes
) -> None:
    gateway = start_gateway(PMP_GATEWAY_MAX_CONNECTIONS="4")
    async with AsyncExitStack() as stack:
        served = [await stack.enter_async_context(wire(gateway.port)) for _ in range(4)]
        for connection in served:
            await connection.send(HEALTH)
            assert (await connection.answer())[0] == 200
        for _ in range(4):
            refused = await stack.enter_async_context(wire(gateway.port))
            if whole_head:
                await refused.send(whole_head)
            assert await last_refusal(refused) == (503, "too_many_connections")
        # Not even those that were refused may be any number.
        dropped = await stack.enter_async_context(wire(gateway.port))
        with suppress(ConnectionError):
            assert await dropped.rest() == b""
        for connection in served:
            await connection.send(HEALTH)
            assert (await connection.answer())[0] == 200
            await connection.leave()
    assert await eventually_served(gateway)


async def test_one_address_cannot_take_all_connections(start_gateway: StartGateway, backend: Backend) -> None:
    gateway = start_gateway(PMP_GATEWAY_MAX_CONNECTIONS_PER_ADDRESS="2", PMP_GATEWAY_HOST="0.0.0.0")
    async with wire(gateway.port) as first, wire(gateway.port) as second, wire(gateway.port) as third:
        for connection in (first, second):
            await connection.send(HEALTH)
            assert (await connection.answer())[0] == 200
        assert await last_refusal(third) == (503, "too_many_connections")
        async with wire(gateway.port, source="127.0.0.2") as elsewhere:
            await elsewhere.send(HEALTH)
            assert (await elsewhere.answer())[0] == 200
    assert await eventually_served(gateway)


async def eventually_served(gateway: GatewayProcess) -> bool:
    """Once the gateway has noticed that connections are gone."""
    async with asyncio.timeout(30):
        while True:
            async with wire(gateway.port) as connection:
                with suppress(ConnectionError):
                    await connection.send(HEALTH)
                if (await connection.head())[0] == 200:
                    return True


async def until_it_stalls(count: Callable[[], int]) -> int:
    """The count that is not exceeded for half a second."""
    async with asyncio.timeout(30):
        last = -1
        while last != count():
            last = count()
            await asyncio.sleep(0.5)
    return last


ANSWERS: dict[str, tuple[str, dict[str, Any]]] = {
    "a stream": ("text/event-stream", {}),
    "chunks": ("application/octet-stream", {}),
    "chunked JSON": ("application/json", {}),
    "JSON": ("application/json", {"length": 70 * MIB}),
}


@pytest.mark.parametrize(("content_type", "framing"), ANSWERS.values(), ids=ANSWERS)
async def test_a_reader_that_stalls_costs_next_to_nothing(
    start_gateway: StartGateway, backend: Backend, content_type: str, framing: dict[str, int]
) -> None:
    part = b"data: " + b"x" * (64 * 1024 - 8) + b"\n\n"
    sent = 0

    async def flood(call: Call) -> None:
        nonlocal sent
        length = framing.get("length")
        if length:
            await call.raw(
                b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\ncontent-length: %d\r\n\r\n" % (content_type.encode(), length)
            )
        else:
            await call.start(content_type)
        for _ in range(70 * MIB // len(part)):
            await (call.raw(part) if length else call.chunk(part))
            sent += 1
        if not length:
            await call.finish()

    backend.handler = flood
    gateway = start_gateway()
    async with wire(gateway.port) as warm:
        await warm.send(HEALTH)
        assert (await warm.answer())[0] == 200
    before = rss_bytes(gateway)
    async with wire(gateway.port) as connection:
        connection.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await connection.send(WHOLE)
        await backend.next_call()
        stalled_at = await until_it_stalls(lambda: sent)
        assert stalled_at * len(part) < 70 * MIB
        assert rss_bytes(gateway) - before <= 5 * MIB
        connection.writer.transport.resume_reading()  # type: ignore[attr-defined]
        async with asyncio.timeout(60):
            while sent * len(part) < 70 * MIB:
                assert await connection.reader.read(MIB)
    assert rss_bytes(gateway) - before <= 16 * MIB


async def test_answers_to_a_client_that_reads_none_are_not_even_asked_for(
    start_gateway: StartGateway, backend: Backend
) -> None:
    answer = {"text": "x" * 300_000}
    backend.handler = lambda call: call.respond(200, answer)
    gateway = start_gateway()
    before = rss_bytes(gateway)
    async with wire(gateway.port, receive_buffer_bytes=4096) as connection:
        connection.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await connection.send(WHOLE * 60)
        assert await until_it_stalls(lambda: len(backend.calls)) < 30
        assert rss_bytes(gateway) - before <= 5 * MIB
        connection.writer.transport.resume_reading()  # type: ignore[attr-defined]
        for _ in range(60):
            assert (await connection.answer())[0] == 200


@pytest.mark.parametrize("path", [b"/v1/score", b"/nowhere"])
async def test_refusals_to_a_client_that_reads_none_do_not_pile_up(
    start_gateway: StartGateway, backend: Backend, path: bytes
) -> None:
    gateway = start_gateway()
    before = rss_bytes(gateway)
    request = b"POST " + path + b" HTTP/1.1\r\nHost: gateway\r\nX-Request-Id: " + b"x" * 128 + b"\r\n\r\n"
    async with wire(gateway.port, receive_buffer_bytes=4096) as connection:
        connection.writer.transport.pause_reading()  # type: ignore[attr-defined]
        with suppress(ConnectionError):
            for _ in range(1200):
                await connection.send(request * 20)
                await asyncio.sleep(0.001)
        # What the kernel takes, and no more.
        assert await until_it_stalls(lambda: gateway.stdout_path.read_bytes().count(b"\n")) < 16_000
        assert rss_bytes(gateway) - before <= 5 * MIB


@pytest.fixture
def few_descriptors() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(256, soft), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_the_gateway_takes_all_the_descriptors_that_it_may(
    few_descriptors: None, start_gateway: StartGateway, backend: Backend
) -> None:
    gateway = start_gateway()
    soft, hard = psutil.Process(gateway.process.pid).rlimit(psutil.RLIMIT_NOFILE)
    assert soft == hard


@pytest.mark.slow
async def test_a_thousand_idle_streams_fit_into_twenty_megabytes(start_gateway: StartGateway, backend: Backend) -> None:
    async def stream(call: Call) -> None:
        await call.start()
        await call.chunk(b"data: 1\n\n")
        await asyncio.Event().wait()

    backend.handler = stream
    gateway = start_gateway()
    body = json.dumps({"stream": True, "messages": [{"role": "user", "content": "x" * 1000}]}).encode()

    async with AsyncExitStack() as stack:

        async def open_stream() -> None:
            connection = await stack.enter_async_context(wire(gateway.port))
            await connection.post(PATH, body)
            await connection.until(b"data: 1\n\n")

        for _ in range(20):
            await open_stream()
        before = rss_bytes(gateway)
        for _ in range(10):
            await asyncio.gather(*(open_stream() for _ in range(100)))
        assert rss_bytes(gateway) - before <= 20 * MIB
