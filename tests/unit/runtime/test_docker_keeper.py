"""What runs beside an engine in its container: what Docker is told by the exit status."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pmpctl.runtime.docker_keeper import gave_up, kept
from tests.support import eventually


class Container:
    """Runs a command under the keeper, as often as Docker would; `quick_seconds` is when an end is no longer quick."""

    def __init__(self, layer: Path, quick_seconds: int = 600) -> None:
        self._layer = layer
        self._quick_seconds = quick_seconds

    def command(self, program: str) -> list[str]:
        shell, option, script, *rest = kept([sys.executable, "-c", program])
        # The layer of its own that a container has, and a time that a test can wait for.
        script = script.replace("/var/tmp/", f"{self._layer}/").replace("-lt 600 ]", f"-lt {self._quick_seconds} ]")
        return [shell, option, script, *rest]

    def run(self, program: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(self.command(program), capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def container(tmp_path: Path) -> Container:
    return Container(tmp_path)


@pytest.mark.parametrize(("status", "told"), [(0, 1), (1, 1), (3, 3), (137, 137)])
def test_docker_is_told_to_start_a_program_again_that_ended_with_whatever_status(
    container: Container, status: int, told: int
) -> None:
    assert container.run(f"raise SystemExit({status})").returncode == told


def test_the_fifth_quick_end_in_a_row_is_the_last_and_says_so(container: Container) -> None:
    statuses = [container.run("raise SystemExit(3)").returncode for _ in range(4)]
    last = container.run("raise SystemExit(7)")

    assert statuses == [3, 3, 3, 3]
    assert last.returncode == 0
    assert "crash loop: it ended 5 times in a row" in last.stderr
    assert "exit status 7" in last.stderr


def test_who_starts_it_by_hand_after_a_crash_loop_gets_all_its_tries_again(container: Container) -> None:
    statuses = [container.run("raise SystemExit(3)").returncode for _ in range(10)]
    assert statuses == [3, 3, 3, 3, 0, 3, 3, 3, 3, 0]


def test_ends_that_are_not_quick_are_no_crash_loop_however_many(tmp_path: Path) -> None:
    container = Container(tmp_path, quick_seconds=0)
    assert [container.run("raise SystemExit(3)").returncode for _ in range(7)] == [3] * 7


def test_an_end_that_is_not_quick_breaks_the_row(tmp_path: Path) -> None:
    quick, slow = Container(tmp_path), Container(tmp_path, quick_seconds=0)
    statuses = [one.run("raise SystemExit(3)").returncode for one in [quick] * 4 + [slow] + [quick] * 4]
    assert statuses == [3] * 9


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_a_request_to_stop_reaches_the_program_which_may_take_its_time(
    container: Container, tmp_path: Path, signum: signal.Signals
) -> None:
    ready, ended = tmp_path / "ready", tmp_path / "ended"
    program = f"""
import pathlib, signal, sys, time
def end(*_):
    time.sleep(0.3)
    pathlib.Path({str(ended)!r}).touch()
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
pathlib.Path({str(ready)!r}).touch()
time.sleep(60)
"""
    container.run("raise SystemExit(3)")
    with subprocess.Popen(container.command(program)) as process:
        eventually(ready.exists)
        process.send_signal(signum)
        status = process.wait(30)

    assert ended.exists()
    # Not 0: after its own restart Docker brings back what ran, and this looks to it as a stop by itself does.
    assert status == 143
    # And the row begins anew.
    assert [container.run("raise SystemExit(3)").returncode for _ in range(4)] == [3] * 4


def test_arguments_reach_the_program_word_for_word(container: Container) -> None:
    words = ["a b", "$HOME", "'", '"', "*", ""]
    command = [*container.command("import sys; print(sys.argv[1:])"), *words]
    assert subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() == repr(words)


@pytest.mark.parametrize(
    ("status", "exit_code", "command", "expected"),
    [
        ("exited", 0, kept(["vllm"])[1:], True),
        ("exited", 1, kept(["vllm"])[1:], False),
        ("running", 0, kept(["vllm"])[1:], False),
        ("exited", 0, ["serve"], False),
        ("exited", 0, None, False),
    ],
)
def test_a_crash_loop_is_known_by_what_docker_tells_of_the_container(
    status: str, exit_code: int, command: list[str] | None, expected: bool
) -> None:
    state = {"Status": status, "ExitCode": exit_code}
    assert gave_up({"State": state, "Config": {"Cmd": command}}) is expected
