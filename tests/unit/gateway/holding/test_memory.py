"""What clients see of a gateway that comes back after its end, in the phase that it had."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from pmp_gateway.control_schema import Phase, Reason
from pmp_gateway.phases import SENTENCES
from tests.unit.gateway.conftest import StartGateway
from tests.unit.gateway.control import Control
from tests.unit.gateway.holding.acts import StartHere, ask, hold, until_held
from tests.unit.gateway.stub import MODEL, Backend


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_a_gateway_that_ended_in_a_hold_comes_back_in_it(
    start: StartHere, backend: Backend, control: Control, number: signal.Signals
) -> None:
    first = start()
    assert (await control.tell("open", policy={"max_n": 1}, expect_models=[MODEL])).ok
    await hold(control, deadline_seconds=600)
    before = (await control.status()).door
    first.process.send_signal(number)
    await asyncio.to_thread(first.wait)
    second = start()
    status = await control.status()

    assert status.phase is Phase.HOLDING
    assert (status.door.hold_id, status.door.reason) == ("mine", Reason.SWITCH)
    assert (status.door.deadline, status.door.since) == (before.deadline, before.since)
    held = asyncio.create_task(ask(second))
    await until_held(control, 1)
    await control.tell("open", hold_id="mine")
    assert (await held).status_code == 200
    assert (await ask(second, {"n": 2})).status_code == 400


async def test_a_deadline_that_passed_while_no_gateway_ran_ends_the_hold(
    start: StartHere, backend: Backend, control: Control
) -> None:
    first = start()
    await hold(control, deadline_seconds=1)
    first.kill()
    second = start()

    assert (await ask(second)).status_code == 200


async def test_a_closed_gateway_stays_closed_when_it_is_killed(
    start: StartHere, backend: Backend, control: Control
) -> None:
    first = start()
    await control.tell("close", reason="stop")
    first.kill()
    refused = await ask(start())

    assert refused.json()["error"]["message"] == SENTENCES[Reason.STOP]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"schema": 1, "phase": "ajar"}', '{"schema": 2}'])
async def test_a_damaged_memory_is_set_aside_and_the_gateway_starts_closed(
    start: StartHere, control: Control, tmp_path: Path, content: str
) -> None:
    path = tmp_path / "state.json"
    path.write_text(content)
    gateway = start(PMP_GATEWAY_STATE_FILE=str(path))
    status = await control.status()

    assert (status.phase, status.door.reason) == (Phase.CLOSED, Reason.STATE_UNREADABLE)
    assert "damaged" in gateway.stderr
    assert "Traceback" not in gateway.stderr
    assert (tmp_path / "state.json.damaged").read_text() == content
    assert (await control.tell("open")).ok
    gateway.kill()
    start(PMP_GATEWAY_STATE_FILE=str(path))
    assert (await control.status()).phase is Phase.OPEN


async def test_a_memory_that_cannot_be_written_does_not_keep_the_gateway_from_holding(
    start: StartHere, control: Control, tmp_path: Path
) -> None:
    gateway = start(PMP_GATEWAY_STATE_FILE=str(tmp_path / "missing" / "state.json"))
    await hold(control)

    assert (await control.status()).phase is Phase.HOLDING
    assert "cannot be kept" in gateway.stderr


async def test_without_a_control_socket_nothing_is_remembered(start_gateway: StartGateway, tmp_path: Path) -> None:
    gateway = start_gateway()
    assert (await ask(gateway)).status_code == 200
    gateway.kill()
    assert {path.name for path in await asyncio.to_thread(os.scandir, tmp_path / "gateway-0")} == {"stdout", "stderr"}
