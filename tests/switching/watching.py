"""A switch seen from outside, by what it writes down before each step."""

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

from pmpctl.operations.journal import Step
from tests.stack import Stack
from tests.support import eventually

# Short enough to see steps that take a few milliseconds.
_POLL_SECONDS = 0.0005


def journal_step(stack: Stack) -> str:
    """Where the switch in progress stands; empty where none is."""
    try:
        return str(json.loads(stack.workspace.journal_file.read_text())["step"])
    except FileNotFoundError:
        return ""


def reaches(command: "subprocess.Popen[str]", stack: Stack, step: Step, timeout_seconds: float = 60) -> bool:
    """Returns as soon as the step is written down, or a later one, or the command is over."""
    deadline = time.monotonic() + timeout_seconds
    while time.monotonic() < deadline:
        now = journal_step(stack)
        if now and Step(now).number >= step.number:
            return now == step
        if command.poll() is not None:
            return False
        time.sleep(_POLL_SECONDS)
    raise AssertionError(f"{step} was not reached within {timeout_seconds:g} s, only {now!r}")


@contextmanager
def at(stack: Stack, step: Step, *argv: str) -> "Iterator[subprocess.Popen[str]]":
    """The command runs, and has just written this step down."""
    with stack.running(*argv) as command:
        assert reaches(command, stack, step), f"{step} passed unseen"
        yield command


def kill_at(stack: Stack, step: Step | None, *argv: str) -> bool:
    """SIGKILL for the command at this step, or with None once the journal is settled; whether it met it there."""
    with stack.running(*argv) as command:
        if step is None:
            reaches(command, stack, Step.OPEN)
            eventually(lambda: not stack.workspace.journal_file.exists(), 30)
            met = True
        else:
            met = reaches(command, stack, step)
        command.send_signal(signal.SIGKILL)
        return command.wait(30) == -signal.SIGKILL and met
