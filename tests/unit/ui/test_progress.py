import json
import re
from io import StringIO

import pytest

from pmpctl.operations.events import Notice, Operation, PhaseFinished, PhaseProgress, PhaseStarted, Setback
from pmpctl.ui.console import Ui
from pmpctl.ui.progress import PlainReporter
from pmpctl.ui.redact import Redactor
from pmpctl.ui.terminal import Writer
from tests.terminal import on_a_terminal


def pull() -> Operation[str]:
    yield PhaseStarted("image", "Pull the image")
    yield PhaseProgress("image", "layer 1", 512 * 1024**2, 1024**3)
    yield PhaseFinished("image", 1.2, "1.0 GiB")
    yield Notice("warning", "The disk is nearly full")
    yield Notice("info", "Using the cache")
    return "pulled"


def test_in_a_pipe_phases_are_plain_lines_on_stderr() -> None:
    out, err = StringIO(), StringIO()

    assert Ui(stdout=out, stderr=err).run(pull()) == "pulled"

    assert out.getvalue() == ""
    assert err.getvalue().splitlines() == [
        "Pull the image ...",
        "Pull the image: layer 1, 512.0 MiB of 1.0 GiB (50 %)",
        "Pull the image: done in 1.2 s, 1.0 GiB",
        "warning: The disk is nearly full",
        "Using the cache",
    ]


def test_quiet_leaves_only_warnings() -> None:
    out, err = StringIO(), StringIO()

    Ui(quiet=True, stdout=out, stderr=err).run(pull())

    assert (out.getvalue(), err.getvalue()) == ("", "warning: The disk is nearly full\n")


def test_json_is_one_event_a_line_on_stdout() -> None:
    out, err = StringIO(), StringIO()

    Ui(json_output=True, stdout=out, stderr=err).run(pull())

    assert err.getvalue() == ""
    assert [json.loads(line) for line in out.getvalue().splitlines()] == [
        {"schema": 1, "event": "phase_started", "phase": "image", "title": "Pull the image"},
        {
            "schema": 1,
            "event": "phase_progress",
            "phase": "image",
            "message": "layer 1",
            "done": 512 * 1024**2,
            "total": 1024**3,
            "unit": "bytes",
        },
        {"schema": 1, "event": "phase_finished", "phase": "image", "seconds": 1.2, "message": "1.0 GiB"},
        {"schema": 1, "event": "notice", "level": "warning", "message": "The disk is nearly full"},
        {"schema": 1, "event": "notice", "level": "info", "message": "Using the cache"},
    ]


def test_quiet_json_leaves_only_warnings() -> None:
    out = StringIO()

    Ui(json_output=True, quiet=True, stdout=out).run(pull())

    assert [json.loads(line)["level"] for line in out.getvalue().splitlines()] == ["warning"]


class Clock:
    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def test_plain_progress_comes_at_most_every_five_seconds_or_ten_per_cent() -> None:
    clock, err = Clock(), StringIO()
    with PlainReporter(Writer(err, Redactor()), quiet=False, clock=clock) as reporter:
        reporter.show(PhaseStarted("load", "Load"))
        for percent in range(101):
            reporter.show(PhaseProgress("load", "", percent, None, "percent"))
    assert [line for line in err.getvalue().splitlines() if "%" in line] == [f"Load: {n} %" for n in range(10, 101, 10)]

    err.seek(err.truncate(0))
    with PlainReporter(Writer(err, Redactor()), quiet=False, clock=clock) as reporter:
        reporter.show(PhaseStarted("wait", "Wait"))
        for _ in range(21):
            reporter.show(PhaseProgress("wait", f"since {clock.seconds:g} s"))
            clock.seconds += 1
    assert err.getvalue().splitlines()[1:] == [f"Wait: since {n} s" for n in (5, 10, 15, 20)]


def test_steps_in_a_rush_are_no_lines_of_plain_progress() -> None:
    clock, err = Clock(), StringIO()
    with PlainReporter(Writer(err, Redactor()), quiet=False, clock=clock) as reporter:
        reporter.show(PhaseStarted("check", "Check"))
        for step in range(1, 6):
            reporter.show(PhaseProgress("check", "", step, 6, "steps"))
        clock.seconds += 5
        reporter.show(PhaseProgress("check", "", 6, 6, "steps"))

    assert err.getvalue().splitlines() == ["Check ...", "Check: 6 of 6 (100 %)"]


def test_a_failing_operation_says_which_phase_it_left_open() -> None:
    def failing() -> Operation[None]:
        yield PhaseStarted("image", "Pull the image")
        raise OSError("no route")

    err = StringIO()
    with pytest.raises(OSError, match="no route"):
        Ui(stderr=err).run(failing())

    assert "Pull the image: stopped after" in err.getvalue()


def test_an_interruption_while_printing_runs_the_operations_finally_blocks() -> None:
    cleaned = []

    def operation() -> Operation[None]:
        try:
            yield PhaseStarted("image", "Pull the image")
        finally:
            cleaned.append(True)

    class Interrupting(StringIO):
        def write(self, text: str) -> int:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Ui(json_output=True, stdout=Interrupting()).run(operation())

    assert cleaned == [True]


LIVE_PROGRAM = """
    import sys
    from pmpctl.operations.events import Notice, PhaseFinished, PhaseProgress, PhaseStarted
    from pmpctl.ui.console import Ui
    def pull():
        yield PhaseStarted("image", "Pull the image")
        yield PhaseProgress("image", "layer 1", 512 * 1024**2, 1024**3)
        yield Notice("warning", "The disk is nearly full")
        yield PhaseFinished("image", 1.2, "1.0 GiB \\x1b]0;title\\x07[bold]plain")
        yield PhaseStarted("load", "Load the model")
        raise TimeoutError
    try:
        Ui().run(pull())
    except TimeoutError:
        print("rich" in sys.modules)
"""


def test_on_a_terminal_finished_phases_are_ticked_off_and_the_failed_one_is_crossed() -> None:
    printed = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", on_a_terminal(LIVE_PROGRAM))

    assert "✓ Pull the image  1.2 s  1.0 GiB [bold]plain" in printed
    assert "warning: The disk is nearly full" in printed
    assert "✗ Load the model" in printed
    assert "\x1b]0;title" not in printed
    assert printed.endswith("True\r\n")


def test_no_color_means_no_colour_on_a_terminal_and_colour_is_the_default() -> None:
    assert "\x1b[32m✓" in on_a_terminal(LIVE_PROGRAM)
    assert "\x1b[3" not in on_a_terminal(LIVE_PROGRAM, NO_COLOR="1")


def test_a_dumb_terminal_gets_plain_lines_without_rich() -> None:
    printed = on_a_terminal(LIVE_PROGRAM, TERM="dumb")

    assert "Pull the image: done in 1.2 s" in printed
    assert "\x1b" not in printed
    assert printed.endswith("False\r\n")


def moved() -> Operation[None]:
    yield PhaseStarted("start", "Starting the new engine")
    yield Setback("the engine ended")
    yield PhaseStarted("start", "Starting the old engine")
    yield PhaseFinished("start", 1.0)


def test_a_setback_ends_what_was_under_way_and_the_rest_goes_on() -> None:
    err = StringIO()

    Ui(stdout=StringIO(), stderr=err).run(moved())

    assert err.getvalue().splitlines() == [
        "Starting the new engine ...",
        "Starting the new engine: stopped after 0.0 s",
        "warning: the engine ended",
        "Starting the old engine ...",
        "Starting the old engine: done in 1.0 s",
    ]


def test_a_setback_on_a_terminal_crosses_out_what_failed() -> None:
    program = """
        from pmpctl.operations.events import PhaseFinished, PhaseStarted, Setback
        from pmpctl.ui.console import Ui

        def moved():
            yield PhaseStarted("start", "Start the new engine")
            yield Setback("the engine ended")
            yield PhaseStarted("start", "Start the old engine")
            yield PhaseFinished("start", 1.0)

        Ui().run(moved())
    """

    printed = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", on_a_terminal(program))

    assert "✗ Start the new engine" in printed
    assert "warning: the engine ended" in printed
    assert "✓ Start the old engine  1.0 s" in printed


def test_an_interruption_while_something_is_shown_reaches_the_operation(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        monkeypatch.undo()
        raise KeyboardInterrupt

    def operation() -> Operation[str]:
        try:
            yield Notice("info", "working")
        except KeyboardInterrupt:
            yield Notice("info", "undoing")
        return "undone"

    err = StringIO()
    monkeypatch.setattr(PlainReporter, "show", interrupted)

    assert Ui(stdout=StringIO(), stderr=err).run(operation()) == "undone"
    assert err.getvalue() == "undoing\n"
