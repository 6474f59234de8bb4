"""What is remembered of switches: what `status` tells of one that was interrupted, and what a way back goes back to."""

import signal
from pathlib import Path

import pytest

from pmpctl.operations.history import previous_profile
from pmpctl.operations.journal import Step
from pmpctl.operations.unit_records import read_record
from tests.stack import Stack
from tests.support import eventually
from tests.switching.conftest import MakeStack
from tests.switching.interruptions import interrupt, plan_of, remove_engine, runtime_of


@pytest.fixture
def stack(make_stack: MakeStack) -> Stack:
    return make_stack()


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
