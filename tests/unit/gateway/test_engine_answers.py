"""Engines that answer oddly, or with no HTTP at all: what reaches clients is sound, or a failure like others."""

import pytest

from tests.unit.gateway.gateway_process import GatewayProcess
from tests.unit.gateway.refusals import refusal
from tests.unit.gateway.stub import Backend, Call, answer_ok
from tests.unit.gateway.wire import wire

PATH = "/v1/chat/completions"
HEALTH = b"GET /health HTTP/1.1\r\nHost: gateway\r\n\r\n"
HTTP = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
GARBAGE = {
    "line ends": b"\r\n\r\n\r\n",
    "another protocol": b"SSH-2.0-OpenSSH_9.6\r\n",
    "half a head": b"HTTP/1.1 200 OK\r\nContent-Le",
    "a head without end": b"HTTP/1.1 200 OK\r\n" + b"X-A: %b\r\n" % (b"x" * 1000) * 100,
    "a header without end": b"HTTP/1.1 200 OK\r\nX-A: " + b"x" * 100_000,
    "word after word": b"HTTP/1.1 100 Continue\r\n\r\n" * 5000,
    "a status that is no number": b"HTTP/1.1 two OK\r\nContent-Length: 0\r\n\r\n",
    "status 0": b"HTTP/1.1 000 X\r\nContent-Length: 0\r\n\r\n",
    "status 99": b"HTTP/1.1 099 X\r\nContent-Length: 0\r\n\r\n",
    "status 600": b"HTTP/1.1 600 X\r\nContent-Length: 0\r\n\r\n",
    "status 999": b"HTTP/1.1 999 X\r\nContent-Length: 0\r\n\r\n",
    "another protocol from here on": b"HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nabc",
    "a redirect": b"HTTP/1.1 302 X\r\nLocation: http://192.0.2.1/\r\nContent-Length: 0\r\n\r\n",
    "length and chunks": HTTP + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": HTTP + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    "a negative length": HTTP + b"Content-Length: -1\r\n\r\n{}",
    "an unknown coding": HTTP + b"Transfer-Encoding: gzip\r\n\r\n{}",
    "a chunk size that is none": HTTP + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
    "a chunk that is larger than it says": HTTP + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{}\r\n0\r\n\r\n",
    "chunks that break off": HTTP + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n",
    "a body that breaks off": HTTP + b"Content-Length: 3\r\n\r\n{}",
    "a second answer": HTTP + b"Content-Length: 2\r\n\r\n{}" + HTTP + b"Content-Length: 2\r\n\r\n[]",
    "a header split by a line feed": HTTP + b"X-A: a\nSet-Cookie: evil=1\r\nContent-Length: 2\r\n\r\n{}",
    "a header split by a return": HTTP + b"X-A: a\rSet-Cookie: evil=1\r\nContent-Length: 2\r\n\r\n{}",
    "a folded header": HTTP + b"X-A: a\r\n Set-Cookie: evil=1\r\nContent-Length: 2\r\n\r\n{}",
    "a null in a header": HTTP + b"X-A: a\x00evil\r\nContent-Length: 2\r\n\r\n{}",
}


@pytest.mark.parametrize("answer", GARBAGE.values(), ids=GARBAGE)
async def test_an_engine_that_answers_with_garbage_is_a_failure_like_others(
    gateway: GatewayProcess, backend: Backend, answer: bytes
) -> None:
    async def respond(call: Call) -> None:
        await call.raw(answer)

    backend.handler = respond
    async with wire(gateway.port) as connection:
        await connection.post(PATH, b"{}")
        assert await refusal(connection) == (502, "backend_broken")
        backend.handler = answer_ok
        await connection.post(PATH, b"{}")
        assert (await connection.answer()) == (200, b'{"ok": true}')
    assert len(backend.calls) == 2


GOOD = {
    "words before it": b"HTTP/1.1 103 X\r\nLink: x\r\n\r\nHTTP/1.1 100 X\r\n\r\n"
    + HTTP
    + b"Content-Length: 2\r\n\r\n{}",
    "until the end": HTTP + b"\r\n{}",
    "HTTP/1.0": HTTP.replace(b"/1.1", b"/1.0") + b"\r\n{}",
    "no reason": HTTP.replace(b" OK", b"") + b"Content-Length: 2\r\n\r\n{}",
    "trailers": HTTP + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nSet-Cookie: a\r\nX-Late: evil\r\n\r\n",
    "an offer": HTTP + b"Connection: upgrade\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\n{}",
}


@pytest.mark.parametrize("answer", GOOD.values(), ids=GOOD)
async def test_odd_answers_that_mean_one_thing_pass_framed_anew(
    gateway: GatewayProcess, backend: Backend, answer: bytes
) -> None:
    async def respond(call: Call) -> None:
        await call.raw(answer)

    backend.handler = respond
    async with wire(gateway.port) as connection:
        await connection.post(PATH, b"{}")
        status, headers = await connection.head()
        fields = dict(headers)
        assert (status, fields.pop("content-length"), await connection.exactly(2)) == (200, "2", b"{}")
        assert set(fields) == {"date", "content-type", "x-request-id"}


@pytest.mark.parametrize("length", [b"", b"Content-Length: 5\r\n"])
async def test_an_answer_without_a_body_passes_as_one(gateway: GatewayProcess, backend: Backend, length: bytes) -> None:
    async def respond(call: Call) -> None:
        await call.raw(b"HTTP/1.1 204 X\r\n" + length + b"\r\n")

    backend.handler = respond
    async with wire(gateway.port) as connection:
        await connection.post(PATH, b"{}")
        status, headers = await connection.head()
        assert (status, set(dict(headers))) == (204, {"date", "x-request-id"})
        await connection.send(HEALTH)
        assert (await connection.answer())[0] == 200
