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
        raise UsageError("--token and --token-file both give a token", cure="Leave one out.")
    given = token or os.environ.get(TOKEN_VARIABLE)
    if file is not None:
        found = read_token_file(file)
    elif not given:
        return None
    elif wrong := _wrong_with(given):
        named = "the token on the command line" if token else TOKEN_VARIABLE
        raise UsageError(f"{named} {wrong}", cure="Give the token, and nothing else.")
    else:
        found = given.strip()
    ui.redactor.register(found)
    return found


def read_token_file(file: Path) -> str:
    """Also `-` for stdin; raises UsageError, which never quotes what was read."""
    from pmpctl.errors import UsageError

    try:
        if str(file) == "-":
            content = sys.stdin.read(_LONGEST_TOKEN + 1)
        else:
            with file.open(encoding="utf-8") as opened:
                content = opened.read(_LONGEST_TOKEN + 1)
    except OSError as error:
        raise UsageError(
            f"{file} cannot be read: {error.strerror}", cure="Name a file that holds the token."
        ) from error
    except UnicodeDecodeError:
        # Without its cause, which quotes the file.
        raise UsageError(f"{file} is no text", cure="Name a file that holds the token.") from None
    if wrong := _wrong_with(content):
        raise UsageError(f"{file} {wrong}", cure="Name a file that holds the token, and nothing else.")
    return content.strip()


def _wrong_with(content: str) -> str | None:
    token = content.strip()
    if not token:
        return "is empty"
    if len(content) > _LONGEST_TOKEN:
        return "is too long for a token"
    if len(token.splitlines()) > 1:
        return "has more than one line"
    if any(character.isspace() for character in token):
        return "has a space in the token"
    if not token.isascii() or not token.isprintable():
        return "has characters that no token has"
    return None
