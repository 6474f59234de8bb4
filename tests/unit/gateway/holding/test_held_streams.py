"""What a client sees of a hold that asked for a stream, and what one does not see that did not."""

import json

import pytest

from pmp_gateway.control_schema import Reason
from pmp_gateway.phases import SENTENCES
from tests.unit.gateway.control import Control
from tests.unit.gateway.holding.acts import PATH, STREAM, StartHere, hold
from tests.unit.gateway.stub import Backend, Call
from tests.unit.gateway.wire import wire


async def test_a_stream_that_waits_is_kept_alive_by_comments_and_then_goes_on(
    start: StartHere, backend: Backend, control: Control
) -> None:
    async def stream(call: Call) -> None:
        await call.start()
        await call.chunk(b'data: {"n":1}\n\n')
        await call.finish()

    backend.handler = stream
    gateway = start(PMP_GATEWAY_KEEP_ALIVE_SECONDS="1")
    await hold(control)
    async with wire(gateway.port) as connection:
        await connection.post(PATH, STREAM)
        status, headers = await connection.head()
        assert (status, dict(headers)["content-type"].split(";")[0]) == (200, "text/event-stream")
        for _ in range(2):
            assert b": " in await connection.until(b"\n\n")
        await control.tell("open", hold_id="mine")
        rest = await connection.until(b"0\r\n\r\n")
    assert b'data: {"n":1}\n\n' in rest


@pytest.mark.parametrize(
    ("path", "said", "shown"),
    [
        (PATH, b'{"error":{"message":"too long","code":400}}', b'data: {"error":{"message":"too long","code":400}}'),
        (
            "/v1/responses",
            b'{"error":{"message":"too long"}}',
            b'event: error\ndata: {"type":"error","error":{"message":"too long"}}',
        ),
        (PATH, b'{"detail":[{"msg":"internal"}]}', b'"code":"backend_broken"'),
        (PATH, b"Internal Server Error", b'"code":"backend_broken"'),
    ],
)
async def test_what_the_engine_refuses_after_comments_is_an_error_event_that_clients_understand(
    start: StartHere, backend: Backend, control: Control, path: str, said: bytes, shown: bytes
) -> None:
    async def refuse(call: Call) -> None:
        head = b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(said)
        await call.raw(head + said)

    backend.handler = refuse
    gateway = start(PMP_GATEWAY_KEEP_ALIVE_SECONDS="1")
    await hold(control)
    async with wire(gateway.port) as connection:
        await connection.post(path, STREAM)
        await connection.head()
        await connection.until(b"\n\n")
        await control.tell("open", hold_id="mine")
        rest = await connection.until(b"0\r\n\r\n")
    assert shown in rest
    assert b"internal" not in rest.replace(b"internal_error", b"")


async def test_a_plain_request_that_waits_is_sent_nothing_before_its_answer(
    start: StartHere, backend: Backend, control: Control
) -> None:
    gateway = start(PMP_GATEWAY_KEEP_ALIVE_SECONDS="1", PMP_GATEWAY_HOLD_TIMEOUT_SECONDS="3")
    await hold(control)
    async with wire(gateway.port) as connection:
        await connection.post(PATH, b"{}")
        status, body = await connection.answer()
    assert status == 503
    assert json.loads(body)["error"]["code"] == "hold_timed_out"


async def test_a_stream_that_waits_in_vain_ends_with_an_error_event(
    start: StartHere, backend: Backend, control: Control
) -> None:
    gateway = start(PMP_GATEWAY_KEEP_ALIVE_SECONDS="1")
    await hold(control)
    async with wire(gateway.port) as connection:
        await connection.post(PATH, STREAM)
        await connection.head()
        await connection.until(b"\n\n")
        await control.tell("close", hold_id="mine", reason="switch_failed")
        rest = await connection.until(b"0\r\n\r\n")
    assert SENTENCES[Reason.SWITCH_FAILED].encode() in rest
    assert b'"code":"closed"' in rest
