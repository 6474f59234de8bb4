"""Which API is asked, and with what token: options that `smoke` and `bench` share."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from pmpctl.ui.console import Ui

TOKEN_VARIABLE = "PMPCTL_TOKEN"  # noqa: S105 - the name of one

_LONGEST_TOKEN = 4096

Url = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="Any OpenAI-compatible API, such as https://HOST/v1; default: this workspace's.",
        show_default=False,
    ),
]

Token = Annotated[
    str | None,
    typer.Option(
        metavar="TOKEN",
        help="Other users of this machine see it in the process list: better --token-file or PMPCTL_TOKEN.",
        show_default=False,
    ),
]

TokenFile = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Take the token from this file, or `-` for stdin.")
]


def find_token(ui: Ui, token: str | None, file: Path | None) -> str | None:
    """What the options or PMPCTL_TOKEN say; the output will never show it. Raises UsageError."""
    from pmpctl.errors import UsageError

    if token is not None and file is not None:
        raise UsageError("--token and --token-file are two tokens", cure="Leave one out.")
    found = read_token_file(file) if file is not None else token or os.environ.get(TOKEN_VARIABLE)
    if file is not None and not found:
        raise UsageError("the token file is empty", cure="Name a file that holds the token.")
    if found:
        ui.redactor.register(found)
    return found or None


def read_token_file(file: Path) -> str:
    """Also `-` for stdin; raises UsageError."""
    from pmpctl.errors import UsageError

    try:
        if str(file) == "-":
            return sys.stdin.read(_LONGEST_TOKEN).strip()
        with file.open(encoding="utf-8") as opened:
            return opened.read(_LONGEST_TOKEN).strip()
    except OSError as error:
        raise UsageError(
            f"{file} cannot be read: {error.strerror}", cure="Name a file that holds the token."
        ) from error
    except UnicodeDecodeError:
        # Without its cause, which quotes the file.
        raise UsageError(f"{file} holds no token but binary data", cure="Name a file that holds the token.") from None
