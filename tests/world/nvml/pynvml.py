"""A stand-in for the driver's library, on PYTHONPATH of a command: one card, as STAND_IN_GPU says.

STAND_IN_GPU is `NAME:MIB`, such as `NVIDIA A30:24576`; without it there is no driver. The card is idle but for
STAND_IN_GPU_PROCESSES, such as `4711:8192,4712:512`: process ids and the MiB that they hold; and for
STAND_IN_GPU_HELD, a folder in which a file `4711` with the text `8192` says the same for as long as process 4711 lives.
STAND_IN_GPU_LAG_SECONDS is how long the driver takes to free what a process of that folder held when it ends.
STAND_IN_GPU_MUTE=1 is a driver that does not tell which process holds what, as on WSL.
"""

import os
import time
import uuid
from dataclasses import dataclass
from pathlib import Path


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
    held += [[path.name, path.read_text()] for path in _files() if _is_alive(path)]
    return [Process(int(pid), int(mebibytes) << 20) for pid, mebibytes in held]


def _files() -> list[Path]:
    folder = os.environ.get("STAND_IN_GPU_HELD")
    return [path for path in Path(folder).iterdir() if path.name.isdecimal()] if folder else []


def _is_alive(path: Path) -> bool:
    try:
        return Path(f"/proc/{path.name}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def _not_yet_freed_bytes() -> int:
    lag_seconds = float(os.environ.get("STAND_IN_GPU_LAG_SECONDS") or 0)
    total = 0
    for path in _files():
        if _is_alive(path):
            continue
        ended = path.with_suffix(".ended")
        if not ended.exists():
            ended.touch()
        if time.time() - ended.stat().st_mtime < lag_seconds:
            total += int(path.read_text()) << 20
    return total


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
    return Memory(total, total - (512 << 20) - held - _not_yet_freed_bytes())


def nvmlDeviceGetUUID(handle: int) -> str:  # noqa: N802
    # Another folder is another card, so that tests which run at a time are no neighbours.
    return f"GPU-{uuid.uuid5(uuid.NAMESPACE_URL, os.environ.get('STAND_IN_GPU_HELD', ''))}"


def nvmlDeviceGetName(handle: int) -> str:  # noqa: N802
    return _card()[0]


def nvmlDeviceGetComputeRunningProcesses(handle: int) -> list[Process]:  # noqa: N802
    return [] if os.environ.get("STAND_IN_GPU_MUTE") else _processes()


def nvmlDeviceGetGraphicsRunningProcesses(handle: int) -> list[Process]:  # noqa: N802
    return []
