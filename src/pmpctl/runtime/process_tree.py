"""Finding and ending processes: by identity, by descent, and by the marker that every process of a unit carries."""

import contextlib
import os
import re
import signal
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

MARKER = "PMPCTL_UNIT"
"""The environment variable that each process of a unit inherits: workspace/role/start."""

CARD_MARKER = "PMPCTL_CARD"
"""What an engine will take of which GPUs, for other workspaces to see."""

PROC = Path("/proc")
CONTAINER_ID = re.compile(r"[0-9a-f]{64}")
KILL_SECONDS = 10.0
POLL_SECONDS = 0.02


@dataclass(frozen=True, slots=True, order=True)
class ProcessId:
    """A process and no later one with its pid: the start is counted since boot, so setting the clock cannot move it."""

    pid: int
    start_ticks: int


@dataclass(frozen=True, slots=True)
class _Stat:
    process: ProcessId
    parent: int
    state: str


def boot_id() -> str:
    return (PROC / "sys/kernel/random/boot_id").read_text().strip()


def identify(pid: int) -> ProcessId | None:
    """None for a pid that is free, or whose process has ended and only waits to be collected."""
    stat = _stat(pid)
    return stat.process if stat and stat.state not in "ZX" else None


def is_alive(process: ProcessId) -> bool:
    return identify(process.pid) == process


def environment(pid: int) -> dict[str, str]:
    """What the process was started with; empty for a process that is gone or another user's."""
    try:
        data = (PROC / str(pid) / "environ").read_bytes()
    except OSError:
        return {}
    pairs = (item.partition("=") for item in data.decode(errors="surrogateescape").split("\0") if "=" in item)
    return {name: value for name, _, value in pairs}


def container_of(pid: int) -> str | None:
    """The id of the container that a process runs in; its control group says so, also when the container is removed."""
    try:
        found = CONTAINER_ID.findall((PROC / str(pid) / "cgroup").read_text())
    except OSError:
        return None
    return found[-1] if found else None


def processes_in(container_id: str) -> set[ProcessId]:
    return {
        process
        for pid in running_pids()
        if container_of(pid) == container_id and (process := identify(pid)) is not None
    }


def command_line(pid: int) -> tuple[str, ...]:
    """Empty for a process that is gone; unlike the environment, other users may read it."""
    try:
        data = (PROC / str(pid) / "cmdline").read_bytes()
    except OSError:
        return ()
    return tuple(data.decode(errors="surrogateescape").rstrip("\0").split("\0"))


def marked(prefix: str) -> dict[ProcessId, str]:
    """The processes that carry a marker with this beginning, of those whose environment this user may read."""
    wanted = f"{MARKER}={prefix}".encode()
    found: dict[ProcessId, str] = {}
    for pid in running_pids():
        with contextlib.suppress(OSError):
            if wanted not in (PROC / str(pid) / "environ").read_bytes():
                continue
            marker = environment(pid).get(MARKER, "")
            process = identify(pid)
            if process and marker.startswith(prefix):
                found[process] = marker
    return found


def descendants(roots: Collection[int]) -> set[ProcessId]:
    """All that descends from the given pids, without those themselves."""
    stats = [stat for pid in running_pids() if (stat := _stat(pid))]
    family, found = set(roots), set[ProcessId]()
    grown = True
    while grown:
        grown = False
        for stat in stats:
            if stat.parent in family and stat.process.pid not in family:
                family.add(stat.process.pid)
                grown = True
                if stat.state not in "ZX":
                    found.add(stat.process)
    return found


def members(prefix: str) -> set[ProcessId]:
    """Everything that runs under a marker, also what cleaned its environment but still has a marked ancestor."""
    found = set(marked(prefix))
    if found:
        found |= descendants([process.pid for process in found])
    return {process for process in found if process.pid != os.getpid()}


def send(processes: Iterable[ProcessId], signum: signal.Signals) -> None:
    for process in processes:
        if is_alive(process):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(process.pid, signum)


def end_all(find: Callable[[], Collection[ProcessId]], grace_seconds: float) -> Collection[ProcessId]:
    """SIGTERM, after the grace SIGKILL, until all that `find` ever found is gone; returns what not even that ended."""
    seen = set[ProcessId]()

    def left() -> list[ProcessId]:
        seen.update(find())
        # One that is being torn down shows no environment any more, but still holds its memory and its GPU.
        return [process for process in seen if is_alive(process)]

    if grace_seconds > 0:
        send(left(), signal.SIGTERM)
        wait_until(lambda: not left(), grace_seconds)
    deadline = time.monotonic() + KILL_SECONDS
    empty_looks = 0
    # Between fork and exec a process shows no environment, so one empty look is not enough.
    while empty_looks < 2:
        remaining = left()
        if remaining and time.monotonic() > deadline:
            return remaining
        send(remaining, signal.SIGKILL)
        empty_looks = 0 if remaining else empty_looks + 1
        time.sleep(POLL_SECONDS)
    return ()


def wait_until(done: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


def running_pids() -> list[int]:
    return [int(name) for name in os.listdir(PROC) if name.isdecimal()]  # noqa: PTH208 (half the time of iterdir)


def _stat(pid: int) -> _Stat | None:
    try:
        data = (PROC / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return None
    # The name stands in parentheses and may itself hold spaces and parentheses.
    fields = data.rpartition(")")[2].split()
    return _Stat(ProcessId(pid, start_ticks=int(fields[19])), parent=int(fields[1]), state=fields[0])
