"""What clients see of a hold: they wait, are answered in their order, or are told that they waited in vain."""

import asyncio

import httpx
import pytest

from pmp_gateway.control_schema import Phase, Reason
from pmp_gateway.phases import SENTENCES
from tests.unit.gateway.control import Control
from tests.unit.gateway.holding.acts import PATH, StartHere, ask, hold, until_held
from tests.unit.gateway.stub import MODEL, Backend
from tests.unit.gateway.wire import wire

LEAVES_WITHIN_SECONDS = 4.0


async def test_a_held_request_is_answered_once_the_gateway_opens(
    start: StartHere, backend: Backend, control: Control
) -> None:
    gateway = start()
    await hold(control)
    held = asyncio.create_task(ask(gateway))
    await until_held(control, 1)
    async with httpx.AsyncClient(base_url=gateway.url) as client:
        assert (await client.get("/health")).status_code == 200
    assert backend.calls == []
    opened = await control.tell("open", hold_id="mine")
    response = await held

    assert response.json() == {"ok": True}
    assert (opened.door.counts.held, opened.phase) == (1, Phase.OPEN)
    line = await asyncio.to_thread(gateway.logged, response.headers["x-request-id"])
    assert line["held_ms"] > 0


async def test_held_requests_reach_the_engine_in_their_order(
    start: StartHere, backend: Backend, control: Control
) -> None:
    gateway = start()
    await hold(control)
    held = []
    for number in range(20):
        held.append(asyncio.create_task(ask(gateway, {"seed": number})))
        await until_held(control, number + 1)
    await control.tell("open", hold_id="mine")
    await asyncio.gather(*held)

    assert [call.json()["seed"] for call in backend.calls] == list(range(20))


async def test_the_list_of_models_waits_too(start: StartHere, backend: Backend, control: Control) -> None:
    gateway = start()
    await hold(control)
    async with httpx.AsyncClient(base_url=gateway.url, timeout=30) as client:
        listing = asyncio.create_task(client.get("/v1/models"))
        await until_held(control, 1)
        backend.models = ["another"]
        await control.tell("open", hold_id="mine")
        assert "another" in [entry["id"] for entry in (await listing).json()["data"]]


async def test_held_requests_go_to_the_model_that_came_meanwhile(
    start: StartHere, backend: Backend, control: Control
) -> None:
    gateway = start()
    assert (await ask(gateway, {"model": "llm"})).status_code == 200
    await hold(control)
    held = asyncio.create_task(ask(gateway, {"model": "llm"}))
    await until_held(control, 1)
    await backend.stop()
    backend.models = ["another"]
    await backend.start(backend.port)
    await control.tell("open", hold_id="mine", expect_models=["another"])
    assert (await held).status_code == 200

    assert [call.json()["model"] for call in backend.calls] == [MODEL, "another"]


@pytest.mark.parametrize(
    "env", [{"PMP_GATEWAY_HOLD_MAX_REQUESTS": "2"}, {"PMP_GATEWAY_HOLD_MAX_BYTES": "2000"}], ids=["count", "bytes"]
)
async def test_more_than_may_wait_is_refused_at_once(
    start: StartHere, backend: Backend, control: Control, env: dict[str, str]
) -> None:
    gateway = start(**env)
    await hold(control)
    body = {"prompt": "x" * 900}
    held = [asyncio.create_task(ask(gateway, body)) for _ in range(2)]
    await until_held(control, 2)
    refused = await ask(gateway, body)
    await control.tell("open", hold_id="mine")

    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "hold_full")
    assert int(refused.headers["retry-after"]) > 0
    assert [(await each).status_code for each in held] == [200, 200]


async def test_a_request_waits_only_as_long_as_one_may(start: StartHere, backend: Backend, control: Control) -> None:
    gateway = start(PMP_GATEWAY_HOLD_TIMEOUT_SECONDS="1")
    await hold(control)
    refused = await ask(gateway)

    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "hold_timed_out")
    assert int(refused.headers["retry-after"]) > 0
    assert (await control.status()).phase is Phase.HOLDING
    assert backend.calls == []


async def test_a_hold_that_nobody_ends_opens_to_the_engine_that_still_serves(
    start: StartHere, backend: Backend, control: Control
) -> None:
    gateway = start()
    await hold(control, deadline_seconds=1)

    assert (await ask(gateway)).status_code == 200
    assert (await control.status()).phase is Phase.OPEN


async def test_a_hold_that_nobody_ends_closes_when_no_engine_answers(
    start: StartHere, backend: Backend, control: Control
) -> None:
    gateway = start()
    await hold(control, deadline_seconds=1)
    held = asyncio.create_task(ask(gateway))
    await until_held(control, 1)
    await backend.stop()
    refused, later = await held, await ask(gateway)
    await backend.start(backend.port)

    for response in (refused, later):
        assert response.status_code == 503
        assert response.json()["error"]["message"] == SENTENCES[Reason.HOLD_EXPIRED]
        assert int(response.headers["retry-after"]) > 0
    assert (await control.status()).door.reason is Reason.HOLD_EXPIRED
    assert (await control.tell("open")).ok


async def test_a_client_that_leaves_the_line_frees_its_place_and_never_reaches_the_engine(
    start: StartHere, backend: Backend, control: Control
) -> None:
    gateway = start(PMP_GATEWAY_HOLD_MAX_REQUESTS="1")
    await hold(control)
    async with wire(gateway.port) as connection:
        await connection.post(PATH, b'{"seed":1}', "X-Request-Id: leaves-the-line")
        await until_held(control, 1)
        await connection.leave()
        await control.until(lambda status: status.held == 0, LEAVES_WITHIN_SECONDS)
    assert (await asyncio.to_thread(gateway.logged, "leaves-the-line"))["status"] == 499
    stays = asyncio.create_task(ask(gateway, {"seed": 2}))
    await until_held(control, 1)
    await control.tell("open", hold_id="mine")
    assert (await stays).status_code == 200

    assert [call.json()["seed"] for call in backend.calls] == [2]


async def test_a_request_that_waited_is_held_against_the_policy_that_is_in_force_when_it_goes(
    start: StartHere, backend: Backend, control: Control
) -> None:
    gateway = start()
    await hold(control)
    too_many, modest = asyncio.create_task(ask(gateway, {"n": 3})), asyncio.create_task(ask(gateway, {"n": 1}))
    await until_held(control, 2)
    assert (await control.tell("open", hold_id="mine", policy={"max_n": 2})).ok
    refused = await too_many
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "value_too_large")
    assert (await modest).status_code == 200
    assert backend.call.json()["n"] == 1
