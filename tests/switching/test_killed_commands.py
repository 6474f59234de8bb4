"""pmpctl killed with SIGKILL at every step that it writes down: the next command finishes or undoes, nobody is lost.

A step is written down before it is taken, so being killed at one is being killed after the one before it.
"""

import asyncio
import itertools
import time
from collections.abc import Sequence

import pytest

from pmpctl.operations.gateway_control import gateway_status
from pmpctl.operations.journal import Step
from tests.stack import Stack
from tests.switching.conftest import MODELS, MakeStack
from tests.switching.load import Load, faults_of
from tests.switching.watching import kill_at

pytestmark = pytest.mark.slow

THERE = [step for step in Step if not step.is_way_back]
BACK = [step for step in Step if step.is_way_back and step is not Step.CLOSE]

# A step of a few milliseconds may be over before anybody has seen it.
ATTEMPTS = 4

SAME = ("switch", "chat")
OTHER = ("up", "coding")
UNNAMED = ("up",)


def in_turn(steps: Sequence[Step | None], *commands: tuple[str, ...]) -> list[tuple[Step | None, tuple[str, ...]]]:
    """Each step with one of the commands that may come next, which take turns: what they do is decided in one table."""
    return list(zip(steps, itertools.cycle(commands), strict=False))


def name_of(value: Step | tuple[str, ...] | None) -> str:
    return " ".join(value) if isinstance(value, tuple) else str(value or "settled")


def assert_all_is_well(stack: Stack, profile: str) -> None:
    """That profile serves, the gateway is open, and nothing tells of an interrupted switch."""
    assert str(stack.ask()["system_fingerprint"]).partition("@")[0] == MODELS[profile]
    status = stack.status()
    assert (status["phase"], status["profile"], status["switch"]) == ("ready", profile, None)
    assert not stack.workspace.journal_file.exists()


async def kill_a_switch(stack: Stack, step: Step | None) -> None:
    """It has been killed at this step; `None` is when it is over, and has only to say so."""
    for _ in range(ATTEMPTS):
        if await asyncio.to_thread(kill_at, stack, step, *SAME):
            return
        mended = await asyncio.to_thread(stack.run, *OTHER)
        assert mended.returncode == 0, mended.stderr
    raise AssertionError(f"{step} passed unseen {ATTEMPTS} times")


@pytest.mark.parametrize(("step", "then"), in_turn([*THERE, None], SAME, OTHER), ids=name_of)
async def test_a_switch_that_is_killed_is_finished_or_undone_and_no_request_is_lost(
    make_stack: MakeStack, step: Step | None, then: tuple[str, ...]
) -> None:
    stack = make_stack()
    assert (await asyncio.to_thread(stack.run, "up", "coding")).returncode == 0
    load = Load(stack.api_port, concurrency=3)

    async with load.running():
        await load.some_more()
        await kill_a_switch(stack, step)
        interrupted = (await asyncio.to_thread(stack.status))["switch"]
        done = await asyncio.to_thread(stack.run, *then)
        await load.some_more()

    assert (interrupted is None) is (step is None)
    if step is not None:
        assert (interrupted["state"], interrupted["step"]) == ("interrupted", step)
        assert "pmpctl up" in interrupted["cure"]
    assert done.returncode == 0, done.stderr
    assert_all_is_well(stack, then[1])
    assert faults_of(load) == []


@pytest.mark.parametrize(("step", "then"), in_turn(BACK, SAME, UNNAMED), ids=name_of)
async def test_a_way_back_that_is_killed_is_gone_on_with_and_no_request_is_lost(
    make_stack: MakeStack, step: Step, then: tuple[str, ...]
) -> None:
    stack = make_stack()
    assert (await asyncio.to_thread(stack.run, "up", "coding")).returncode == 0
    stack.fault(MODELS["chat"], STUB_EXIT_CODE=1)
    load = Load(stack.api_port, concurrency=3)

    async with load.running():
        await load.some_more()
        await kill_a_switch(stack, step)
        interrupted = (await asyncio.to_thread(stack.status))["switch"]
        stack.fault()
        done = await asyncio.to_thread(stack.run, *then)
        await load.some_more()

    assert interrupted["step"] == step
    assert done.returncode == 0, done.stderr
    assert_all_is_well(stack, "chat" if then == SAME else "coding")
    assert faults_of(load) == []


@pytest.mark.parametrize("then", [SAME, OTHER, UNNAMED], ids=" ".join)
async def test_a_switch_that_is_killed_while_it_gives_up_leaves_nobody_waiting(
    make_stack: MakeStack, then: tuple[str, ...]
) -> None:
    stack = make_stack()
    assert (await asyncio.to_thread(stack.run, "up", "coding")).returncode == 0
    stack.fault(STUB_EXIT_CODE=1)
    load = Load(stack.api_port, concurrency=3)

    async with load.running():
        await load.some_more()
        assert await asyncio.to_thread(kill_at, stack, Step.CLOSE, *SAME)
        stack.fault()
        done = await asyncio.to_thread(stack.run, *then)
        await load.some_more()

    assert done.returncode == 0, done.stderr
    assert_all_is_well(stack, "chat" if then == SAME else "coding")
    assert [answer.fault for answer in load.answers if answer.fault and not answer.was_refused_properly] == []


@pytest.mark.parametrize("step", [Step.DRAIN, Step.START])
def test_down_after_a_killed_switch_leaves_nothing(make_stack: MakeStack, step: Step) -> None:
    stack = make_stack()
    assert stack.run("up", "coding").returncode == 0
    assert kill_at(stack, step, *SAME)

    assert stack.run("down").returncode == 0

    status = stack.status()
    assert (status["phase"], status["units"], status["switch"]) == ("down", [], None)
    assert stack.run("up", "coding").returncode == 0
    assert_all_is_well(stack, "coding")


def test_a_hold_whose_switch_was_killed_has_an_end_of_its_own(make_stack: MakeStack) -> None:
    stack = make_stack()
    assert stack.run("up", "coding").returncode == 0
    assert kill_at(stack, Step.DRAIN, *SAME, "--drain", "0")

    held = gateway_status(stack.workspace)

    assert held is not None
    assert held.door.deadline is not None
    assert 0 < held.door.deadline - time.time() < 120
