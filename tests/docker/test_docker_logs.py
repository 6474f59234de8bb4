"""Logs of containers: streams apart, history kept, followed across restarts to the end."""

import threading
from collections.abc import Callable

import pytest

from pmpctl.runtime.base import LogLine, LogQuery, UnitState
from pmpctl.runtime.docker import DockerRuntime
from tests.docker.conftest import UnitMaker
from tests.support import eventually

pytestmark = pytest.mark.docker

SPEAK = """
import sys
for number in range(3):
    print("out", number)
    print("err", number, file=sys.stderr)
"""


class Follower(threading.Thread):
    """Reads a log as it grows, until it ends."""

    def __init__(self, runtime: DockerRuntime, state: UnitState) -> None:
        super().__init__(daemon=True)
        self.lines: list[LogLine] = []
        self._log = runtime.logs(state, LogQuery(follow=True))
        self.start()

    def run(self) -> None:
        for line in self._log:
            self.lines.append(line)

    def has_ended(self) -> bool:
        return not self.is_alive()


def texts(lines: list[LogLine], stream: str) -> list[str]:
    return [line.text for line in lines if line.stream == stream]


@pytest.fixture
def ended(runtime: DockerRuntime) -> Callable[[UnitState], UnitState]:
    def wait(started: UnitState) -> UnitState:
        eventually(lambda: (state := runtime.state(started.id)) is not None and not state.alive, 20)
        return started

    return wait


def test_stdout_and_stderr_stay_apart_and_have_times(
    runtime: DockerRuntime, make_unit: UnitMaker, ended: Callable[[UnitState], UnitState]
) -> None:
    failed = ended(runtime.start(make_unit(SPEAK + "sys.exit(1)", restart="no")))
    lines = list(runtime.logs(failed, LogQuery()))
    assert texts(lines, "stdout") == ["out 0", "out 1", "out 2"]
    assert texts(lines, "stderr") == ["err 0", "err 1", "err 2"]
    assert all(line.timestamp.endswith("Z") for line in lines)
    assert list(runtime.logs(failed, LogQuery(follow=True))) == lines


def test_only_the_last_lines_or_those_since_a_time_are_shown_on_request(
    runtime: DockerRuntime, make_unit: UnitMaker, ended: Callable[[UnitState], UnitState]
) -> None:
    speak_twice = "import time; print('early'); time.sleep(1.1); print(time.time()); print('late')"
    state = ended(runtime.start(make_unit(speak_twice, restart="no")))
    _, middle, _ = runtime.logs(state, LogQuery())
    assert [line.text for line in runtime.logs(state, LogQuery(tail=1))] == ["late"]
    since = float(middle.text) - 0.5
    assert [line.text for line in runtime.logs(state, LogQuery(since=since))] == [middle.text, "late"]


def test_a_very_long_line_stays_one_line(
    runtime: DockerRuntime, make_unit: UnitMaker, ended: Callable[[UnitState], UnitState]
) -> None:
    state = ended(runtime.start(make_unit("print('x' * 100_000); print('next')", restart="no")))
    assert [line.text for line in runtime.logs(state, LogQuery())] == ["x" * 100_000, "next"]


def test_following_shows_lines_as_they_come_and_ends_when_the_unit_is_removed(
    runtime: DockerRuntime, make_unit: UnitMaker
) -> None:
    started = runtime.start(make_unit("import time; print('up'); time.sleep(600)"))
    follower = Follower(runtime, started)
    eventually(lambda: texts(follower.lines, "stdout") == ["up"])
    assert follower.is_alive()
    runtime.remove(started)
    eventually(follower.has_ended, 20)
    assert texts(follower.lines, "stdout") == ["up"]


def test_following_survives_a_restart_loop_without_losing_or_repeating_a_line(
    runtime: DockerRuntime, make_unit: UnitMaker
) -> None:
    count = """
import pathlib, sys
file = pathlib.Path("/tmp/count")
number = int(file.read_text()) + 1 if file.exists() else 1
file.write_text(str(number))
print("start", number)
print("failure", number, file=sys.stderr)
sys.exit(1)
"""
    started = runtime.start(make_unit(count))
    follower = Follower(runtime, started)
    eventually(lambda: len(texts(follower.lines, "stderr")) >= 4, 30)
    runtime.stop(started, 1)
    eventually(follower.has_ended, 20)
    starts = texts(follower.lines, "stdout")
    assert starts == [f"start {number}" for number in range(1, len(starts) + 1)]
    assert texts(follower.lines, "stderr") == [f"failure {number}" for number in range(1, len(starts) + 1)]


def test_a_reader_that_leaves_early_leaves_nothing_open(runtime: DockerRuntime, make_unit: UnitMaker) -> None:
    started = runtime.start(make_unit("import time; print('up'); time.sleep(600)"))
    log = runtime.logs(started, LogQuery(follow=True))
    assert next(iter(log)).text == "up"
    close = getattr(log, "close", None)
    assert close is not None
    close()
    runtime.remove(started)


def test_the_log_of_a_unit_that_is_gone_is_empty(runtime: DockerRuntime, make_unit: UnitMaker) -> None:
    started = runtime.start(make_unit())
    runtime.remove(started)
    assert list(runtime.logs(started, LogQuery(follow=True))) == []
