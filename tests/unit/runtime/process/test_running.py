"""A unit from its start to its end, when nothing goes wrong with the supervisor."""

import json
import os
import stat
import subprocess
import sys
import textwrap
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from pmpctl.errors import NameConflict, NothingRuns
from pmpctl.planning.plan import GpuRequest
from pmpctl.runtime.base import LogQuery, UnitState
from pmpctl.runtime.process import ProcessRuntime
from pmpctl.runtime.process_tree import identify, members
from pmpctl.workspace import Workspace
from tests.support import eventually
from tests.unit.runtime.process.conftest import MakeUnit, eventually_words

SLEEPS = """
    import time
    print("ready")
    time.sleep(600)
"""
IGNORES_SIGTERM = """
    import signal, time
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print("ready")
    while True:
        time.sleep(600)
"""


def log_texts(runtime: ProcessRuntime, state: UnitState) -> list[str]:
    return [line.text for line in runtime.logs(state, LogQuery())]


def wait_for_line(runtime: ProcessRuntime, state: UnitState, text: str) -> None:
    eventually(lambda: text in log_texts(runtime, state))


def test_a_started_unit_runs_and_says_what_it_is(runtime: ProcessRuntime, make_unit: MakeUnit) -> None:
    before = time.time()
    state = runtime.start(make_unit(SLEEPS))
    assert (state.role, state.name, state.profile, state.plan_hash) == ("engine", "engine", "demo", "0123456789abcdef")
    assert (state.phase, state.exit_code, state.restart_count, state.error) == ("running", None, 0, "")
    assert state.started_at is not None
    assert before <= state.started_at <= time.time()
    assert runtime.units() == [state]
    assert runtime.state(state.id) == runtime.state("engine") == state
    assert runtime.state("gateway") is None


def test_a_unit_survives_the_command_that_started_it_and_its_terminal(
    runtime: ProcessRuntime, workspace: Workspace, tmp_path: Path
) -> None:
    program = tmp_path / "engine.py"
    program.write_text("import time\ntime.sleep(600)\n")
    starter = tmp_path / "starter.py"
    starter.write_text(
        textwrap.dedent(f"""
            import fcntl, sys, termios
            from pathlib import Path
            from pmpctl.planning.plan import Unit
            from pmpctl.runtime.process import ProcessRuntime
            from pmpctl.workspace import Workspace
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
            unit = Unit("engine", "engine", "", (sys.executable, "-IS", {str(program)!r}), {{}}, {{}}, "")
            ProcessRuntime(Workspace(Path({str(workspace.root)!r}))).start(unit)
        """)
    )
    terminal, end = os.openpty()
    # The hangup goes to the session of the one whose terminal this is.
    subprocess.run(
        [sys.executable, str(starter)], stdin=end, stdout=end, stderr=end, start_new_session=True, check=True
    )
    os.close(end)
    os.close(terminal)
    [state] = runtime.units()
    assert state.phase == "running"
    [engine] = [process for process in members(f"{workspace.id}/") if "engine.py" in command(process.pid)]
    assert os.getsid(engine.pid) == engine.pid
    assert Path(f"/proc/{engine.pid}/fd/0").readlink() == Path("/dev/null")
    runtime.stop(state, timeout_seconds=10)
    assert identify(engine.pid) is None


def test_a_unit_that_is_stopped_may_finish_its_work(runtime: ProcessRuntime, make_unit: MakeUnit) -> None:
    state = runtime.start(
        make_unit("""
            import signal, sys, time
            def finish(*_):
                print("drained")
                sys.exit(7)
            signal.signal(signal.SIGTERM, finish)
            print("ready")
            time.sleep(600)
        """)
    )
    wait_for_line(runtime, state, "ready")
    runtime.stop(state, timeout_seconds=30)
    stopped = runtime.state(state.id)
    assert stopped is not None
    assert (stopped.phase, stopped.exit_code, stopped.restart_count, stopped.error) == ("exited", 7, 0, "")
    assert stopped.started_at is not None
    assert stopped.finished_at is not None
    assert stopped.started_at <= stopped.finished_at <= time.time()
    assert log_texts(runtime, stopped) == ["ready", "drained"]


def test_workers_live_until_the_main_process_has_drained(runtime: ProcessRuntime, make_unit: MakeUnit) -> None:
    state = runtime.start(
        make_unit("""
            import os, signal, sys, time
            worker = os.fork()
            if worker == 0:
                time.sleep(600)
            def finish(*_):
                ended, _ = os.waitpid(worker, os.WNOHANG)
                print("worker ended" if ended else "worker lives")
                sys.exit()
            signal.signal(signal.SIGTERM, finish)
            print("ready")
            time.sleep(600)
        """)
    )
    wait_for_line(runtime, state, "ready")
    runtime.stop(state, timeout_seconds=30)
    assert log_texts(runtime, state) == ["ready", "worker lives"]


def test_stopping_leaves_no_grandchild_in_whatever_session_or_environment(
    runtime: ProcessRuntime, make_unit: MakeUnit, tmp_path: Path
) -> None:
    pid_file = tmp_path / "pids"
    state = runtime.start(
        make_unit(f"""
            import os, signal, sys, time
            def daemon(deaf, environment):
                if os.fork():
                    return
                os.setsid()
                if os.fork():
                    os._exit(0)
                program = "import signal, os, time\\n"
                if deaf:
                    program += "signal.signal(signal.SIGTERM, signal.SIG_IGN)\\n"
                program += "with open({str(pid_file)!r}, 'a') as f: print(os.getpid(), file=f)\\ntime.sleep(600)"
                os.execve(sys.executable, [sys.executable, "-IS", "-c", program], environment)
            daemon(False, dict(os.environ))
            daemon(True, dict(os.environ))
            daemon(False, {{}})
            time.sleep(600)
        """)
    )
    pids = eventually_words(pid_file, count=3)
    assert all(identify(int(pid)) for pid in pids)
    runtime.stop(state, timeout_seconds=1)
    assert [identify(int(pid)) for pid in pids] == [None, None, None]


def test_a_unit_that_ignores_sigterm_is_killed_when_its_time_is_up(
    runtime: ProcessRuntime, make_unit: MakeUnit
) -> None:
    state = runtime.start(make_unit(IGNORES_SIGTERM, stop_timeout_seconds=300))
    wait_for_line(runtime, state, "ready")
    began = time.monotonic()
    runtime.stop(state, timeout_seconds=0.5)
    assert 0.5 <= time.monotonic() - began < 10
    stopped = runtime.state(state.id)
    assert stopped is not None
    assert (stopped.phase, stopped.exit_code, stopped.oom_killed) == ("exited", 137, False)


def test_a_stop_that_may_take_long_can_be_cut_short_by_another(
    runtime: ProcessRuntime, workspace: Workspace, make_unit: MakeUnit
) -> None:
    state = runtime.start(make_unit(IGNORES_SIGTERM))
    wait_for_line(runtime, state, "ready")
    patient = threading.Thread(target=runtime.stop, args=(state, 300))
    patient.start()
    eventually((workspace.process_dir / "engine.stop").exists)
    runtime.stop(state, timeout_seconds=0)
    patient.join(timeout=10)
    assert not patient.is_alive()


def test_a_removed_unit_is_forgotten_but_a_running_one_cannot_be_started_twice(
    runtime: ProcessRuntime, workspace: Workspace, make_unit: MakeUnit
) -> None:
    unit = make_unit(SLEEPS)
    state = runtime.start(unit)
    with pytest.raises(NameConflict, match="the engine runs already") as caught:
        runtime.start(unit)
    assert "pmpctl down" in caught.value.cure
    assert runtime.units() == [state]
    runtime.stop(state, timeout_seconds=10)
    runtime.remove(state)
    assert runtime.units() == []
    assert list(workspace.process_dir.iterdir()) == []
    assert runtime.start(unit).id != state.id


def test_engine_and_gateway_run_side_by_side(runtime: ProcessRuntime, make_unit: MakeUnit) -> None:
    engine = runtime.start(make_unit(SLEEPS))
    gateway = runtime.start(make_unit(SLEEPS, role="gateway", name="gateway"))
    assert [state.role for state in runtime.units()] == ["engine", "gateway"]
    runtime.stop(engine, timeout_seconds=10)
    assert [state.phase for state in runtime.units()] == ["exited", "running"]
    assert gateway.id != engine.id


def test_two_workspaces_never_see_each_others_units(
    runtime: ProcessRuntime, make_unit: MakeUnit, tmp_path: Path
) -> None:
    neighbour = tmp_path / "neighbour" / "workspace"
    neighbour.mkdir(parents=True)
    other = ProcessRuntime(Workspace(neighbour))
    unit = make_unit(SLEEPS)
    own, foreign = runtime.start(unit), other.start(unit)
    try:
        assert runtime.units() == [own]
        assert other.units() == [foreign]
        runtime.stop(own, timeout_seconds=10)
        runtime.remove(own)
        assert runtime.clean() == []
        assert runtime.state(foreign.id) is None
        runtime.stop(foreign, timeout_seconds=0)
        assert other.units() == [foreign]
    finally:
        other.stop(foreign, timeout_seconds=10)
        other.remove(foreign)


def test_a_copied_workspace_does_not_take_over_the_units_of_the_first(
    runtime: ProcessRuntime, workspace: Workspace, make_unit: MakeUnit, tmp_path: Path
) -> None:
    state = runtime.start(make_unit(SLEEPS))
    copy = Workspace(tmp_path / "copy")
    subprocess.run(["cp", "-r", workspace.root, copy.root], check=True)
    assert ProcessRuntime(copy).units() == []
    assert ProcessRuntime(copy).clean() == [str(copy.process_dir / "engine.json")]
    assert runtime.units() == [state]


def test_the_record_is_private_and_holds_neither_arguments_nor_environment(
    runtime: ProcessRuntime, workspace: Workspace, make_unit: MakeUnit
) -> None:
    unit = make_unit(SLEEPS, env={"HF_TOKEN": "hf_secret"})
    runtime.start(replace(unit, argv=(*unit.argv, "--api-key=sk-secret")))
    [record] = workspace.process_dir.iterdir()
    assert stat.S_IMODE(record.stat().st_mode) == 0o600
    assert "secret" not in record.read_text()
    assert json.loads(record.read_text())["phase"] == "running"


def test_a_unit_gets_its_own_environment_and_not_the_shells_secrets(
    runtime: ProcessRuntime, workspace: Workspace, make_unit: MakeUnit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    source = """
        import os
        for name in ("AWS_SECRET_ACCESS_KEY", "CUDA_VISIBLE_DEVICES", "HTTPS_PROXY", "PATH", "OWN"):
            print(name, os.environ.get(name))
        print(os.getcwd())
    """
    changes = {"restart": "no", "env": {"OWN": "yes", "PATH": "/usr/bin"}}
    some = make_unit(source, gpu=GpuRequest("device-requests", ("1", "GPU-5")), **changes)
    everything = make_unit(source, role="gateway", gpu=GpuRequest("device-requests"), **changes)
    states = [runtime.start(some), runtime.start(everything)]
    for state in states:
        wait_for_line(runtime, state, str(workspace.root))
    assert log_texts(runtime, states[0])[:-1] == [
        "AWS_SECRET_ACCESS_KEY None",
        "CUDA_VISIBLE_DEVICES 1,GPU-5",
        "HTTPS_PROXY http://proxy:3128",
        "PATH /usr/bin",
        "OWN yes",
    ]
    assert log_texts(runtime, states[1])[1:3] == ["CUDA_VISIBLE_DEVICES 7", "HTTPS_PROXY None"]


def test_a_command_is_executed_as_the_unit_would(runtime: ProcessRuntime, make_unit: MakeUnit, tmp_path: Path) -> None:
    state = runtime.start(make_unit(SLEEPS, env={"OWN": "yes"}, working_dir=str(tmp_path)))
    wait_for_line(runtime, state, "ready")
    assert runtime.execute(state, ["sh", "-c", "echo $OWN; pwd; echo oh >&2; exit 3"]) == (3, f"yes\n{tmp_path}\noh\n")
    assert runtime.execute(state, ["no-such-program"])[0] == 127
    runtime.stop(state, timeout_seconds=10)
    with pytest.raises(NothingRuns, match="the engine does not run"):
        runtime.execute(state, ["true"])


def test_usage_counts_the_memory_of_the_whole_tree(runtime: ProcessRuntime, make_unit: MakeUnit) -> None:
    state = runtime.start(
        make_unit("""
            import os, time
            memory = b"x" * 32 * 1024**2
            if os.fork() == 0:
                own = b"y" * 16 * 1024**2
                print("ready")
            time.sleep(600)
        """)
    )
    wait_for_line(runtime, state, "ready")
    usage = runtime.usage(state)
    assert usage is not None
    assert usage.pids == 2
    assert 48 * 1024**2 < usage.memory_bytes < 80 * 1024**2
    runtime.stop(state, timeout_seconds=10)
    assert runtime.usage(state) is None


def test_following_ends_with_the_unit_and_shows_its_last_words(runtime: ProcessRuntime, make_unit: MakeUnit) -> None:
    state = runtime.start(
        make_unit("""
            import signal, sys, time
            signal.signal(signal.SIGTERM, lambda *_: sys.exit("last words"))
            print("ready")
            time.sleep(600)
        """)
    )
    followed = []
    for line in runtime.logs(state, LogQuery(follow=True)):
        followed.append((line.stream, line.text))
        if line.text == "ready":
            runtime.stop(state, timeout_seconds=10)
    assert followed == [("stdout", "ready"), ("stderr", "last words")]


def test_a_failed_unit_keeps_its_log_until_the_next_start(runtime: ProcessRuntime, make_unit: MakeUnit) -> None:
    failed = runtime.start(make_unit("import sys; sys.exit('CUDA out of memory')", restart="no"))
    eventually(lambda: runtime.state(failed.id).phase == "exited")  # type: ignore[union-attr]
    assert log_texts(runtime, failed) == ["CUDA out of memory"]
    again = runtime.start(make_unit(SLEEPS))
    wait_for_line(runtime, again, "ready")
    assert log_texts(runtime, again) == ["ready"]
    assert log_texts(runtime, failed) == []


def test_a_flood_of_output_is_bounded_and_can_be_stopped(
    runtime: ProcessRuntime, workspace: Workspace, make_unit: MakeUnit
) -> None:
    unit = make_unit(
        """
        while True:
            print("x" * 200)
        """,
        log_max_size_bytes=50_000,
        log_max_files=2,
    )
    state = runtime.start(unit)
    eventually(lambda: len(list(workspace.logs_dir.iterdir())) == 2)
    runtime.stop(state, timeout_seconds=10)
    assert sum(path.stat().st_size for path in workspace.logs_dir.iterdir()) <= 100_000


def command(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
