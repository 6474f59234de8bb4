"""Copies of the small files that an engine is handed, named by their content.

So a plan can run again as it ran although they were edited, and its hash follows what stands in them.
"""

import contextlib
from collections.abc import Mapping
from pathlib import Path

from pmpctl.errors import PlanInvalid
from pmpctl.host.files import hand_over, make_folder, save
from pmpctl.planning.host import LocalFile
from pmpctl.workspace import Workspace


def as_kept(workspace: Workspace, files: Mapping[str, LocalFile]) -> dict[str, LocalFile]:
    """The same files where their copies lie, or will; a model's folder stays where it is."""
    return {name: LocalFile(_kept_path(workspace, file) or file.path, file.digest) for name, file in files.items()}


def keep_files(workspace: Workspace, files: Mapping[str, LocalFile], *, uid: int, gid: int) -> None:
    """Raises what a user can mend."""
    for file in files.values():
        path = _kept_path(workspace, file)
        if path is None or path.exists():
            continue
        make_folder(path.parent, uid=uid, gid=gid, mode=0o700)
        save(path, _read(file.path), mode=0o644)
        hand_over(path, uid=uid, gid=gid)


def prune_files(workspace: Workspace) -> None:
    """Removes those that no record of a plan names."""
    with contextlib.suppress(OSError):
        records = [path.read_text() for path in workspace.plans_dir.glob("*.json")]
        for path in workspace.files_dir.glob("*"):
            if not any(path.name in record for record in records):
                path.unlink()


def _kept_path(workspace: Workspace, file: LocalFile) -> Path | None:
    return workspace.files_dir / f"{file.digest}{file.path.suffix}" if file.digest else None


def _read(path: Path) -> str:
    try:
        # Not as text: that would change the ends of lines.
        return path.read_bytes().decode()
    except (OSError, UnicodeDecodeError) as error:
        raise PlanInvalid(f"{path} cannot be read: {error}", cure="It must be readable text in UTF-8.") from error
