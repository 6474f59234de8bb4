"""The GPUs of this host, as the driver's own library (NVML) sees them."""

import contextlib
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import psutil
import pynvml

ALL = ("all",)


@dataclass(frozen=True, slots=True)
class GpuProcess:
    """`used_bytes` is 0 where the driver does not tell how much it is."""

    pid: int
    name: str
    used_bytes: int

    def __str__(self) -> str:
        return f"{self.name} (pid {self.pid})"


@dataclass(frozen=True, slots=True)
class Gpu:
    index: int
    uuid: str
    name: str
    total_bytes: int
    free_bytes: int
    processes: tuple[GpuProcess, ...] = ()

    def held_by(self, pids: Collection[int]) -> int:
        return sum(process.used_bytes for process in self.processes if process.pid in pids)


def list_gpus() -> tuple[Gpu, ...]:
    """Empty where there is no driver or no card; a card that does not answer is left out."""
    with gpu_driver() as read:
        return read()


@contextlib.contextmanager
def gpu_driver() -> Iterator[Callable[[], tuple[Gpu, ...]]]:
    """Keeps the driver loaded for several looks; on some machines it takes a second to load."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        yield tuple
        return
    try:
        yield _read_all
    finally:
        pynvml.nvmlShutdown()


def select_gpus(gpus: Sequence[Gpu], devices: Sequence[str], count: int) -> tuple[Gpu, ...]:
    """The first `count` of those that `devices` names; MIG slices are none of them."""
    wanted = [gpu for gpu in gpus if tuple(devices) == ALL or str(gpu.index) in devices or gpu.uuid in devices]
    return tuple(wanted[:count])


def _read_all() -> tuple[Gpu, ...]:
    return tuple(gpu for index in range(pynvml.nvmlDeviceGetCount()) if (gpu := _read(index)) is not None)


def _read(index: int) -> Gpu | None:
    try:
        handle = pynvml.nvmlDeviceGetHandleByIndex(index)
        memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
        return Gpu(
            index=index,
            uuid=pynvml.nvmlDeviceGetUUID(handle),
            name=pynvml.nvmlDeviceGetName(handle),
            total_bytes=int(memory.total),
            free_bytes=int(memory.free),
            processes=_processes(handle),
        )
    except pynvml.NVMLError:
        return None


def _processes(handle: Any) -> tuple[GpuProcess, ...]:
    """Those that hold memory; empty where the driver does not tell (a container, a MIG slice, WSL)."""
    found: dict[int, GpuProcess] = {}
    for list_running in (
        pynvml.nvmlDeviceGetComputeRunningProcesses,
        pynvml.nvmlDeviceGetGraphicsRunningProcesses,
    ):
        with contextlib.suppress(pynvml.NVMLError):
            for each in list_running(handle):
                # One that computes and draws is in both lists with the same figure.
                found[each.pid] = GpuProcess(each.pid, process_name(each.pid), int(each.usedGpuMemory or 0))
    return tuple(found.values())


def process_name(pid: int) -> str:
    try:
        return " ".join(psutil.Process(pid).cmdline()[:1]) or psutil.Process(pid).name()
    except psutil.Error:
        return "a process of another user or container"
