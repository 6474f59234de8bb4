"""Leaves a workspace as a switch does whose command was killed."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from pmp_gateway.control_schema import Reason
from pmpctl.operations.environment import Environment, choose_runtime, make_plan
from pmpctl.operations.gateway_control import gateway_status, hold
from pmpctl.operations.journal import Step, journaled
from pmpctl.planning.recorded import RecordedPlan
from pmpctl.runtime.base import Runtime
from tests.stack import Stack
from tests.support import eventually


class Killed(Exception):
    pass


def environment_of(stack: Stack) -> Environment:
    return Environment(stack.workspace, None, "auto", os.environ | stack.variables())


def runtime_of(stack: Stack) -> Runtime:
    environment = environment_of(stack)
    return choose_runtime(environment, environment.profile_file()).runtime


def plan_of(stack: Stack, profile: str) -> RecordedPlan:
    environment = environment_of(stack)
    return RecordedPlan(plan=make_plan(environment, environment.profile_file(), runtime_of(stack), profile))


def interrupt(stack: Stack, *steps: Step, failure: str = "", is_held: bool = True) -> None:
    """A switch from coding to chat whose command was killed when it had written these steps."""
    target = plan_of(stack, "chat")
    with (
        pytest.raises(Killed),
        journaled(stack.workspace, "switch chat", source=plan_of(stack, "coding"), target=target) as journal,
    ):
        for step in steps:
            journal.enter(step, failure)
        raise Killed
    if is_held:
        hold(stack.workspace, journal.journal.id, Reason.SWITCH, 600)


def remove_engine(stack: Stack) -> None:
    runtime = runtime_of(stack)
    engine = next(state for state in runtime.units() if state.role == "engine")
    runtime.stop(engine, 5)
    runtime.remove(engine)


@contextmanager
def asking(stack: Stack, name: str = "llm") -> Iterator[list[httpx.Response]]:
    """A request that waits at the gateway; its answer is there when the block ends."""
    answers: list[httpx.Response] = []

    def ask() -> None:
        body = {"model": name, "messages": [{"role": "user", "content": "Still there?"}]}
        answers.append(httpx.post(f"http://127.0.0.1:{stack.api_port}/v1/chat/completions", json=body, timeout=90))

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        eventually(lambda: (status := gateway_status(stack.workspace)) is not None and status.held == 1)
        yield answers
    finally:
        thread.join(90)


def engine_of(stack: Stack) -> tuple[str, float | None]:
    """Another for every start."""
    engine = next(state for state in runtime_of(stack).units() if state.role == "engine")
    return engine.id, engine.started_at


def is_over(stack: Stack, profile: str) -> bool:
    """The profile serves, the gateway is open, and nothing tells of a switch any more."""
    status = stack.status()
    assert (status["phase"], status["profile"], status["gateway_phase"]) == ("ready", profile, "open"), status
    assert status["switch"] is None, status
    return not stack.workspace.journal_file.exists()
