"""What the next command makes of a switch that was killed, in the states that a kill leaves."""

import os
import signal
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from pmp_gateway.control_schema import Reason
from pmpctl.operations.environment import Environment, choose_runtime, make_plan
from pmpctl.operations.gateway_control import gateway_status, hold
from pmpctl.operations.history import previous_profile
from pmpctl.operations.journal import Step, journaled
from pmpctl.operations.unit_records import read_record
from pmpctl.planning.recorded import RecordedPlan
from pmpctl.runtime.base import Runtime
from pmpctl.runtime.process_tree import members
from pmpctl.workspace import Workspace
from tests.stack import Stack
from tests.support import eventually
from tests.switching.conftest import BOTH_RUNTIMES, MakeStack


@pytest.fixture
def stack(make_stack: MakeStack) -> Stack:
    return make_stack()


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
    assert (status["phase"], status["profile"], status["gateway_phase"]) == ("ready", profile, "open")
    assert status["switch"] is None
    return not stack.workspace.journal_file.exists()


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


def test_status_names_what_was_interrupted_and_the_command_that_mends_it(stack: Stack) -> None:
    stack.run("up", "coding")
    interrupt(stack, Step.HOLD, Step.DRAIN)

    switch = stack.status()["switch"]
    assert (switch["state"], switch["command"], switch["step"]) == ("interrupted", "switch chat", "drain")
    assert (switch["source"], switch["target"]) == ("coding", "chat")
    assert "`pmpctl up coding` mends it" in switch["cure"]
    shown = stack.run("status").stdout
    assert "from coding to chat was interrupted at `drain`" in shown
    assert "`pmpctl up coding` mends it" in shown
    assert stack.workspace.journal_file.exists()


def test_status_tells_a_failed_switch_with_its_reason(stack: Stack) -> None:
    stack.run("up", "coding")
    remove_engine(stack)
    interrupt(stack, Step.ROLLBACK_WAIT, Step.CLOSE, failure="the engine of 'chat' ended before it answered")

    switch = stack.status()["switch"]

    assert switch["state"] == "failed"
    assert switch["failure"] == "the engine of 'chat' ended before it answered"


def test_status_tells_who_is_at_work_and_takes_nothing_of_it_for_an_interruption(stack: Stack) -> None:
    stack.fault(STUB_NEVER_READY=1)
    with stack.running("up", "coding") as command:
        eventually(lambda: stack.status()["profile"] == "coding", 30)
        interrupt(stack, Step.WAIT, is_held=False)

        status = stack.status()

        assert (status["holder"]["pid"], status["holder"]["command"]) == (command.pid, "up coding")
        assert (status["switch"]["state"], status["switch"]["step"]) == ("in-progress", "wait")
        assert f"process {command.pid}" in stack.run("status").stdout
        command.send_signal(signal.SIGKILL)
        command.wait(30)
        assert stack.status()["holder"] is None
        assert stack.status()["switch"]["state"] == "interrupted"


def test_each_engine_that_served_is_recorded_and_the_profile_before_it_remembered(stack: Stack) -> None:
    stack.run("up", "coding")
    stack.run("up", "chat")

    records = {path.stem for path in stack.workspace.plans_dir.iterdir()}
    assert records == {plan_of(stack, profile).engine_hash for profile in ("coding", "chat")}
    assert previous_profile(stack.workspace, "chat") == "coding"


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


def test_the_way_back_uses_the_template_and_the_profile_of_then(stack: Stack) -> None:
    template = stack.workspace.root / "my.jinja"
    template.write_text("of then")
    stack.write(more='chat_template = "./my.jinja"\nmax_model_len = 1024')
    stack.run("up", "chat")
    template.write_text("of now")
    stack.write(more='chat_template = "./my.jinja"\nmax_model_len = 2048')
    stack.fault(only="acme/coder", STUB_EXIT_CODE=3)

    assert stack.run("switch", "coding").returncode == 5

    assert stack.status()["max_model_len"] == 1024
    engine = next(state for state in runtime_of(stack).units() if state.role == "engine")
    ran = read_record(stack.workspace, engine.plan_hash)
    assert ran is not None
    argv = ran.plan.engine.argv
    assert Path(argv[argv.index("--chat-template") + 1]).read_text() == "of then"
