"""The GPUs of this host, as the driver's own library (NVML) sees them."""

from dataclasses import dataclass
from typing import Any

import psutil
import pynvml

ENGINE_TITLE = "VLLM::"
"""How the engine's processes call themselves (vLLM: set_process_title)."""


@dataclass(frozen=True, slots=True)
class GpuProcess:
    pid: int
    name: str
    used_bytes: int

    @property
    def is_engine(self) -> bool:
        return self.name.startswith(ENGINE_TITLE)

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

    @property
    def held_by_engines_bytes(self) -> int:
        return sum(process.used_bytes for process in self.processes if process.is_engine)

    @property
    def others(self) -> tuple[GpuProcess, ...]:
        return tuple(process for process in self.processes if not process.is_engine)


def list_gpus() -> tuple[Gpu, ...]:
    """Empty where there is no driver or no card; a card that does not answer is left out."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return ()
    try:
        return tuple(gpu for index in range(pynvml.nvmlDeviceGetCount()) if (gpu := _read(index)) is not None)
    finally:
        pynvml.nvmlShutdown()


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
    try:
        running = pynvml.nvmlDeviceGetComputeRunningProcesses(handle)
    except pynvml.NVMLError:
        return ()
    return tuple(
        GpuProcess(each.pid, _name(each.pid), int(each.usedGpuMemory)) for each in running if each.usedGpuMemory
    )


def _name(pid: int) -> str:
    try:
        return " ".join(psutil.Process(pid).cmdline()[:1]) or psutil.Process(pid).name()
    except psutil.Error:
        return "a process of another user or container"
