"""Folders and small files of the workspace: made with the owner's rights, failures said with a cure."""

import errno
import os
from pathlib import Path

from pmpctl.errors import DiskFull, WorkspaceNotWritable
from pmpctl.files import remove_for_good, write_atomically


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


def save(path: Path, text: str, *, mode: int = 0o600, owner: tuple[int, int] | None = None) -> None:
    """Write a small file of the workspace atomically; raises what a user can mend."""
    try:
        write_atomically(path, text, mode, owner)
    except OSError as error:
        raise _cannot_write(path, error) from error


def remove(path: Path) -> None:
    """Remove a small file for good, also through a power cut; raises what a user can mend."""
    try:
        remove_for_good(path)
    except OSError as error:
        raise _cannot_write(path, error) from error


def set_aside(path: Path) -> Path:
    """Out of the way, but kept for whoever wants to know what happened; replaces what was set aside before."""
    aside = path.with_name(f"{path.name}.damaged")
    try:
        path.replace(aside)
    except OSError as error:
        raise _cannot_write(path, error) from error
    return aside


def _cannot_write(path: Path, error: OSError) -> DiskFull | WorkspaceNotWritable:
    if error.errno == errno.ENOSPC:
        return DiskFull(f"no space left to write {path}", cure="Free some space on that disk and try again.")
    return WorkspaceNotWritable(
        f"{path} cannot be written: {error.strerror}", cure="Make the folder writable, or choose another --workspace."
    )
