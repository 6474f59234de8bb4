"""The proof that the card is free: real processes that hold memory, as a stand-in for the driver tells it."""

import itertools
import os
import subprocess
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from pmpctl.errors import CardNotFree
from pmpctl.operations.card import EngineTrace, prove_free, trace_engine
from pmpctl.operations.events import Event, Notice, PhaseProgress
from pmpctl.planning.plan import Plan
from pmpctl.runtime.base import RunningEngine
from pmpctl.runtime.process import ProcessRuntime
from pmpctl.runtime.process_record import UnitRecord, record_path
from pmpctl.runtime.process_tree import MARKER
from pmpctl.workspace import Workspace
from tests.cards import engine_of, holding, install_card, plan_of, run_operation
from tests.support import eventually

GIB = 1 << 30

# Of the 23.5 GiB that CUDA has of an A30 with 24; the stand-in keeps half a GiB for itself.
HALF = ("--gpu-memory-utilization", "0.5")
NEARLY_ALL = ("--gpu-memory-utilization", "0.9")


@pytest.fixture
def held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return install_card(tmp_path / "held", monkeypatch)


@pytest.fixture
def runtime(workspace: Workspace) -> Iterator[ProcessRuntime]:
    runtime = ProcessRuntime(workspace)
    yield runtime
    for state in runtime.units():
        runtime.remove(state)


def asking_for(workspace: Workspace, *share: str) -> Plan:
    return plan_of(workspace, engine_of("vllm", "serve", "acme/next", *share))


def test_an_idle_card_is_proved_free_by_the_driver(held: Path, runtime: ProcessRuntime, workspace: Workspace) -> None:
    proof = run_operation(prove_free(runtime, asking_for(workspace, *NEARLY_ALL), (), timeout_seconds=10))

    assert (proof.how, proof.enough, proof.ended) == ("driver", True, ())
    assert proof.free_bytes == 24064 << 20
    assert proof.needed_bytes == pytest.approx(0.9 * 23.5 * GIB)


def test_memory_that_the_driver_frees_late_is_waited_for_and_the_rest_is_told(
    held: Path, runtime: ProcessRuntime, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAND_IN_GPU_LAG_SECONDS", "1.5")
    with holding(held, 20480) as engine:
        engine.kill()
        engine.wait()
    seen: list[Event] = []

    proof = run_operation(prove_free(runtime, asking_for(workspace, *NEARLY_ALL), (), timeout_seconds=30), seen.append)

    assert proof.enough
    assert proof.seconds > 1
    waits = [event.message for event in seen if isinstance(event, PhaseProgress)]
    # 21.15 GiB are asked for, 3.5 are free.
    assert waits == ["waiting for 17.65 GiB more"]


def test_a_card_whose_memory_still_comes_back_is_not_free_yet(
    held: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    # On a busy machine the few looks below take longer than the patience with programs that never rest.
    monkeypatch.setattr("pmpctl.operations.card.REST_SECONDS", 60)

    with holding(held, 9000) as ending:
        file = held / str(ending.pid)

        class FreesAtEachLook(ProcessRuntime):
            left = 9000

            def engines(self) -> Sequence[RunningEngine]:
                self.left = max(0, self.left - 1500)
                file.with_suffix(".new").write_text(str(self.left))
                file.with_suffix(".new").replace(file)
                return super().engines()

        runtime = FreesAtEachLook(workspace)
        proof = run_operation(prove_free(runtime, asking_for(workspace, *HALF), (), timeout_seconds=30))

    assert runtime.left == 0
    assert proof.enough
    assert proof.free_bytes == 24064 << 20


def test_a_program_that_takes_and_frees_all_the_time_is_no_obstacle_where_there_is_enough(
    held: Path, runtime: ProcessRuntime, workspace: Workspace
) -> None:
    over = threading.Event()

    def draw(path: Path) -> None:
        for number in itertools.count():
            path.with_suffix(".new").write_text(str(1000 + number % 40 * 200))
            path.with_suffix(".new").replace(path)
            if over.wait(0.03):
                return

    with holding(held, 1000, "desktop") as desktop:
        threading.Thread(target=draw, args=(held / str(desktop.pid),)).start()
        try:
            proof = run_operation(prove_free(runtime, asking_for(workspace, *HALF), (), timeout_seconds=1))
        finally:
            over.set()

    assert proof.enough


def test_whoever_else_holds_the_card_is_named_and_left_alone(
    held: Path, runtime: ProcessRuntime, workspace: Workspace
) -> None:
    with holding(held, 20480) as other, pytest.raises(CardNotFree) as caught:
        run_operation(prove_free(runtime, asking_for(workspace, *NEARLY_ALL), (), timeout_seconds=0.5))

        assert other.poll() is None
    error = caught.value
    assert "next asks for 21.15 GiB of NVIDIA A30, and 3.50 GiB are free" in error.message
    assert f"blender (pid {other.pid}) holds 20.00 GiB" in error.message
    assert f"`kill {other.pid}`" in error.cure


def test_without_insisting_the_lack_is_told_and_no_reason_to_stop(
    held: Path, runtime: ProcessRuntime, workspace: Workspace
) -> None:
    seen: list[Event] = []
    with holding(held, 20480):
        operation = prove_free(runtime, asking_for(workspace, *NEARLY_ALL), (), timeout_seconds=0.5, insist=False)
        proof = run_operation(operation, seen.append)

    assert not proof.enough
    assert [event.level for event in seen if isinstance(event, Notice)] == ["warning"]


def test_an_orphan_that_the_trace_knows_is_named_ended_and_waited_for(
    held: Path, runtime: ProcessRuntime, workspace: Workspace, tmp_path: Path
) -> None:
    """A worker that has left its environment and its session, of an engine whose supervisor was killed."""
    orphan_pid = tmp_path / "orphan"
    engine = engine_of(
        "/bin/sh",
        "-c",
        f"env -i setsid sh -c 'echo $$ > {orphan_pid}.new; mv {orphan_pid}.new {orphan_pid}; exec sleep 300' & wait",
    )
    state = runtime.start(engine)
    pid = int(eventually(lambda: orphan_pid.exists() and orphan_pid.read_text()))
    (held / str(pid)).write_text("20480")
    trace = trace_engine(runtime, state)
    try:
        record = UnitRecord.read(record_path(workspace.process_dir, "engine"))
        assert record and record.supervisor
        supervisor = psutil.Process(record.supervisor.pid)
        supervisor.kill()
        eventually(lambda: not supervisor.is_running())
        runtime.stop(state, 1)
        runtime.remove(state)
        assert psutil.pid_exists(pid)
        seen: list[Event] = []

        proof = run_operation(
            prove_free(runtime, asking_for(workspace, *NEARLY_ALL), [trace], timeout_seconds=30), seen.append
        )

        assert proof.enough
        assert len(proof.ended) == 1
        assert f"(pid {pid})" in proof.ended[0]
        warnings = [event.message for event in seen if isinstance(event, Notice)]
        assert any(f"(pid {pid}) was left behind by the old engine" in message for message in warnings)
        eventually(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    finally:
        subprocess.run(["kill", "-9", str(pid)], check=False, capture_output=True)


def test_a_process_that_ends_just_now_is_not_counted_as_an_orphan(
    held: Path, runtime: ProcessRuntime, workspace: Workspace
) -> None:
    marker = {MARKER: f"{workspace.id}/engine/feedfeedfeed"}
    with holding(held, 1024, "VLLM::EngineCore", **marker) as engine:
        threading.Timer(0.5, engine.kill).start()

        operation = prove_free(
            runtime, asking_for(workspace, *HALF), [EngineTrace("feedfeedfeed", "engine")], timeout_seconds=30
        )
        proof = run_operation(operation)

    assert proof.ended == ()
    assert proof.seconds >= 0.4


def test_another_workspaces_engine_is_named_with_the_command_that_stops_it(
    held: Path, runtime: ProcessRuntime, workspace: Workspace, tmp_path: Path
) -> None:
    other = Workspace(tmp_path / "other")
    other.root.mkdir()
    neighbour = ProcessRuntime(other)
    state = neighbour.start(engine_of("/bin/sleep", "300"))
    try:
        with pytest.raises(CardNotFree) as caught:
            run_operation(prove_free(runtime, asking_for(workspace, *NEARLY_ALL), (), timeout_seconds=0.5))
    finally:
        neighbour.remove(state)
    assert f"the engine of the workspace {other.root}" in caught.value.message
    assert f"`pmpctl --workspace {other.root} down`" in caught.value.cure


@pytest.mark.parametrize("gpu", [False, True])
def test_without_a_driver_or_a_gpu_the_runtimes_word_counts(
    runtime: ProcessRuntime, workspace: Workspace, gpu: bool
) -> None:
    state = runtime.start(engine_of("/bin/sleep", "300", gpu=False))
    trace = trace_engine(runtime, state)
    plan = plan_of(workspace, engine_of("vllm", "serve", "acme/next", gpu=gpu))
    with pytest.raises(CardNotFree, match=r"still runs|does not end"):
        run_operation(prove_free(runtime, plan, [replace(trace, processes=frozenset())], timeout_seconds=0))
    runtime.stop(state, 1)
    runtime.remove(state)

    proof = run_operation(prove_free(runtime, plan, [trace], timeout_seconds=10))

    assert (proof.how, proof.enough, proof.free_bytes) == ("runtime", True, None)
    assert proof.seconds < 5
    assert os.getpid() not in {process.pid for process in trace.processes}
