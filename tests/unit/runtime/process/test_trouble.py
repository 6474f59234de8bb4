"""Crashes, killed supervisors, reused pids, restarts of the machine: what is said stays true, and nothing is left."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pmpctl.errors import EngineProgramMissing, RuntimeFailed, WorkspaceNotWritable
from pmpctl.runtime import process as process_module
from pmpctl.runtime import process_launch
from pmpctl.runtime.base import LogQuery, UnitState
from pmpctl.runtime.process import ProcessRuntime
from pmpctl.runtime.process_record import BackOff
from pmpctl.runtime.process_tree import identify, members
from pmpctl.workspace import Workspace
from tests.support import eventually
from tests.unit.runtime.process.conftest import MakeUnit, eventually_words

SLEEPS = "import time; time.sleep(600)"
DAEMONIZES = """
    import os, time
    if os.fork() == 0:
        os.setsid()
        print("daemon")
    time.sleep(600)
"""


@pytest.fixture
def foreign_process() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-ISc", SLEEPS]) as process:
        yield process
        assert process.poll() is None, "a process that is not ours was ended"
        process.kill()


def record(workspace: Workspace) -> dict[str, Any]:
    data: dict[str, Any] = json.loads((workspace.process_dir / "engine.json").read_text())
    return data


def change_record(workspace: Workspace, **changes: Any) -> None:
    (workspace.process_dir / "engine.json").write_text(json.dumps(record(workspace) | changes))


def kill_supervisor(workspace: Workspace) -> None:
    supervisor, child = (record(workspace)[key]["pid"] for key in ("supervisor", "child"))
    os.kill(supervisor, signal.SIGKILL)
    eventually(lambda: identify(supervisor) is None and identify(child) is None)


def reaches(runtime: ProcessRuntime, state: UnitState, phase: str) -> UnitState:
    def now() -> UnitState | None:
        current = runtime.state(state.id)
        return current if current and current.phase == phase else None

    found = eventually(now)
    assert found is not None
    return found


def test_a_unit_that_fails_once_is_started_again_and_keeps_its_first_lines(
    runtime: ProcessRuntime, make_unit: MakeUnit, tmp_path: Path
) -> None:
    flag = tmp_path / "failed-once"
    state = runtime.start(
        make_unit(f"""
            import pathlib, sys, time
            flag = pathlib.Path({str(flag)!r})
            if not flag.exists():
                flag.touch()
                sys.exit("the first error")
            print("ready")
            time.sleep(600)
        """)
    )
    eventually(lambda: "ready" in [line.text for line in runtime.logs(state, LogQuery())])
    now = runtime.state(state.id)
    assert now is not None
    assert (now.phase, now.restart_count, now.error) == ("running", 1, "")
    assert [line.text for line in runtime.logs(state, LogQuery())] == ["the first error", "ready"]


def test_five_quick_failures_in_a_row_are_a_crash_loop(runtime: ProcessRuntime, make_unit: MakeUnit) -> None:
    state = runtime.start(make_unit("import sys; print('no such model'); sys.exit(3)"))
    dead = reaches(runtime, state, "dead")
    assert (dead.exit_code, dead.restart_count, dead.alive) == (3, 4, False)
    assert "crash loop" in dead.error
    assert "exit status 3" in dead.error
    assert [line.text for line in runtime.logs(dead, LogQuery())] == ["no such model"] * 5


def test_a_unit_between_two_starts_says_so_and_can_be_stopped(
    workspace: Workspace, runtime: ProcessRuntime, make_unit: MakeUnit
) -> None:
    slow = ProcessRuntime(workspace, BackOff(first_seconds=300, longest_seconds=300))
    state = slow.start(make_unit("import sys; sys.exit(1)"))
    restarting = reaches(runtime, state, "restarting")
    assert (restarting.exit_code, restarting.alive) == (1, True)
    runtime.stop(restarting, timeout_seconds=10)
    stopped = runtime.state(state.id)
    assert stopped is not None
    assert (stopped.phase, stopped.exit_code) == ("exited", 1)


def test_the_wait_before_a_start_doubles_up_to_half_a_minute() -> None:
    assert [BackOff().delay_seconds(failures) for failures in range(1, 8)] == [1, 2, 4, 8, 16, 30, 30]
    assert BackOff().delay_seconds(0) == 1


@pytest.mark.parametrize(("policy", "status", "phase"), [("no", 3, "exited"), ("on-failure", 0, "exited")])
def test_a_unit_whose_policy_says_so_is_not_started_again(
    runtime: ProcessRuntime, make_unit: MakeUnit, policy: str, status: int, phase: str
) -> None:
    state = runtime.start(make_unit(f"import sys; sys.exit({status})", restart=policy))
    ended = reaches(runtime, state, phase)
    assert (ended.exit_code, ended.restart_count) == (status, 0)


def test_what_a_crashed_unit_leaves_running_is_ended_before_the_next_start(
    runtime: ProcessRuntime, make_unit: MakeUnit, tmp_path: Path
) -> None:
    pids = tmp_path / "pids"
    state = runtime.start(
        make_unit(f"""
            import os, signal, time
            if os.fork() == 0:
                os.setsid()
                with open({str(pids)!r}, "a") as file:
                    print(os.getpid(), file=file)
                time.sleep(600)
            while not os.path.exists({str(pids)!r}) or os.path.getsize({str(pids)!r}) == 0:
                time.sleep(0.01)
            if len(open({str(pids)!r}).readlines()) < 2:
                os.kill(os.getpid(), signal.SIGSEGV)
            time.sleep(600)
        """)
    )
    first, _ = eventually_words(pids, count=2)
    assert identify(int(first)) is None
    now = runtime.state(state.id)
    assert now is not None
    assert now.restart_count == 1


def test_the_engine_dies_with_its_supervisor_and_what_remains_is_told_and_ended(
    runtime: ProcessRuntime, workspace: Workspace, make_unit: MakeUnit
) -> None:
    state = runtime.start(make_unit(DAEMONIZES))
    eventually(lambda: [line.text for line in runtime.logs(state, LogQuery())] == ["daemon"])
    kill_supervisor(workspace)
    [orphan] = members(f"{workspace.id}/")
    dead = runtime.state(state.id)
    assert dead is not None
    assert (dead.phase, dead.alive) == ("dead", False)
    assert dead.error == "its supervisor was killed, 1 of its processes remain; `pmpctl down` ends them"
    runtime.stop(dead, timeout_seconds=5)
    assert identify(orphan.pid) is None
    ended = runtime.state(state.id)
    assert ended is not None
    assert (ended.phase, ended.error) == ("exited", "")
    assert [line.text for line in runtime.logs(ended, LogQuery(follow=True))] == ["daemon"]


def test_the_next_start_ends_what_a_killed_supervisor_left(
    runtime: ProcessRuntime, workspace: Workspace, make_unit: MakeUnit
) -> None:
    state = runtime.start(make_unit(DAEMONIZES))
    eventually(lambda: [line.text for line in runtime.logs(state, LogQuery())] == ["daemon"])
    kill_supervisor(workspace)
    [orphan] = members(f"{workspace.id}/")
    again = runtime.start(make_unit(SLEEPS))
    assert identify(orphan.pid) is None
    assert runtime.units() == [again]


def test_a_supervisor_that_hangs_is_overruled(
    runtime: ProcessRuntime, workspace: Workspace, make_unit: MakeUnit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_module, "SUPERVISOR_SECONDS", 0.5)
    state = runtime.start(make_unit(DAEMONIZES))
    os.kill(record(workspace)["supervisor"]["pid"], signal.SIGSTOP)
    runtime.stop(state, timeout_seconds=0.1)
    assert members(f"{workspace.id}/") == set()
    stopped = runtime.state(state.id)
    assert stopped is not None
    assert stopped.phase == "exited"


def test_a_process_that_got_a_pid_of_ours_is_left_alone(
    runtime: ProcessRuntime, workspace: Workspace, make_unit: MakeUnit, foreign_process: subprocess.Popen[bytes]
) -> None:
    state = runtime.start(make_unit(SLEEPS))
    ours = record(workspace)
    kill_supervisor(workspace)
    reused = {key: ours[key] | {"pid": foreign_process.pid} for key in ("supervisor", "child")}
    change_record(workspace, **reused)
    dead = runtime.state(state.id)
    assert dead is not None
    assert (dead.phase, dead.error) == ("dead", "its supervisor was killed")
    runtime.stop(dead, timeout_seconds=0)
    runtime.remove(dead)
    assert foreign_process.poll() is None


def test_even_a_pid_reused_within_the_same_tick_is_told_by_its_missing_marker(
    runtime: ProcessRuntime, workspace: Workspace, make_unit: MakeUnit, foreign_process: subprocess.Popen[bytes]
) -> None:
    state = runtime.start(make_unit(SLEEPS))
    kill_supervisor(workspace)
    twin = identify(foreign_process.pid)
    assert twin is not None
    change_record(workspace, supervisor={"pid": twin.pid, "start_ticks": twin.start_ticks})
    dead = runtime.state(state.id)
    assert dead is not None
    assert dead.phase == "dead"
    runtime.remove(dead)
    assert foreign_process.poll() is None


def test_after_a_restart_of_the_machine_a_unit_has_exited(
    runtime: ProcessRuntime, workspace: Workspace, make_unit: MakeUnit, foreign_process: subprocess.Popen[bytes]
) -> None:
    state = runtime.start(make_unit(SLEEPS))
    kill_supervisor(workspace)
    twin = identify(foreign_process.pid)
    assert twin is not None
    same_numbers = {"pid": twin.pid, "start_ticks": twin.start_ticks}
    change_record(workspace, boot_id="another boot", supervisor=same_numbers, child=same_numbers)
    [exited] = runtime.units()
    assert (exited.id, exited.phase, exited.error) == (state.id, "exited", "the machine was restarted")
    assert runtime.start(make_unit(SLEEPS)).phase == "running"


def test_a_unit_whose_record_was_deleted_is_still_seen_and_cleaned_up(
    runtime: ProcessRuntime, workspace: Workspace, make_unit: MakeUnit
) -> None:
    state = runtime.start(make_unit(SLEEPS))
    (workspace.process_dir / "engine.json").unlink()
    [lost] = runtime.units()
    assert (lost.id, lost.role, lost.phase) == (state.id, "engine", "running")
    assert "its record was removed" in lost.error
    assert runtime.clean()[0] == "processes of the engine that nothing kept a record of"
    assert runtime.units() == []
    assert members(f"{workspace.id}/") == set()


def test_a_damaged_record_is_cleaned_up(runtime: ProcessRuntime, workspace: Workspace) -> None:
    workspace.process_dir.mkdir(parents=True)
    path = workspace.process_dir / "engine.json"
    path.write_text('{"phase": "run')
    assert runtime.units() == []
    assert runtime.clean() == [str(path)]
    assert runtime.clean() == []


def test_another_users_workspace_is_not_taken_for_an_empty_one(
    runtime: ProcessRuntime, workspace: Workspace, make_unit: MakeUnit
) -> None:
    state = runtime.start(make_unit(SLEEPS))
    path = workspace.process_dir / "engine.json"
    is_root = os.geteuid() == 0
    path.chmod(0)
    if is_root:
        os.seteuid(65534)
    try:
        with pytest.raises(WorkspaceNotWritable, match=r"engine\.json cannot be read") as caught:
            runtime.units()
    finally:
        if is_root:
            os.seteuid(0)
        path.chmod(0o600)
    assert "as the user who started" in caught.value.cure
    assert runtime.units() == [state]


def test_a_program_that_cannot_be_executed_leaves_nothing_and_keeps_the_log_of_the_one_before(
    runtime: ProcessRuntime, workspace: Workspace, make_unit: MakeUnit, tmp_path: Path
) -> None:
    before = runtime.start(make_unit("print('before')", restart="no"))
    reaches(runtime, before, "exited")
    script = tmp_path / "script"
    script.write_text("#!/no/such/interpreter\n")
    script.chmod(0o755)
    with pytest.raises(EngineProgramMissing, match="not there or not executable") as caught:
        runtime.start(make_unit("", argv=(str(script),)))
    assert "scripts/start.sh" in caught.value.cure
    assert runtime.units() == []
    assert members(f"{workspace.id}/") == set()
    assert list(workspace.process_dir.iterdir()) == []
    assert (workspace.logs_dir / "engine.log").read_text().endswith("before\n")


def test_a_file_that_is_no_program_is_named_as_the_system_names_it(
    runtime: ProcessRuntime, make_unit: MakeUnit, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    data.write_bytes(b"\x00\x01")
    data.chmod(0o755)
    with pytest.raises(RuntimeFailed, match="Exec format error"):
        runtime.start(make_unit("", argv=(str(data),)))
    assert runtime.units() == []


def test_a_supervisor_that_never_answers_leaves_nothing(
    runtime: ProcessRuntime, workspace: Workspace, make_unit: MakeUnit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_launch, "HANDSHAKE_SECONDS", 0.0)
    with pytest.raises(RuntimeFailed, match="did not answer"):
        runtime.start(make_unit(SLEEPS))
    assert runtime.units() == []
    assert members(f"{workspace.id}/") == set()


def test_a_supervisor_that_cannot_run_shows_why(
    runtime: ProcessRuntime, make_unit: MakeUnit, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "json.py").write_text("raise RuntimeError('a broken installation')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(RuntimeFailed, match="the supervisor ended before") as caught:
        runtime.start(make_unit(SLEEPS))
    assert caught.value.details[-1] == "RuntimeError: a broken installation"
    assert runtime.units() == []


def test_the_supervisor_is_light() -> None:
    heavy = {"asyncio", "docker", "httpx", "logging", "psutil", "pydantic", "rich", "typer"}
    code = f"import sys, pmpctl.runtime.supervisor; print(sorted({heavy!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
