"""For commands that only look on, such as `logs -f`: Ctrl-C is how they are meant to end, and needs no words."""

import contextlib
from collections.abc import Iterator

import typer

from pmpctl.errors import ExitStatus
from pmpctl.ui.console import Ui


@contextlib.contextmanager
def until_interrupted(ui: Ui) -> Iterator[None]:
    """End with 130 and without a word for people; machines get the envelope that ends every command."""
    try:
        yield
    except KeyboardInterrupt:
        if ui.json_output:
            raise
        raise typer.Exit(ExitStatus.INTERRUPTED) from None
