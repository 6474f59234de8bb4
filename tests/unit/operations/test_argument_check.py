"""The engine's own parser is asked about its arguments: a small vLLM in a real virtual environment stands in."""

from pathlib import Path

import pytest

from pmpctl.errors import ArgumentsRefused
from pmpctl.operations.argument_check import ArgumentVerdict, check_arguments
from pmpctl.operations.events import Event, PhaseStarted
from pmpctl.planning.plan import Plan
from pmpctl.runtime.process import ProcessRuntime
from pmpctl.workspace import Workspace
from tests.cards import engine_of, plan_of, run_operation
from tests.small_vllm import make_vllm


@pytest.fixture
def calls(tmp_path: Path) -> Path:
    return tmp_path / "calls"


@pytest.fixture
def program(tmp_path: Path, calls: Path) -> Path:
    return make_vllm(tmp_path / "venv", calls)


def plan(workspace: Workspace, program: Path, *argv: str, model: str = "acme/next") -> Plan:
    return plan_of(workspace, engine_of(str(program), "serve", model, *argv, gpu=False))


def check(workspace: Workspace, wanted: Plan) -> ArgumentVerdict:
    return run_operation(check_arguments(workspace, ProcessRuntime(workspace), wanted))


def test_arguments_that_the_engine_understands_are_accepted_without_starting_it(
    workspace: Workspace, program: Path
) -> None:
    assert check(workspace, plan(workspace, program, "--max-model-len", "4096")).verdict == "accepted"


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (("--max-modl-len", "4096"), "vllm serve: error: unrecognized arguments: --max-modl-len 4096"),
        (("--max-model-len", "many"), "argument --max-model-len: invalid int value: 'many'"),
        (("--chat-template", "/gone.jinja"), "The supplied chat template (/gone.jinja) does not exist!"),
    ],
)
def test_what_it_refuses_is_told_in_its_own_words(
    workspace: Workspace, program: Path, argv: tuple[str, ...], words: str
) -> None:
    with pytest.raises(ArgumentsRefused) as caught:
        check(workspace, plan(workspace, program, *argv))

    assert words in caught.value.message
    assert str(program) in caught.value.message


def test_the_same_engine_is_not_asked_the_same_twice_and_another_one_is(
    workspace: Workspace, program: Path, calls: Path
) -> None:
    refused = plan(workspace, program, "--chat-template", "/gone.jinja")
    check(workspace, plan(workspace, program))
    check(workspace, plan(workspace, program))
    for _ in range(2):
        with pytest.raises(ArgumentsRefused, match=r"gone\.jinja"):
            check(workspace, refused)
    assert len(calls.read_text().split()) == 2

    [packages] = program.parents[1].glob("lib/python3*/site-packages")
    (packages / "vllm-0.32.0.dist-info").rename(packages / "vllm-0.33.0.dist-info")
    check(workspace, plan(workspace, program))

    assert len(calls.read_text().split()) == 3


def test_a_check_that_fails_itself_stops_nothing_and_is_tried_again(
    workspace: Workspace, program: Path, calls: Path
) -> None:
    broken = plan(workspace, program, model="acme/broken")

    verdicts = [check(workspace, broken) for _ in range(2)]

    assert [verdict.verdict for verdict in verdicts] == ["unknown", "unknown"]
    assert "no GPU on this machine" in verdicts[0].words
    assert len(calls.read_text().split()) == 2


def test_where_there_is_no_vllm_to_ask_nothing_is_said_against_the_arguments(
    workspace: Workspace, program: Path, stub_vllm: Path
) -> None:
    [packages] = program.parents[1].glob("lib/python3*/site-packages")
    (packages / "vllm").rename(packages / "other")

    assert check(workspace, plan(workspace, program)).verdict == "absent"
    assert str(check(workspace, plan(workspace, stub_vllm))).startswith("not checked")


def test_a_damaged_note_of_a_verdict_is_asked_for_anew(workspace: Workspace, program: Path, calls: Path) -> None:
    check(workspace, plan(workspace, program))
    [kept] = (workspace.cache_dir / "arguments").iterdir()
    kept.write_text("{")
    seen: list[Event] = []

    operation = check_arguments(workspace, ProcessRuntime(workspace), plan(workspace, program))

    assert run_operation(operation, seen.append).verdict == "accepted"
    assert any(isinstance(event, PhaseStarted) for event in seen)
