"""What clients see of a drain, and of a gateway that stops."""

import asyncio
import json

from pmp_gateway.control_schema import Phase
from tests.unit.gateway.control import Control
from tests.unit.gateway.holding.acts import PATH, STREAM, StartHere, ask, hold, until_held
from tests.unit.gateway.stub import Backend, Call
from tests.unit.gateway.wire import wire

LEAVES_WITHIN_SECONDS = 4.0


async def test_a_drain_ends_what_does_not_fit_and_says_so_while_new_requests_wait(
    start: StartHere, backend: Backend, control: Control
) -> None:
    async def wait(call: Call) -> None:
        if call.json().get("stream"):
            await call.start()
            await call.chunk(b'data: {"n":1}\n\n')
        if call.json().get("seed") is None:
            await asyncio.Event().wait()
        await call.respond(200, {"ok": True})

    backend.handler = wait
    gateway = start()
    async with wire(gateway.port) as stream, wire(gateway.port) as plain:
        await stream.post(PATH, STREAM)
        await stream.until(b'data: {"n":1}\n\n')
        await plain.post(PATH, b"{}")
        await backend.next_call(2)
        await hold(control)
        drain = asyncio.create_task(control.tell("drain", hold_id="mine", deadline_seconds=1))
        late = asyncio.create_task(ask(gateway, {"seed": 1}))
        status, body = await plain.answer()
        assert (status, json.loads(body)["error"]["code"]) == (503, "cut_short")
        assert b'"code":"cut_short"' in await stream.until(b"0\r\n\r\n")
        async with asyncio.timeout(LEAVES_WITHIN_SECONDS):
            await asyncio.gather(*(call.gone.wait() for call in backend.calls))
        drained = await drain
    assert (drained.phase, drained.in_flight, drained.held) == (Phase.HOLDING, 0, 1)
    assert (drained.door.counts.finished, drained.door.counts.cancelled) == (0, 2)
    await control.tell("open", hold_id="mine")
    assert (await late).json() == {"ok": True}


async def test_a_drain_without_a_hold_refuses_who_comes(start: StartHere, backend: Backend, control: Control) -> None:
    release = asyncio.Event()

    async def wait(call: Call) -> None:
        await release.wait()
        await call.respond(200, {"ok": True})

    backend.handler = wait
    gateway = start()
    last = asyncio.create_task(ask(gateway))
    await backend.next_call()
    drain = asyncio.create_task(control.tell("drain", deadline_seconds=30))
    await control.until(lambda status: status.phase is Phase.DRAINING)
    refused = await ask(gateway)
    release.set()

    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "closed")
    assert (await last).json() == {"ok": True}
    assert (await drain).phase is Phase.CLOSED


async def test_a_gateway_that_stops_sends_away_who_waits(start: StartHere, backend: Backend, control: Control) -> None:
    gateway = start()
    await hold(control)
    held = asyncio.create_task(ask(gateway))
    await until_held(control, 1)
    gateway.terminate()
    refused = await held

    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "gateway_stopping")
    assert await asyncio.to_thread(gateway.wait) == 0
