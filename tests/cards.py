"""A machine with an imaginary card inside the test's own process, and plans for it."""

import importlib.util
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import pytest

from pmpctl.operations.events import Event, Operation
from pmpctl.planning.plan import LABEL_PLAN, LABEL_PROFILE, GpuRequest, Plan, RuntimeKind, Unit
from pmpctl.workspace import Workspace

T = TypeVar("T")

NVML = Path(__file__).parent / "world" / "nvml" / "pynvml.py"


def install_card(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An A30 of 24 GB; the folder, which is made, says which processes hold how many MiB of it."""
    folder.mkdir()
    spec = importlib.util.spec_from_file_location("stand_in_nvml", NVML)
    assert spec and spec.loader
    driver = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(driver)
    monkeypatch.setattr("pmpctl.host.gpus.pynvml", driver)
    monkeypatch.setenv("STAND_IN_GPU", "NVIDIA A30:24576")
    monkeypatch.setenv("STAND_IN_GPU_HELD", str(folder))
    return folder


@contextmanager
def holding(
    held: Path, mebibytes: int, title: str = "blender", **environment: str
) -> Iterator["subprocess.Popen[bytes]"]:
    """A process that holds so much of the card for as long as it lives."""
    with subprocess.Popen([title, "60"], executable="/bin/sleep", env=environment, start_new_session=True) as running:
        (held / str(running.pid)).write_text(str(mebibytes))
        try:
            yield running
        finally:
            running.kill()


def engine_of(*argv: str, gpu: bool = True) -> Unit:
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


def plan_of(workspace: Workspace, engine: Unit, runtime: RuntimeKind = "process") -> Plan:
    return Plan(
        workspace=workspace.id,
        runtime=runtime,
        profile="next",
        model="acme/next",
        served_names=("next",),
        max_model_len=None,
        engine=engine,
        gateway=engine,
        network="",
        engine_url="",
        base_url="",
        start_timeout_seconds=60,
        requests={},
    )


def run_operation(operation: Operation[T], see: Callable[[Event], object] = lambda _: None) -> T:
    while True:
        try:
            see(next(operation))
        except StopIteration as end:
            result: T = end.value
            return result
