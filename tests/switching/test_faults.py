"""The table of faults: what each leads to, and that the next command works from there."""

import asyncio
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest

from pmpctl.operations.gateway_control import gateway_status
from tests.stack import Stack
from tests.switching.conftest import BOTH_RUNTIMES, MODELS, MakeStack
from tests.switching.load import Load, faults_of

pytestmark = pytest.mark.slow

CHAT = MODELS["chat"]


@dataclass(frozen=True)
class EndState:
    """`serves` is the model that answers, empty where clients get 503."""

    exit_status: int
    serves: str
    gateway: str
    journal: bool


@dataclass(frozen=True)
class Fault:
    """What is wrong with the engine of `only`, the words in which it is named, and how the switch ends."""

    name: str
    faults: Mapping[str, object]
    said: str
    end: EndState
    only: str = CHAT
    more: str = ""
    options: tuple[str, ...] = ()
    unnoticed: bool = field(default=True)

    def __str__(self) -> str:
        return self.name


BACK = EndState(exit_status=5, serves="acme/coder", gateway="open", journal=False)
NO_WAY_BACK = EndState(exit_status=6, serves="", gateway="closed", journal=True)

TABLE = [
    Fault("exits-at-once", {"STUB_EXIT_CODE": 1}, "No available memory for the cache blocks", BACK),
    Fault("ends-with-status-0", {"STUB_EXIT_CODE": 0}, "No available memory for the cache blocks", BACK),
    Fault("crashes-in-load", {"STUB_CRASH_IN_LOAD": 1}, "ended before it answered", BACK),
    Fault("crashes-at-its-first-token", {"STUB_CRASH_ON_REQUEST": 1}, "gave no token", BACK),
    Fault("never-ready", {"STUB_NEVER_READY": 1}, "no progress for 2 s", BACK, more="start_timeout = 2"),
    Fault("wrong-model", {"STUB_WRONG_MODEL": "acme/other"}, "serves acme/other", BACK),
    Fault("neither-model-comes-up", {"STUB_EXIT_CODE": 1}, "no model serves", NO_WAY_BACK, only="*", unnoticed=False),
    Fault(
        "no-way-back-is-wanted",
        {"STUB_EXIT_CODE": 1},
        "ended before it answered",
        EndState(exit_status=4, serves="", gateway="closed", journal=True),
        options=("--no-rollback",),
        unnoticed=False,
    ),
]


def serving(stack: Stack) -> str:
    """The model that answers; empty for a 503 that says when to come again."""
    response = stack.post()
    if response.status_code == 503:
        assert int(response.headers["retry-after"]) > 0
        return ""
    return str(response.raise_for_status().json()["system_fingerprint"]).partition("@")[0]


def end_state(stack: Stack, done: "subprocess.CompletedProcess[str]") -> EndState:
    status = gateway_status(stack.workspace)
    assert status is not None
    return EndState(done.returncode, serving(stack), status.phase, stack.workspace.journal_file.exists())


@BOTH_RUNTIMES
@pytest.mark.parametrize("fault", TABLE, ids=str)
async def test_a_new_engine_that_does_not_come_up(make_stack: MakeStack, fault: Fault) -> None:
    stack = make_stack(more=fault.more)
    assert (await asyncio.to_thread(stack.run, "up", "coding")).returncode == 0
    stack.fault(fault.only, **fault.faults)
    load = Load(stack.api_port, concurrency=3)

    async with load.running():
        await load.some_more()
        done = await asyncio.to_thread(stack.run, "switch", "chat", *fault.options)
        await load.some_more()

    assert fault.said in done.stderr
    assert "Traceback" not in done.stderr
    assert end_state(stack, done) == fault.end, done.stderr
    assert [answer.fault for answer in load.answers if answer.fault and not answer.was_refused_properly] == []
    assert (faults_of(load) == []) is fault.unnoticed
    status = stack.status()
    assert (status["switch"] is not None) is fault.end.journal

    stack.fault()
    again = stack.run("switch", "chat")
    assert end_state(stack, again) == EndState(0, CHAT, "open", journal=False), again.stderr
