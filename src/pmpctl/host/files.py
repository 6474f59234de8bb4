"""Folders and small files of the workspace: made with the owner's rights, written atomically."""

import contextlib
import os
import tempfile
from pathlib import Path

from pmpctl.errors import DiskFull, WorkspaceNotWritable

NO_SPACE = 28


def make_folder(path: Path, *, uid: int, gid: int, mode: int = 0o755) -> None:
    """Make a folder and its parents; what is new belongs to `uid`, also when root makes it."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    try:
        path.mkdir(mode=mode, parents=True, exist_ok=True)
        if os.geteuid() == 0:
            for folder in missing:
                os.chown(folder, uid, gid)
    except OSError as error:
        raise _cannot_write(path, error) from error


def hand_over(path: Path, *, uid: int, gid: int) -> None:
    """Give a folder to the user that a container runs as; only root can, and only root needs to."""
    if os.geteuid() == 0:
        os.chown(path, uid, gid)


def write_atomically(path: Path, text: str, *, mode: int = 0o600) -> None:
    """The file is either the old one or the new one, never half of it."""
    try:
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "w") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).chmod(mode)
            Path(temporary).replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                Path(temporary).unlink()
            raise
    except OSError as error:
        raise _cannot_write(path, error) from error


def _cannot_write(path: Path, error: OSError) -> DiskFull | WorkspaceNotWritable:
    if error.errno == NO_SPACE:
        return DiskFull(f"no space left to write {path}", cure="Free some space on that disk and try again.")
    return WorkspaceNotWritable(
        f"{path} cannot be written: {error.strerror}", cure="Make the folder writable, or choose another --workspace."
    )
