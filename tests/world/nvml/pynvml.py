"""A stand-in for the driver's library, on PYTHONPATH of a command: one card, as STAND_IN_GPU says.

STAND_IN_GPU is `NAME:MIB`, such as `NVIDIA A30:24576`; without it there is no driver. The card is idle but for
STAND_IN_GPU_PROCESSES, such as `4711:8192,4712:512`: process ids and the MiB that they hold.
"""

import os
from dataclasses import dataclass


class NVMLError(Exception):
    pass


@dataclass
class Memory:
    total: int
    free: int


@dataclass
class Process:
    pid: int
    usedGpuMemory: int  # noqa: N815 - the name is the driver's


def _processes() -> list[Process]:
    held = [each.split(":") for each in os.environ.get("STAND_IN_GPU_PROCESSES", "").split(",") if each]
    return [Process(int(pid), int(mebibytes) << 20) for pid, mebibytes in held]


def _card() -> tuple[str, int]:
    name, _, mebibytes = os.environ["STAND_IN_GPU"].partition(":")
    return name, int(mebibytes) << 20


def nvmlInit() -> None:  # noqa: N802 - the names are the driver's
    if "STAND_IN_GPU" not in os.environ:
        raise NVMLError("Driver Not Loaded")


def nvmlShutdown() -> None:  # noqa: N802
    pass


def nvmlDeviceGetCount() -> int:  # noqa: N802
    return 1


def nvmlDeviceGetHandleByIndex(index: int) -> int:  # noqa: N802
    return index


def nvmlDeviceGetMemoryInfo(handle: int) -> Memory:  # noqa: N802
    total = _card()[1]
    held = sum(process.usedGpuMemory for process in _processes())
    return Memory(total, total - (512 << 20) - held)


def nvmlDeviceGetUUID(handle: int) -> str:  # noqa: N802
    return "GPU-dddddddd-dddd-dddd-dddd-dddddddddddd"


def nvmlDeviceGetName(handle: int) -> str:  # noqa: N802
    return _card()[0]


def nvmlDeviceGetComputeRunningProcesses(handle: int) -> list[Process]:  # noqa: N802
    return _processes()
