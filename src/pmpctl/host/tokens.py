"""What pmpctl needs to know of the gateway's token file before it starts one: are there tokens, can it be read."""

import json
import os
from pathlib import Path

from pmpctl.errors import TokenFileInvalid


def count_tokens(path: Path) -> int:
    """How many tokens guard the API; a missing or an empty file means none.

    Raises TokenFileInvalid when the file is there and cannot be used, since the gateway would refuse to start.
    """
    shape = 'It must look like {"tokens": ["..."]}; an empty list or no file at all means an open API.'
    try:
        text = path.read_text()
        data = json.loads(text) if text.strip() else {"tokens": []}
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise TokenFileInvalid(f"{path} cannot be read: {error.strerror}", cure="Make it readable for you.") from error
    except ValueError as error:
        raise TokenFileInvalid(f"{path} is not JSON: {error}", cure=shape) from error
    tokens = data.get("tokens") if isinstance(data, dict) else None
    if not isinstance(tokens, list) or not all(isinstance(token, str | dict) and token for token in tokens):
        raise TokenFileInvalid(f"{path} holds no list of tokens", cure=shape)
    return len(tokens)


def require_readable_by(path: Path, uid: int, gid: int) -> None:
    """Raises TokenFileInvalid when a gateway that runs as `uid` could not read the file."""
    if not path.exists():
        return
    status = path.stat()
    readable = (
        (status.st_uid == uid and status.st_mode & 0o400)
        or (status.st_gid == gid and status.st_mode & 0o040)
        or status.st_mode & 0o004
    )
    if not readable and not (uid == os.geteuid() and os.access(path, os.R_OK)):
        raise TokenFileInvalid(
            f"the gateway runs as user {uid} and could not read {path}",
            cure=f"Hand the file to it: `chown {uid}:{gid} {path} && chmod 400 {path}`.",
        )
