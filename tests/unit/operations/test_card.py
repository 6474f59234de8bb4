"""The proof that the card is free: real processes that hold memory, as a stand-in for the driver tells it."""

import importlib.util
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from pmpctl.errors import CardNotFree
from pmpctl.operations.card import CardProof, EngineTrace, prove_free, trace_engine
from pmpctl.operations.events import Event, Notice, Operation, PhaseProgress
from pmpctl.planning.plan import LABEL_PLAN, LABEL_PROFILE, GpuRequest, Plan, Unit
from pmpctl.runtime.process import ProcessRuntime
from pmpctl.runtime.process_record import UnitRecord, record_path
from pmpctl.runtime.process_tree import MARKER
from pmpctl.workspace import Workspace
from tests.support import eventually

NVML = Path(__file__).parents[2] / "world" / "nvml" / "pynvml.py"
GIB = 1 << 30

# Of the 23.5 GiB that CUDA has of an A30 with 24; the stand-in keeps half a GiB for itself.
HALF = ("--gpu-memory-utilization", "0.5")
NEARLY_ALL = ("--gpu-memory-utilization", "0.9")


@pytest.fixture
def held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with an A30; the folder says which processes hold how many MiB of it."""
    folder = tmp_path / "held"
    folder.mkdir()
    spec = importlib.util.spec_from_file_location("stand_in_nvml", NVML)
    assert spec and spec.loader
    driver = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(driver)
    monkeypatch.setattr("pmpctl.host.gpus.pynvml", driver)
    monkeypatch.setenv("STAND_IN_GPU", "NVIDIA A30:24576")
    monkeypatch.setenv("STAND_IN_GPU_HELD", str(folder))
    return folder


@pytest.fixture
def runtime(workspace: Workspace) -> Iterator[ProcessRuntime]:
    runtime = ProcessRuntime(workspace)
    yield runtime
    for state in runtime.units():
        runtime.remove(state)


def engine_of(workspace: Workspace, *argv: str, gpu: bool = True) -> Unit:
    return Unit(
        role="engine",
        name="engine",
        image="",
        argv=argv,
        env={},
        labels={LABEL_PROFILE: "next", LABEL_PLAN: "0123456789abcdef"},
        health_url="",
        gpu=GpuRequest("device-requests") if gpu else None,
    )


def plan_of(workspace: Workspace, *argv: str, gpu: bool = True) -> Plan:
    engine = engine_of(workspace, "vllm", "serve", "acme/next", *argv, gpu=gpu)
    return Plan(
        workspace=workspace.id,
        runtime="process",
        profile="next",
        model="acme/next",
        served_names=("next",),
        max_model_len=None,
        engine=engine,
        gateway=replace(engine, role="gateway"),
        network="",
        engine_url="",
        base_url="",
        start_timeout_seconds=60,
        requests={},
    )


def run(operation: Operation[CardProof], see: Callable[[Event], object] = lambda _: None) -> CardProof:
    while True:
        try:
            see(next(operation))
        except StopIteration as end:
            proof: CardProof = end.value
            return proof


@contextmanager
def process(
    held: Path, mebibytes: int, title: str = "blender", **environment: str
) -> Iterator["subprocess.Popen[bytes]"]:
    with subprocess.Popen([title, "60"], executable="/bin/sleep", env=environment, start_new_session=True) as running:
        (held / str(running.pid)).write_text(str(mebibytes))
        try:
            yield running
        finally:
            running.kill()


def test_an_idle_card_is_proved_free_by_the_driver(held: Path, runtime: ProcessRuntime, workspace: Workspace) -> None:
    proof = run(prove_free(runtime, plan_of(workspace, *NEARLY_ALL), (), timeout_seconds=10))

    assert (proof.how, proof.enough, proof.ended) == ("driver", True, ())
    assert proof.free_bytes == 24064 << 20
    assert proof.needed_bytes == pytest.approx(0.9 * 23.5 * GIB)


def test_memory_that_the_driver_frees_late_is_waited_for_and_the_rest_is_told(
    held: Path, runtime: ProcessRuntime, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAND_IN_GPU_LAG_SECONDS", "1.5")
    with process(held, 20480) as engine:
        engine.kill()
        engine.wait()
    seen: list[Event] = []

    proof = run(prove_free(runtime, plan_of(workspace, *NEARLY_ALL), (), timeout_seconds=30), seen.append)

    assert proof.enough
    assert proof.seconds > 1
    waits = [event.message for event in seen if isinstance(event, PhaseProgress)]
    # 21.15 GiB are asked for, 3.5 are free.
    assert waits == ["waiting for 17.65 GiB more"]


def test_a_card_whose_memory_still_comes_back_is_not_free_yet(
    held: Path, runtime: ProcessRuntime, workspace: Workspace
) -> None:
    quiet = threading.Event()

    def free_in_steps(path: Path) -> None:
        for mebibytes in range(9000, 0, -300):
            path.with_suffix(".new").write_text(str(mebibytes))
            path.with_suffix(".new").replace(path)
            time.sleep(0.04)
        quiet.set()

    with process(held, 9000) as ending:
        threading.Thread(target=free_in_steps, args=(held / str(ending.pid),)).start()
        proof = run(prove_free(runtime, plan_of(workspace, *HALF), (), timeout_seconds=30))

        assert quiet.is_set()
        assert proof.enough


def test_whoever_else_holds_the_card_is_named_and_left_alone(
    held: Path, runtime: ProcessRuntime, workspace: Workspace
) -> None:
    with process(held, 20480) as other, pytest.raises(CardNotFree) as caught:
        run(prove_free(runtime, plan_of(workspace, *NEARLY_ALL), (), timeout_seconds=0.5))

        assert other.poll() is None
    error = caught.value
    assert "next asks for 21.15 GiB of NVIDIA A30, and 3.50 GiB are free" in error.message
    assert f"blender (pid {other.pid}) holds 20.00 GiB" in error.message
    assert f"`kill {other.pid}`" in error.cure


def test_without_insisting_the_lack_is_told_and_no_reason_to_stop(
    held: Path, runtime: ProcessRuntime, workspace: Workspace
) -> None:
    seen: list[Event] = []
    with process(held, 20480):
        operation = prove_free(runtime, plan_of(workspace, *NEARLY_ALL), (), timeout_seconds=0.5, insist=False)
        proof = run(operation, seen.append)

    assert not proof.enough
    assert [event.level for event in seen if isinstance(event, Notice)] == ["warning"]


def test_an_orphan_that_the_trace_knows_is_named_ended_and_waited_for(
    held: Path, runtime: ProcessRuntime, workspace: Workspace, tmp_path: Path
) -> None:
    """A worker that has left its environment and its session, of an engine whose supervisor was killed."""
    orphan_pid = tmp_path / "orphan"
    engine = engine_of(
        workspace,
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

        proof = run(prove_free(runtime, plan_of(workspace, *NEARLY_ALL), [trace], timeout_seconds=30), seen.append)

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
    with process(held, 1024, "VLLM::EngineCore", **marker) as engine:
        threading.Timer(0.5, engine.kill).start()

        operation = prove_free(
            runtime, plan_of(workspace, *HALF), [EngineTrace("feedfeedfeed", "engine")], timeout_seconds=30
        )
        proof = run(operation)

    assert proof.ended == ()
    assert proof.seconds >= 0.4


def test_another_workspaces_engine_is_named_with_the_command_that_stops_it(
    held: Path, runtime: ProcessRuntime, workspace: Workspace, tmp_path: Path
) -> None:
    other = Workspace(tmp_path / "other")
    other.root.mkdir()
    neighbour = ProcessRuntime(other)
    state = neighbour.start(engine_of(other, "/bin/sleep", "300"))
    try:
        with pytest.raises(CardNotFree) as caught:
            run(prove_free(runtime, plan_of(workspace, *NEARLY_ALL), (), timeout_seconds=0.5))
    finally:
        neighbour.remove(state)
    assert f"the engine of the workspace {other.root}" in caught.value.message
    assert f"`pmpctl --workspace {other.root} down`" in caught.value.cure


@pytest.mark.parametrize("gpu", [False, True])
def test_without_a_driver_or_a_gpu_the_runtimes_word_counts(
    runtime: ProcessRuntime, workspace: Workspace, gpu: bool
) -> None:
    state = runtime.start(engine_of(workspace, "/bin/sleep", "300", gpu=False))
    trace = trace_engine(runtime, state)
    plan = plan_of(workspace, gpu=gpu)
    with pytest.raises(CardNotFree, match=r"still runs|not even SIGKILL"):
        run(prove_free(runtime, plan, [replace(trace, processes=frozenset())], timeout_seconds=0))
    runtime.stop(state, 1)
    runtime.remove(state)

    proof = run(prove_free(runtime, plan, [trace], timeout_seconds=10))

    assert (proof.how, proof.enough, proof.free_bytes) == ("runtime", True, None)
    assert proof.seconds < 1
    assert os.getpid() not in {process.pid for process in trace.processes}
