"""Small files that nobody may ever see half-written."""

import contextlib
import os
from pathlib import Path


def write_atomically(path: Path, text: str, mode: int = 0o600, owner: tuple[int, int] | None = None) -> None:
    """The folder must exist; readers see the old text or the new one, also after a power cut.

    With an `owner` (uid and gid, -1 for ours) the file has exactly that mode; without, the umask has its say.
    """
    temporary = path.with_name(f".{path.name}.{os.urandom(4).hex()}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            if owner is not None:
                os.fchown(descriptor, *owner)
                os.fchmod(descriptor, mode)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def remove_for_good(path: Path) -> None:
    """A file that is not there is fine; one that was there does not come back with the power."""
    path.unlink(missing_ok=True)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    # Some file systems cannot; the file itself is whole even so.
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
