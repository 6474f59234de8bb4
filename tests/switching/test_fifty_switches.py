"""The promise: models change, again and again, and no client ever notices but by the time it takes."""

import asyncio
import itertools

import pytest

from pmpctl.operations.gateway_control import gateway_status
from tests.stack import Stack
from tests.switching.conftest import MODELS, MakeStack
from tests.switching.load import Load, Opening, faults_of, wrong_models

SWITCHES = 50


async def switch(stack: Stack, profile: str) -> tuple[Opening, dict[str, float]]:
    """To that profile; when requests were held and when they were let go, and what the command said of it."""
    envelope = await asyncio.to_thread(stack.json, "switch", profile)
    status = gateway_status(stack.workspace)
    assert status is not None
    result = envelope["data"]
    return Opening.told_by(result, status.door.since, MODELS[profile]), result


@pytest.mark.slow
@pytest.mark.docker
@pytest.mark.timeout(900)
@pytest.mark.parametrize("make_stack", ["docker"], indirect=True)
async def test_fifty_switches_in_a_row_under_load_lose_nothing_and_mix_up_nothing(make_stack: MakeStack) -> None:
    stack = make_stack()
    up = await asyncio.to_thread(stack.run, "up", "coding")
    assert up.returncode == 0, up.stderr
    openings, results = [Opening(0.0, 0.0, MODELS["coding"])], []
    load = Load(stack.api_port)

    async with load.running():
        for profile in itertools.islice(itertools.cycle(["chat", "coding"]), SWITCHES):
            await load.some_more()
            opening, result = await switch(stack, profile)
            openings.append(opening)
            results.append(result)
        await load.some_more()

    assert faults_of(load) == []
    assert wrong_models(load.answers, openings) == []
    # The load was there when it mattered.
    assert sum(result["held"] > 0 for result in results) > SWITCHES * 0.9
    assert sum(result["held"] for result in results) == sum(result["released"] for result in results)
    assert [result["cancelled"] + result["refused"] for result in results] == [0] * SWITCHES
