import json
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import pytest

from pmpctl.errors import DockerNotAvailable, Problem, ProfileFileInvalid
from pmpctl.ui.console import Ui
from pmpctl.ui.redact import Redactor
from pmpctl.ui.terminal import Writer


def test_a_failure_names_every_problem_with_details_and_cure_on_stderr() -> None:
    out, err = StringIO(), StringIO()
    problems = [
        Problem("unknown_key", "profiles.toml:3: unknown key `modle`", "Write `model`."),
        Problem("wrong_type", "profiles.toml:9: not a number", "Write 8192.", ("max_model_len = 'x'",)),
    ]

    status = Ui(stdout=out, stderr=err).fail("up", ProfileFileInvalid(problems))

    assert status == 2
    assert out.getvalue() == ""
    assert err.getvalue().splitlines() == [
        "error: profiles.toml:3: unknown key `modle`",
        "cure: Write `model`.",
        "error: profiles.toml:9: not a number",
        "  max_model_len = 'x'",
        "cure: Write 8192.",
    ]


def test_with_json_a_failure_is_one_line_on_stdout_and_stderr_stays_empty() -> None:
    out, err = StringIO(), StringIO()

    status = Ui(json_output=True, stdout=out, stderr=err).fail("up", DockerNotAvailable("No Docker.", cure="Start it."))

    assert status == 8
    assert err.getvalue() == ""
    assert json.loads(out.getvalue())["errors"] == [
        {"code": "docker_not_available", "message": "No Docker.", "cure": "Start it.", "details": []}
    ]


def test_a_bug_is_one_sentence_and_with_debug_a_traceback() -> None:
    def bug(divisor: int) -> float:
        return 1 / divisor

    short, long = StringIO(), StringIO()
    with pytest.raises(ZeroDivisionError) as raised:
        bug(0)

    assert Ui(stderr=short).fail("up", raised.value) == 1
    assert Ui(stderr=long, debug=True).fail("up", raised.value) == 1

    assert "Traceback" not in short.getvalue()
    assert "--debug" in short.getvalue()
    assert "ZeroDivisionError: division by zero" in short.getvalue()
    assert "Traceback (most recent call last)" in long.getvalue()
    assert "in bug" in long.getvalue()


def test_an_interruption_is_130_and_says_how_to_go_on() -> None:
    err = StringIO()

    assert Ui(stderr=err).fail("up", KeyboardInterrupt()) == 130
    assert "pmpctl status" in err.getvalue()


def test_a_result_is_words_for_people_and_data_for_machines() -> None:
    @dataclass(frozen=True)
    class Row:
        path: Path
        ports: tuple[int, ...]

    words, machine = StringIO(), StringIO()
    for ui in (Ui(stdout=words), Ui(json_output=True, stdout=machine)):
        ui.result("show", {"rows": [Row(Path("/srv/models"), (8000, 8002))]}, "two ports")

    assert words.getvalue() == "two ports\n"
    assert json.loads(machine.getvalue())["data"] == {"rows": [{"path": "/srv/models", "ports": [8000, 8002]}]}


def test_log_lines_go_to_the_stream_they_came_from() -> None:
    out, err = StringIO(), StringIO()
    ui = Ui(stdout=out, stderr=err)

    ui.item("log", {"text": "a"}, "a", "stdout")
    ui.item("log", {"text": "b"}, "b", "stderr")

    assert (out.getvalue(), err.getvalue()) == ("a\n", "b\n")


@pytest.mark.parametrize(
    "hostile",
    ["\x1b[2J", "\x1b]0;new title\x07", "\x1b]52;c;Y2xpcA==\x1b\\", "\x1b[31m", "\x07", "\r", "\x9b2J", "\x1bc"],
)
def test_text_from_elsewhere_cannot_steer_the_terminal(hostile: str) -> None:
    stream = StringIO()

    Writer(stream, Redactor()).line(f"a{hostile}b\tc")

    assert stream.getvalue() == "ab\tc\n"


def test_colour_can_be_forced_and_marks_only_the_label() -> None:
    err = StringIO()

    Ui(color=True, stderr=err).err.labelled("warning", "careful", "warning")

    assert err.getvalue() == "\x1b[33mwarning:\x1b[0m careful\n"
