"""One command at a time may change a workspace; whoever waits is told who holds it."""

import contextlib
import json
import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path

from filelock import BaseFileLock, FileLock, Timeout

from pmpctl.errors import WorkspaceLocked
from pmpctl.host.files import save
from pmpctl.operations.events import Operation, PhaseFinished, PhaseStarted
from pmpctl.runtime.process_tree import ProcessId, identify, is_alive
from pmpctl.workspace import Workspace

_POLL_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Holder:
    """`start_ticks` tell the process from a later one with its pid; `since` is in seconds since the epoch."""

    pid: int
    start_ticks: int
    command: str
    since: float

    def __str__(self) -> str:
        return f"`pmpctl {self.command}`, process {self.pid}, for {time.time() - self.since:.0f} s"


def take_lock(workspace: Workspace, command: str, *, wait: bool = False) -> Operation[AbstractContextManager[None]]:
    """The workspace's lock, for the block that the result is used for.

    Where somebody else has it, it comes when he is done if `wait`; else WorkspaceLocked names his pid, command and age.
    The kernel drops the lock with its owner, so that a killed command never leaves it behind.
    """
    lock = FileLock(workspace.lock_file, timeout=0, mode=0o600)
    began = time.monotonic()
    is_waiting = False
    while not _acquired(lock):
        if not wait:
            raise WorkspaceLocked(
                f"another pmpctl works on {workspace.root}: {_describe(workspace)}",
                cure="Wait until it is done (`--wait` does), or end it, and try again.",
            )
        if not is_waiting:
            is_waiting = True
            yield PhaseStarted("lock", f"Waiting for another pmpctl: {_describe(workspace)}")
        time.sleep(_POLL_SECONDS)
    if is_waiting:
        yield PhaseFinished("lock", time.monotonic() - began)
    return _held(workspace, lock, command)


def _acquired(lock: BaseFileLock) -> bool:
    try:
        lock.acquire()
    except Timeout:
        return False
    return True


@contextlib.contextmanager
def _held(workspace: Workspace, lock: BaseFileLock, command: str) -> Iterator[None]:
    try:
        holder = Holder(os.getpid(), _start_ticks(), command, time.time())
        save(_holder_file(workspace), json.dumps(asdict(holder)))
        yield
    finally:
        _holder_file(workspace).unlink(missing_ok=True)
        lock.release()


def lock_holder(workspace: Workspace) -> Holder | None:
    """Who works on the workspace now; what a killed command has left behind counts for nothing."""
    holder = _read_holder(workspace)
    return holder if holder is not None and is_alive(ProcessId(holder.pid, holder.start_ticks)) else None


def _start_ticks() -> int:
    process = identify(os.getpid())
    return process.start_ticks if process is not None else 0


def _holder_file(workspace: Workspace) -> Path:
    return workspace.state_dir / "lock.json"


def _read_holder(workspace: Workspace) -> Holder | None:
    try:
        return Holder(**json.loads(_holder_file(workspace).read_text()))
    except (OSError, ValueError, TypeError):
        return None


def _describe(workspace: Workspace) -> str:
    holder = _read_holder(workspace)
    return str(holder) if holder is not None else "its owner has not said who it is"
