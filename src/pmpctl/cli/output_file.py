"""Files that a command writes at its end, judged before it begins its work."""

import tempfile
from pathlib import Path

from pmpctl.errors import UsageError


def require_writable(file: Path) -> None:
    """Raises UsageError; the file is not touched."""
    if str(file) == "-":
        raise UsageError("- is no file: stdout is taken", cure="Name a file, or ./- for one of that name.")
    try:
        if file.is_dir():
            raise IsADirectoryError(0, "it is a folder")
        with tempfile.TemporaryFile(dir=file.absolute().parent):
            pass
    except OSError as error:
        why = "there is no such folder" if isinstance(error, FileNotFoundError) else error.strerror
        raise UsageError(
            f"{file} cannot be written: {why}", cure="Name a file in a folder that is there and may be written to."
        ) from error
