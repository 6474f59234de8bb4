"""What a stopped engine broke off, it calls a good answer: no client may see one, and no good one is taken for it."""

import asyncio
import json

import pytest

from tests.unit.gateway.gateway_process import GatewayProcess
from tests.unit.gateway.refusals import refusal, settle
from tests.unit.gateway.stub import Backend, Call, Handler, answer_ok
from tests.unit.gateway.wire import Wire, wire

CHAT = "/v1/chat/completions"
MESSAGES = "/v1/messages"
RESPONSES = "/v1/responses"
EMBEDDINGS = "/v1/embeddings"
STREAM = b'{"stream":true}'
MARK = b'"finish_reason":"abort"'
CHAT_CUT_OFF = b'{"id":"c1","choices":[{"index":0,"message":{"content":""},"finish_reason":"abort"}],"usage":null}'
MESSAGE_CUT_OFF = b'{"id":"m1","type":"message","role":"assistant","content":[],"model":"m","usage":{"input_tokens":3}}'
RESPONSE_WITHOUT_TOKENS = (
    b'{"object":"response","output":[],"service_tier":"auto","status":"completed",'
    b'"usage":{"input_tokens":3,"output_tokens":0,"total_tokens":3}}'
)
RESPONSE_CANCELLED = RESPONSE_WITHOUT_TOKENS.replace(b"completed", b"cancelled").replace(b":0", b":7")
GOOD_EVENT = b'data: {"choices":[{"delta":{"content":"a"},"finish_reason":null}]}\n\n'
CUT_OFF_EVENT = b'data: {"choices":[{"delta":{},"finish_reason":"abort"}]}\n\n'


def sends(*parts: bytes, content_type: str = "text/event-stream") -> Handler:
    async def handler(call: Call) -> None:
        await call.start(content_type)
        for part in parts:
            await call.chunk(part)
        await call.finish()

    return handler


def responds(body: bytes, status: int = 200) -> Handler:
    async def handler(call: Call) -> None:
        framing = b"content-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body)
        await call.raw(b"HTTP/1.1 %d X\r\n" % status + framing + body)

    return handler


async def stream(connection: Wire, path: str = CHAT) -> bytes:
    """The events of an answer that ends."""
    await connection.post(path, STREAM)
    status, headers = await connection.head()
    assert (status, dict(headers)["transfer-encoding"]) == (200, "chunked")
    events = b""
    while size := int(await connection.until(b"\r\n"), 16):
        events += await connection.exactly(size)
        assert await connection.exactly(2) == b"\r\n"
    assert await connection.exactly(2) == b"\r\n"
    return events


def error_code(events: bytes) -> str:
    """The code of the error that the events end with."""
    *_, last, nothing = events.split(b"\n\n")
    assert nothing == b""
    code: str = json.loads(last.rpartition(b"data: ")[2])["error"]["code"]
    return code


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (CHAT, CHAT_CUT_OFF),
        (CHAT, CHAT_CUT_OFF.replace(b'":', b'": ')),
        ("/v1/completions", b'{"choices":[{"finish_reason":"stop"},{"text":"","finish_reason":"abort"}]}'),
        (MESSAGES, MESSAGE_CUT_OFF),
        (MESSAGES, MESSAGE_CUT_OFF.replace(b'"model"', b'"stop_reason":null,"model"')),
        (RESPONSES, RESPONSE_WITHOUT_TOKENS),
        (RESPONSES, RESPONSE_CANCELLED),
        (RESPONSES, RESPONSE_CANCELLED.replace(b'":', b'": ')),
        (EMBEDDINGS, b'{"object":"list","data":[{"index":0,"embedding":[0.5]},{"index":1,"embedding":[]}]}'),
        (EMBEDDINGS, b'{"object":"list","data":[{"index":0,"embedding":""}]}'),
    ],
)
async def test_a_plain_answer_that_was_cut_off_is_an_error(
    gateway: GatewayProcess, backend: Backend, path: str, body: bytes
) -> None:
    backend.handler = responds(body)
    async with wire(gateway.port) as connection:
        await connection.post(path, b"{}")
        assert await refusal(connection, path) == (503, "backend_stopping")
        backend.handler = answer_ok
        await connection.post(path, b"{}")
        assert (await connection.answer())[0] == 200


@pytest.mark.parametrize("content_type", ["application/json", "text/event-stream"])
async def test_the_mark_is_found_however_it_is_split(
    gateway: GatewayProcess, backend: Backend, content_type: str
) -> None:
    """Larger than what is kept until it is whole."""
    event = CUT_OFF_EVENT if content_type == "text/event-stream" else CHAT_CUT_OFF
    before = GOOD_EVENT if content_type == "text/event-stream" else b" " * 1_100_000
    begin = event.index(MARK)
    cuts = range(begin - 1, begin + len(MARK) + 2)
    first_is_there, settled = asyncio.Barrier(len(cuts) + 1), asyncio.Event()

    async def answer(call: Call) -> None:
        cut = call.json()["seed"]
        await call.start(content_type)
        await call.chunk(before + event[:cut])
        await first_is_there.wait()
        await settled.wait()
        await call.chunk(event[cut:])
        await call.finish()

    async def ask(cut: int) -> bytes:
        async with wire(gateway.port) as connection:
            await connection.post(CHAT, b'{"seed":%d}' % cut)
            return await connection.rest() if content_type == "application/json" else await until_error(connection)

    async def until_error(connection: Wire) -> bytes:
        return await connection.until(b"0\r\n\r\n")

    backend.handler = answer
    asking = [asyncio.create_task(ask(cut)) for cut in cuts]
    await first_is_there.wait()
    await settle(gateway)
    settled.set()
    for received in await asyncio.gather(*asking):
        assert b'"abort"' not in received
        if content_type == "application/json":
            assert not received.endswith(b"0\r\n\r\n")
        else:
            assert received.count(GOOD_EVENT) == 1
            assert b'"backend_stopping"' in received


STREAMS = {
    "an event of its own": (CHAT, [GOOD_EVENT, CUT_OFF_EVENT, b"data: [DONE]\n\n"]),
    "several events at once": (CHAT, [GOOD_EVENT, GOOD_EVENT + b": \n\n" + CUT_OFF_EVENT + b"data: [DONE]\n\n"]),
    "lines that end with a return": (
        CHAT,
        [GOOD_EVENT, CUT_OFF_EVENT.replace(b"\n", b"\r\n"), b"data: [DONE]\r\n\r\n"],
    ),
    "an event without an end": (CHAT, [GOOD_EVENT, CUT_OFF_EVENT[:-1]]),
    "Anthropic's form": (
        MESSAGES,
        [
            b'event: message_start\ndata: {"type":"message_start","message":{"stop_reason":null}}\n\n',
            b'event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":null,"usage":{}}}\n\n',
            b'event: message_stop\ndata: {"type":"message_stop"}\n\n',
        ],
    ),
    "a response": (
        RESPONSES,
        [
            b'event: response.created\ndata: {"response":{"status":"in_progress","usage":null}}\n\n',
            b'event: response.completed\ndata: {"response":%b}\n\n' % RESPONSE_WITHOUT_TOKENS,
        ],
    ),
}


@pytest.mark.parametrize(("path", "parts"), STREAMS.values(), ids=STREAMS)
async def test_a_stream_that_was_cut_off_ends_with_an_error(
    gateway: GatewayProcess, backend: Backend, path: str, parts: list[bytes]
) -> None:
    backend.handler = sends(*parts)
    async with wire(gateway.port) as connection:
        events = await stream(connection, path)
        assert events.startswith(parts[0])
        assert error_code(events) == "backend_stopping"
        assert events.count(GOOD_EVENT) == b"".join(parts).count(GOOD_EVENT)
        assert b'"abort"' not in events
        assert b"message_delta" not in events
        assert b"DONE" not in events
        assert b"message_stop" not in events
        assert b"response.completed" not in events
        backend.handler = answer_ok
        await connection.post(path, b"{}")
        assert (await connection.answer())[0] == 200


WORDS = '{"finish_reason":"abort"} "finish_reason": "abort" "message_delta","delta":{"stop_reason":null'
TEXT = json.dumps(WORDS).encode()
GOOD_ANSWERS = {
    "text that holds the words": (
        CHAT,
        b'{"choices":[{"message":{"content":%b},"finish_reason":"stop"}]}' % TEXT,
    ),
    "a stop string of the client": (CHAT, b'{"choices":[{"text":"","finish_reason":"stop","stop_reason":"abort"}]}'),
    "another reason": (CHAT, b'{"choices":[{"finish_reason":"aborted"}],"abort":1}'),
    "a message": (MESSAGES, b'{"type":"message","content":[{"text":%b}],"stop_reason":"end_turn"}' % TEXT),
    "an error": (MESSAGES, b'{"type":"error","error":{"type":"api_error","message":"x"}}'),
    "a response": (
        RESPONSES,
        b'{"metadata":{"status":"cancelled"},"output":[{"text":%b}],"status":"completed","usage":{"output_tokens":10}}'
        % json.dumps(RESPONSE_WITHOUT_TOKENS.decode()).encode(),
    ),
    "an embedding": (EMBEDDINGS, b'{"data":[{"index":0,"embedding":[0.5]}]}'),
    "a count": ("/v1/messages/count_tokens", b'{"input_tokens":3}'),
}


@pytest.mark.parametrize(("path", "body"), GOOD_ANSWERS.values(), ids=GOOD_ANSWERS)
async def test_good_answers_pass_as_they_are(gateway: GatewayProcess, backend: Backend, path: str, body: bytes) -> None:
    backend.handler = responds(body)
    async with wire(gateway.port) as connection:
        await connection.post(path, b"{}")
        assert await connection.answer() == (200, body)
        backend.handler = sends(b"data: " + body + b"\n\n", b"data: [DONE]\n\n")
        assert await stream(connection, path) == b"data: " + body + b"\n\ndata: [DONE]\n\n"


async def test_an_error_of_the_engine_passes_whatever_it_says(gateway: GatewayProcess, backend: Backend) -> None:
    backend.handler = responds(CHAT_CUT_OFF, status=400)
    async with wire(gateway.port) as connection:
        await connection.post(CHAT, b"{}")
        assert await connection.answer() == (400, CHAT_CUT_OFF)


async def test_events_pass_at_once_whatever_their_lines_end_with_and_parts_when_they_are_whole(
    gateway: GatewayProcess, backend: Backend
) -> None:
    seen = asyncio.Semaphore(0)
    parts = [b"data: 1\r\n\r\n", b"data: 2\n\n", b": comment\n\ndata: 3", b"\n", b"\ndata: 4", b"\n\n", b"data: 5\n"]
    expected = [b"data: 1\r\n\r\n", b"data: 2\n\n", b": comment\n\n", b"", b"data: 3\n\n", b"data: 4\n\n", b""]

    async def trickle(call: Call) -> None:
        await call.start()
        for part in parts:
            await call.chunk(part)
            async with asyncio.timeout(30):
                await seen.acquire()
        await call.finish()

    backend.handler = trickle
    async with wire(gateway.port) as connection:
        await connection.post(CHAT, STREAM)
        await connection.head()
        for arrives in expected:
            if arrives:
                assert await connection.exactly(len(arrives) + 5) == b"%x\r\n%b\r\n" % (len(arrives), arrives)
            seen.release()
        # What never became an event is the engine's to answer for.
        assert await connection.until(b"0\r\n\r\n") == b"8\r\ndata: 5\n\r\n0\r\n\r\n"
