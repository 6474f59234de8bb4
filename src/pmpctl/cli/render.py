"""`render`: the plan as files for other engines."""

from pathlib import Path
from typing import Annotated

import typer

from pmpctl.cli.app import CommandGroup

app = typer.Typer(cls=CommandGroup, add_completion=False, rich_markup_mode=None)


@app.callback()
def render() -> None:
    """Write the plan as files for other engines."""


@app.command()
def compose(
    ctx: typer.Context,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write here; default: print it.")
    ] = None,
) -> None:
    """Write a compose file that starts the same stack; MODEL_PROFILE picks the profile."""
    raise NotImplementedError
