"""What clients see while there is no engine."""

import asyncio
import json

from pmp_gateway.control_schema import Phase
from tests.unit.gateway.control import Control
from tests.unit.gateway.holding.acts import PATH, STREAM, StartHere, ask, until_held
from tests.unit.gateway.stub import Backend
from tests.unit.gateway.wire import wire


async def test_requests_wait_for_an_engine_that_comes_back_soon(
    start: StartHere, backend: Backend, control: Control
) -> None:
    gateway = start(PMP_GATEWAY_ENGINE_WAIT_SECONDS="120")
    assert (await ask(gateway, {"seed": 0})).status_code == 200
    await backend.stop()
    waiting = []
    for seed in (1, 2, 3):
        waiting.append(asyncio.create_task(ask(gateway, {"seed": seed})))
        await until_held(control, seed)
    status = await control.status()
    assert status.phase is Phase.OPEN
    assert status.door.engine_away_since is not None
    await backend.start(backend.port)

    assert [(await each).status_code for each in waiting] == [200, 200, 200]
    assert [call.json()["seed"] for call in backend.calls] == [0, 1, 2, 3]
    assert (await control.status()).door.engine_away_since is None


async def test_an_engine_that_stays_away_is_waited_for_only_so_long(
    start: StartHere, backend: Backend, control: Control
) -> None:
    gateway = start(PMP_GATEWAY_ENGINE_WAIT_SECONDS="1")
    await backend.stop()
    refused = await asyncio.gather(*(ask(gateway) for _ in range(3)))
    late = await ask(gateway)
    await backend.start(backend.port)

    for response in (*refused, late):
        assert (response.status_code, response.json()["error"]["code"]) == (503, "backend_away")
        assert int(response.headers["retry-after"]) > 0
    lines = [await asyncio.to_thread(gateway.logged, each.headers["x-request-id"]) for each in (refused[0], late)]
    assert lines[0]["held_ms"] > lines[1]["held_ms"] == 0
    assert (await ask(gateway)).status_code == 200
    await control.until(lambda status: status.door.engine_away_since is None)


async def test_a_stream_whose_engine_is_away_gets_a_status_that_clients_ask_again_after(
    start: StartHere, backend: Backend, control: Control
) -> None:
    gateway = start(PMP_GATEWAY_ENGINE_WAIT_SECONDS="3", PMP_GATEWAY_KEEP_ALIVE_SECONDS="1")
    await backend.stop()
    async with wire(gateway.port) as connection:
        await connection.post(PATH, STREAM)
        status, body = await connection.answer()
    await backend.start(backend.port)
    assert (status, json.loads(body)["error"]["code"]) == (503, "backend_away")
