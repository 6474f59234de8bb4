"""One command at a time may change a workspace; whoever waits is told who holds it."""

import contextlib
import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from pmpctl.errors import WorkspaceLocked
from pmpctl.host.files import save
from pmpctl.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Holder:
    pid: int
    command: str
    since: float


@contextlib.contextmanager
def locked(workspace: Workspace, command: str) -> Iterator[None]:
    """Hold the workspace's lock; raises WorkspaceLocked with the holder's pid, command and age.

    The kernel drops the lock with its owner, so that a killed command never leaves it behind.
    """
    lock = FileLock(workspace.lock_file, timeout=0, mode=0o600)
    try:
        lock.acquire()
    except Timeout as error:
        raise WorkspaceLocked(
            f"another pmpctl works on {workspace.root}: {_describe(workspace)}",
            cure="Wait until it is done, or end it, and try again.",
        ) from error
    try:
        holder = Holder(os.getpid(), command, time.time())
        save(_holder_file(workspace), json.dumps(asdict(holder)))
        yield
    finally:
        _holder_file(workspace).unlink(missing_ok=True)
        lock.release()


def _holder_file(workspace: Workspace) -> Path:
    return workspace.state_dir / "lock.json"


def _describe(workspace: Workspace) -> str:
    try:
        holder = Holder(**json.loads(_holder_file(workspace).read_text()))
    except (OSError, ValueError, TypeError):
        return "its owner has not said who it is"
    return f"`pmpctl {holder.command}`, process {holder.pid}, for {time.time() - holder.since:.0f} s"
