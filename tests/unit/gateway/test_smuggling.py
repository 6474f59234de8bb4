"""Requests and answers that try to mean two things: they are refused, or they mean what the gateway says they mean."""

import asyncio
import json
from pathlib import Path

import pytest

from tests.unit.gateway.conftest import StartGateway
from tests.unit.gateway.gateway_process import GatewayProcess
from tests.unit.gateway.refusals import last_refusal, refusal, settle
from tests.unit.gateway.stub import Backend, Call
from tests.unit.gateway.wire import wire

PATH = "/v1/chat/completions"
LINE = b"POST /v1/chat/completions HTTP/1.1\r\nHost: gateway\r\n"
CHUNKED = LINE + b"Transfer-Encoding: chunked\r\n\r\n"
SMUGGLED = b"POST /tokenize HTTP/1.1\r\nHost: gateway\r\nContent-Length: 2\r\n\r\n{}"
HEALTH = b"GET /health HTTP/1.1\r\nHost: gateway\r\n\r\n"

FRAMING = {
    "length and chunks": LINE + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks and length": LINE + b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n0\r\n\r\n",
    "two lengths": LINE + b"Content-Length: 2\r\nContent-Length: 40\r\n\r\n{}",
    "one length twice": LINE + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
    "a list of lengths": LINE + b"Content-Length: 2, 2\r\n\r\n{}",
    "a signed length": LINE + b"Content-Length: +2\r\n\r\n{}",
    "a negative length": LINE + b"Content-Length: -2\r\n\r\n{}",
    "a length in hex": LINE + b"Content-Length: 0x2\r\n\r\n{}",
    "a length with a gap": LINE + b"Content-Length: 2 0\r\n\r\n{}",
    "no length given": LINE + b"Content-Length:\r\n\r\n{}",
    "a length beyond all numbers": LINE + b"Content-Length: 99999999999999999999\r\n\r\n{}",
    "an unknown coding": LINE + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "identity": LINE + b"Transfer-Encoding: identity\r\n\r\n{}",
    "chunked is not last": LINE + b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "chunked twice": LINE + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "chunked in two headers": LINE + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked in one of two headers": LINE + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n",
    "a folded coding": LINE + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "an odd space before the coding": LINE + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "a space before the colon": LINE + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "no coding given": LINE + b"Transfer-Encoding:\r\n\r\n0\r\n\r\n",
}

CHUNKS = {
    "negative": b"-2\r\n{}\r\n",
    "signed": b"+2\r\n{}\r\n",
    "with a prefix": b"0x2\r\n{}\r\n",
    "with a space": b"2 \r\n{}\r\n",
    "missing": b"\r\n{}\r\n",
    "beyond all numbers": b"fffffffffffffffff\r\n{}\r\n",
    "no hex": b"zz\r\n{}\r\n",
    "ended by a line feed": b"2\n{}\r\n",
    "smaller than the chunk": b"2\r\n{}{}\r\n",
    "a bare return in the extension": b"2;a\rb\r\n{}\r\n",
}

HEADS = {
    "a bare line feed": b"POST /v1/chat/completions HTTP/1.1\nHost: gateway\nContent-Length: 2\n\n{}",
    "a header ended by a line feed": LINE + b"X-A: a\nX-B: b\r\nContent-Length: 2\r\n\r\n{}",
    "a return inside a value": LINE + b"X-A: a\rX-B: b\r\nContent-Length: 2\r\n\r\n{}",
    "a null inside a value": LINE + b"X-A: a\x00b\r\nContent-Length: 2\r\n\r\n{}",
    "a control character inside a value": LINE + b"X-A: a\x01b\r\nContent-Length: 2\r\n\r\n{}",
    "a null inside a name": LINE + b"X\x00A: a\r\nContent-Length: 2\r\n\r\n{}",
    "a space inside a name": LINE + b"X A: a\r\nContent-Length: 2\r\n\r\n{}",
    "a line feed inside a name": LINE + b"X\nA: a\r\nContent-Length: 2\r\n\r\n{}",
    "a name that is empty": LINE + b": a\r\nContent-Length: 2\r\n\r\n{}",
    "a line without a colon": LINE + b"Content-Length\r\n\r\n{}",
    "a folded value": LINE + b"X-A: a\r\n b\r\nContent-Length: 2\r\n\r\n{}",
    "a folded first header": b"POST /v1/score HTTP/1.1\r\n Host: gateway\r\nContent-Length: 2\r\n\r\n{}",
    "a null in the path": b"POST /v1/score\x00 HTTP/1.1\r\nHost: gateway\r\nContent-Length: 2\r\n\r\n{}",
    "a space in the path": b"POST /v1/score /x HTTP/1.1\r\nHost: gateway\r\nContent-Length: 2\r\n\r\n{}",
    "a line feed in the path": b"POST /v1/score\n HTTP/1.1\r\nHost: gateway\r\nContent-Length: 2\r\n\r\n{}",
    "a byte in the path that is no ASCII": b"POST /v1/sc\xc3\xb6re HTTP/1.1\r\nHost: gateway\r\n\r\n",
    "a fragment": b"POST /v1/score#x HTTP/1.1\r\nHost: gateway\r\nContent-Length: 2\r\n\r\n{}",
    "an address without a path": b"GET http://gateway HTTP/1.1\r\nHost: gateway\r\n\r\n",
    "an address with an impossible port": b"GET http://gateway:99999/health HTTP/1.1\r\nHost: gateway\r\n\r\n",
    "an address of another kind": b"GET gateway:80 HTTP/1.1\r\nHost: gateway\r\n\r\n",
    "no version": b"GET /health\r\n\r\n",
    "HTTP/0.9": b"GET /health HTTP/0.9\r\n\r\n",
    "HTTP/2 without a preface": b"GET /health HTTP/2.0\r\nHost: gateway\r\n\r\n",
    "HTTP/2's preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a version that there is not": b"GET /health HTTP/1.2\r\nHost: gateway\r\n\r\n",
    "another protocol's name": b"GET /health ICAP/1.1\r\nHost: gateway\r\n\r\n",
    "a tunnel": b"CONNECT 192.0.2.1:443 HTTP/1.1\r\nHost: 192.0.2.1:443\r\n\r\n",
    "a method that there is not": b"STEAL /health HTTP/1.1\r\nHost: gateway\r\n\r\n",
    "a method in lower case": b"get /health HTTP/1.1\r\nHost: gateway\r\n\r\n",
    "no method": b" /health HTTP/1.1\r\nHost: gateway\r\n\r\n",
    "a TLS handshake": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(32),
    "nulls": bytes(64),
}

MALFORMED = {**FRAMING, **{f"chunk size: {name}": CHUNKED + chunk for name, chunk in CHUNKS.items()}, **HEADS}


@pytest.mark.parametrize("request_bytes", MALFORMED.values(), ids=MALFORMED)
async def test_what_is_not_one_request_is_refused_with_all_that_follows(
    gateway: GatewayProcess, backend: Backend, request_bytes: bytes
) -> None:
    async with wire(gateway.port) as connection:
        await connection.send(request_bytes + SMUGGLED + HEALTH)
        assert await last_refusal(connection) == (400, "bad_request")
    assert not backend.calls


ACCEPTED = {
    "an address": b"POST http://elsewhere/v1/chat/completions HTTP/1.1\r\nHost: gateway\r\nContent-Length: 2\r\n\r\n{}",
    "line ends before it": b"\r\n\r\n" + LINE + b"Content-Length: 2\r\n\r\n{}",
    "spaces around the length": LINE + b"Content-Length:  2 \r\n\r\n{}",
    "a query": LINE.replace(b" HTTP", b"?a=/../sleep HTTP") + b"Content-Length: 2\r\n\r\n{}",
    "chunks with extensions": CHUNKED + b"1;a=b\r\n{\r\n1;c\r\n}\r\n0\r\n\r\n",
    "sizes with zeros": CHUNKED + b"0002\r\n{}\r\n000\r\n\r\n",
    "an odd expectation": LINE + b"Expect: miracles\r\nContent-Length: 2\r\n\r\n{}",
}


@pytest.mark.parametrize("request_bytes", ACCEPTED.values(), ids=ACCEPTED)
async def test_odd_requests_that_mean_one_thing_are_served_once_and_framed_anew(
    gateway: GatewayProcess, backend: Backend, request_bytes: bytes
) -> None:
    async with wire(gateway.port) as connection:
        await connection.send(request_bytes + HEALTH)
        assert await connection.answer() == (200, b'{"ok": true}')
        assert (await connection.answer())[0] == 200
    call = backend.call
    assert (call.method, call.target) == ("POST", PATH)
    assert set(call.json()) == {"model"}
    assert call.all_of("content-length") == [str(len(call.body))]
    assert call.all_of("host") == [f"127.0.0.1:{backend.port}"]
    assert not call.all_of("transfer-encoding")
    assert not call.all_of("expect")


async def test_the_server_as_a_whole_is_no_route(gateway: GatewayProcess, backend: Backend) -> None:
    async with wire(gateway.port) as connection:
        await connection.send(b"OPTIONS * HTTP/1.1\r\nHost: gateway\r\n\r\n")
        assert await refusal(connection) == (404, "not_found")
        await connection.send(HEALTH)
        assert (await connection.answer())[0] == 200


async def test_http_1_0_gets_its_answer_and_then_the_end(gateway: GatewayProcess, backend: Backend) -> None:
    async def stream(call: Call) -> None:
        await call.start()
        await call.chunk(b"data: 1\n\n")
        await call.chunk(b"data: 2\n\n")
        await call.finish()

    request = (
        b"POST /v1/chat/completions HTTP/1.0\r\nHost: gateway\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\n{}"
    )
    async with wire(gateway.port) as connection:
        await connection.send(request)
        assert (await connection.answer()) == (200, b'{"ok": true}')
        assert await connection.rest() == b""
    backend.handler = stream
    async with wire(gateway.port) as connection:
        await connection.send(request)
        _, headers = await connection.head()
        assert "transfer-encoding" not in dict(headers)
        assert await connection.rest() == b"data: 1\n\ndata: 2\n\n"


async def test_a_head_request_gets_no_body(gateway: GatewayProcess, backend: Backend) -> None:
    async with wire(gateway.port) as connection:
        for path in ("/health", PATH, "/nowhere"):
            await connection.send(f"HEAD {path} HTTP/1.1\r\nHost: gateway\r\n\r\n".encode())
            status, _ = await connection.head()
            assert status in (404, 405)
        await connection.send(HEALTH)
        assert (await connection.answer())[0] == 200
    assert not backend.calls


async def test_what_follows_a_body_never_counts_as_its_headers(
    start_gateway: StartGateway, backend: Backend, tmp_path: Path
) -> None:
    tokens = tmp_path / "auth.json"
    tokens.write_text('{"tokens": ["right"]}')
    gateway = start_gateway(AUTH_CONFIG_PATH=str(tokens))
    right = b"Authorization: Bearer right\r\n"
    with_trailer = CHUNKED + b"2\r\n{}\r\n0\r\n" + right + b"User-Agent: trailer\r\nX-Request-Id: trailer\r\n\r\n"
    models = with_trailer.replace(b"POST /v1/chat/completions", b"GET /v1/models")
    for before in (b"", HEALTH):
        # Behind another request it is looked at only after all of it came.
        for request in (with_trailer, models):
            async with wire(gateway.port) as connection:
                await connection.send(before + request)
                if before:
                    assert (await connection.answer())[0] == 200
                assert await refusal(connection) == (401, "invalid_api_key")
    async with wire(gateway.port) as connection:
        await connection.send(with_trailer.replace(b"Host: gateway\r\n", b"Host: gateway\r\n" + right))
        _, headers = await connection.head()
    assert dict(headers)["x-request-id"] != "trailer"
    assert not backend.call.all_of("user-agent")


async def test_trailers_without_end_are_cut_off(gateway: GatewayProcess, backend: Backend) -> None:
    async with wire(gateway.port) as connection:
        await connection.send(CHUNKED + b"2\r\n{}\r\n0\r\n")
        await settle(gateway)
        for _ in range(3):
            await connection.send(b"".join(b"X-%d: %s\r\n" % (number, b"x" * 1000) for number in range(30)))
        assert await last_refusal(connection) == (431, "headers_too_large")
    async with wire(gateway.port) as connection:
        await connection.send(CHUNKED + b"2\r\n{}\r\n0\r\nX: ")
        await settle(gateway)
        await connection.send(b"x" * 100_000)
        assert await last_refusal(connection) == (431, "headers_too_large")
    async with wire(gateway.port) as connection:
        await connection.send(CHUNKED + b"2;x=")
        await settle(gateway)
        await connection.send(b"x" * 100_000)
        assert await last_refusal(connection) == (431, "headers_too_large")
    assert not backend.calls


async def test_a_body_in_the_smallest_chunks_is_no_attack(gateway: GatewayProcess, backend: Backend) -> None:
    body = json.dumps({"messages": "x" * 30_000}).encode()
    async with wire(gateway.port) as connection:
        await connection.send(CHUNKED)
        await settle(gateway)
        await connection.send(b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n")
        assert (await connection.answer())[0] == 200
    assert backend.call.json()["messages"] == "x" * 30_000


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_request_may_be_split_anywhere(gateway: GatewayProcess, backend: Backend, chunked: bool) -> None:
    body = b'{"messages":"abc"}'
    framed = b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    if chunked:
        framed = b"Transfer-Encoding: chunked\r\n\r\n7\r\n%b\r\nb;x\r\n%b\r\n0\r\nT: x\r\n\r\n" % (body[:7], body[7:])
    whole = LINE + b"X-Request-Id: split\r\n" + framed

    async def answer(cut: int, first_is_there: asyncio.Barrier, settled: asyncio.Event) -> None:
        async with wire(gateway.port) as connection:
            await connection.send(whole[:cut])
            await first_is_there.wait()
            await settled.wait()
            await connection.send(whole[cut:])
            assert await connection.answer() == (200, b'{"ok": true}')

    first_is_there, settled = asyncio.Barrier(len(whole)), asyncio.Event()
    async with asyncio.TaskGroup() as requests:
        for cut in range(1, len(whole)):
            requests.create_task(answer(cut, first_is_there, settled))
        await first_is_there.wait()
        await settle(gateway)
        settled.set()
    assert len(backend.calls) == len(whole) - 1
    assert {call.json()["messages"] for call in backend.calls} == {"abc"}
