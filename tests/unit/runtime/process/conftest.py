"""A workspace whose units are small programs; whatever a test does, nothing may be left of it."""

import sys
import textwrap
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import pytest

from pmpctl.planning.plan import LABEL_PLAN, LABEL_PROFILE, Unit
from pmpctl.runtime.process import ProcessRuntime
from pmpctl.runtime.process_record import BackOff
from pmpctl.runtime.process_tree import members
from pmpctl.workspace import Workspace
from tests.support import eventually

QUICK_BACK_OFF = BackOff(first_seconds=0.05, longest_seconds=0.2, quick_seconds=60.0, quick_failures=5)


class MakeUnit(Protocol):
    def __call__(self, source: str, **changes: Any) -> Unit:
        """An engine that runs this Python program."""
        ...


def eventually_words(path: Path, count: int) -> list[str]:
    """The words of a file that a program writes, once there are so many."""

    def words() -> list[str]:
        found = path.read_text().split() if path.exists() else []
        return found if len(found) == count else []

    return eventually(words)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    root = tmp_path / "workspace"
    root.mkdir()
    return Workspace(root)


@pytest.fixture
def runtime(workspace: Workspace) -> Iterator[ProcessRuntime]:
    runtime = ProcessRuntime(workspace, QUICK_BACK_OFF)
    yield runtime
    for state in runtime.units():
        runtime.remove(state)
    runtime.clean()
    assert members(f"{workspace.id}/") == set()


@pytest.fixture
def make_unit(tmp_path: Path) -> MakeUnit:
    def make(source: str, **changes: Any) -> Unit:
        number = len(list(tmp_path.glob("program*.py")))
        program = tmp_path / f"program{number}.py"
        program.write_text(textwrap.dedent(source))
        unit = Unit(
            role="engine",
            name="engine",
            image="",
            argv=(sys.executable, "-ISu", str(program)),
            env={},
            labels={LABEL_PROFILE: "demo", LABEL_PLAN: "0123456789abcdef"},
            health_url="",
        )
        return replace(unit, **changes)

    return make
