"""What the next command makes of a switch that was killed, in the states that a kill leaves."""

import os
import signal
import socket
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from pmpctl.operations.journal import Step, journaled
from pmpctl.runtime.process_tree import members
from pmpctl.workspace import Workspace
from tests.stack import Stack
from tests.support import eventually
from tests.switching.conftest import BOTH_RUNTIMES, MakeStack
from tests.switching.interruptions import (
    Killed,
    asking,
    engine_of,
    interrupt,
    is_over,
    plan_of,
    remove_engine,
)


@pytest.fixture
def stack(make_stack: MakeStack) -> Stack:
    return make_stack()


@BOTH_RUNTIMES
def test_what_still_ran_serves_again_and_a_request_that_waited_is_answered(stack: Stack) -> None:
    stack.run("up", "coding")
    interrupt(stack, Step.HOLD, Step.DRAIN)
    engine = engine_of(stack)
    with asking(stack) as answers:
        done = stack.run("up", "coding")

    assert done.returncode == 0, done.stderr
    assert "from coding to chat was interrupted at `drain`" in done.stderr
    assert "it is undone" in done.stderr
    assert [answer.status_code for answer in answers] == [200]
    assert engine_of(stack) == engine
    assert is_over(stack, "coding")


@BOTH_RUNTIMES
def test_the_new_model_that_already_starts_is_not_started_again(stack: Stack) -> None:
    stack.run("up", "coding")
    stack.fault(STUB_START_SECONDS=4)
    with stack.running("up", "chat") as command:
        eventually(lambda: stack.status()["profile"] == "chat", 30)
        command.send_signal(signal.SIGKILL)
        command.wait(30)
    interrupt(stack, Step.START, Step.WAIT)
    engine = engine_of(stack)
    with asking(stack) as answers:
        done = stack.run("up", "chat")

    assert "it is finished" in done.stderr
    assert [answer.json()["model"] for answer in answers] == ["llm"]
    assert engine_of(stack) == engine
    assert is_over(stack, "chat")


def test_another_model_is_started_after_requests_were_let_go_to_the_one_that_runs(stack: Stack) -> None:
    stack.run("up", "coding")
    interrupt(stack, Step.HOLD)
    with asking(stack) as answers:
        done = stack.run("up", "chat")

    assert "requests go to coding before anything else is done" in done.stderr
    assert [answer.status_code for answer in answers] == [200]
    assert is_over(stack, "chat")


@pytest.mark.parametrize(
    ("steps", "profile"),
    [((Step.REMOVE, Step.PROVE), "chat"), ((Step.WAIT, Step.ROLLBACK_PROVE), "coding")],
    ids=["there", "back"],
)
def test_up_without_a_name_goes_on_with_what_was_interrupted(stack: Stack, steps: Sequence[Step], profile: str) -> None:
    stack.run("up", "coding")
    remove_engine(stack)
    interrupt(stack, *steps, failure="it did not start")
    with asking(stack) as answers:
        done = stack.run("up")

    assert f"profile: {profile} (a switch was interrupted" in done.stdout + done.stderr
    assert [answer.status_code for answer in answers] == [200]
    assert is_over(stack, profile)


@BOTH_RUNTIMES
def test_an_engine_that_was_being_stopped_is_not_waited_for(stack: Stack) -> None:
    stack.fault(STUB_NEVER_READY=1)
    with stack.running("up", "coding") as command:
        eventually(lambda: stack.status()["profile"] == "coding", 30)
        command.send_signal(signal.SIGKILL)
        command.wait(30)
    stack.fault()
    interrupt(stack, Step.STOP, is_held=False)

    done = stack.json("up", "coding")

    assert done["data"]["changes"]["engine"] == "started"
    assert is_over(stack, "coding")


def test_after_a_reboot_nothing_is_left_but_the_journal_and_up_starts_over(stack: Stack) -> None:
    stack.run("up", "coding")
    interrupt(stack, Step.START)
    for process in members(f"{stack.workspace.id}/"):
        os.kill(process.pid, signal.SIGKILL)
    eventually(lambda: not members(f"{stack.workspace.id}/"))

    assert "no engine runs, no gateway runs" in stack.status()["switch"]["explanation"]
    assert stack.run("up", "chat").returncode == 0
    assert is_over(stack, "chat")


@BOTH_RUNTIMES
def test_down_gives_up_an_interrupted_switch_and_leaves_nothing(stack: Stack) -> None:
    stack.run("up", "coding")
    interrupt(stack, Step.DRAIN)

    done = stack.run("down")

    assert done.returncode == 0
    assert "it is given up" in done.stderr
    assert not stack.workspace.journal_file.exists()
    assert (stack.status()["phase"], stack.status()["switch"]) == ("down", None)
    stack.run("up", "coding")
    assert is_over(stack, "coding")


def test_a_damaged_journal_is_set_aside_and_what_runs_serves(stack: Stack) -> None:
    stack.run("up", "coding")
    interrupt(stack, Step.DRAIN)
    stack.workspace.journal_file.write_text("{")

    assert stack.status()["switch"]["state"] == "unknown"
    assert stack.workspace.journal_file.exists()
    done = stack.run("up", "coding")

    assert done.returncode == 0
    assert "journal.json.damaged" in done.stderr
    assert is_over(stack, "coding")


def test_requests_do_not_wait_for_a_start_that_failed_and_the_way_back_is_remembered(stack: Stack) -> None:
    stack.run("up", "coding")
    remove_engine(stack)
    interrupt(stack, Step.START)
    stack.fault(STUB_EXIT_CODE=3)
    with asking(stack) as answers:
        assert stack.run("up", "chat").returncode == 4
    stack.fault()

    assert [answer.status_code for answer in answers] == [503]
    status = stack.status()
    assert status["gateway_phase"] == "closed"
    assert (status["switch"]["source"], status["switch"]["target"]) == ("coding", "chat")
    assert stack.run("up", "coding").returncode == 0
    assert is_over(stack, "coding")


def test_switch_finishes_what_runs_already(stack: Stack) -> None:
    stack.run("up", "chat")
    interrupt(stack, Step.WAIT, Step.VERIFY)
    engine = engine_of(stack)
    with asking(stack) as answers:
        done = stack.run("switch", "chat")

    assert done.returncode == 0, done.stderr
    assert [answer.status_code for answer in answers] == [200]
    assert engine_of(stack) == engine
    assert is_over(stack, "chat")


@BOTH_RUNTIMES
def test_a_switch_that_starts_over_goes_back_to_what_ran_before_the_interrupted_one(stack: Stack) -> None:
    stack.run("up", "coding")
    remove_engine(stack)
    interrupt(stack, Step.START)
    stack.fault(only="acme/chat", STUB_EXIT_CODE=3)
    with asking(stack) as answers:
        done = stack.run("switch", "chat")

    assert done.returncode == 5, done.stderr
    assert [answer.status_code for answer in answers] == [200]
    assert is_over(stack, "coding")


def test_requests_do_not_wait_for_a_switch_that_is_refused_while_nothing_runs(stack: Stack) -> None:
    stack.run("up", "coding")
    remove_engine(stack)
    interrupt(stack, Step.START)
    with socket.create_server(("127.0.0.1", stack.engine_port)), asking(stack) as answers:
        assert stack.run("switch", "chat").returncode == 8

    assert [answer.status_code for answer in answers] == [503]
    assert stack.run("switch", "chat").returncode == 0
    assert is_over(stack, "chat")


def test_a_switch_on_docker_is_not_forgotten_while_no_docker_answers(workspace: Workspace, stub_vllm: Path) -> None:
    program = {"PMPCTL_ENGINE_PROGRAM": str(workspace.root / "vllm"), "DOCKER_HOST": "unix:///nowhere/docker.sock"}
    stack = Stack(workspace, stub_vllm, runtime="auto", environment=program)
    stack.write()
    here = plan_of(stack, "chat")
    there = replace(here, plan=replace(here.plan, runtime="docker"))
    with pytest.raises(Killed), journaled(workspace, "switch chat", source=None, target=there) as journal:
        journal.enter(Step.START)
        raise Killed

    refused = stack.run("up", "chat")

    assert refused.returncode == 8
    assert "interrupted on Docker" in refused.stderr
    assert "Start Docker" in refused.stderr
    assert stack.run("down").returncode == 8
    assert "interrupted on docker" in stack.status()["switch"]["explanation"]

    told = stack.run("--runtime", "process", "up", "chat")
    assert told.returncode == 0
    assert "left to itself" in told.stderr
    assert is_over(stack, "chat")
    stack.run("down")
