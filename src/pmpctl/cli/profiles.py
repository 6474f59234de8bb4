"""`profiles`: look at the profile file, check it, and bring an old one over."""

from pathlib import Path
from typing import Annotated

import typer

from pmpctl.cli.app import CommandGroup
from pmpctl.cli.arguments import Profile, ProfileFile

app = typer.Typer(cls=CommandGroup, add_completion=False, rich_markup_mode=None)


@app.callback()
def profiles() -> None:
    """List, show, check and import profiles."""


@app.command("list")
def list_(ctx: typer.Context) -> None:
    """List the profiles with model, context length and description."""
    raise NotImplementedError


@app.command()
def show(ctx: typer.Context, name: Profile) -> None:
    """Show one profile with everything that it inherits filled in."""
    raise NotImplementedError


@app.command()
def validate(ctx: typer.Context, file: ProfileFile = None) -> None:
    """Check a profile file and report all problems at once."""
    raise NotImplementedError


@app.command()
def schema(ctx: typer.Context) -> None:
    """Print the JSON Schema of the profile file, for editors."""
    raise NotImplementedError


@app.command("import")
def import_(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A models.json of the old tool.")],
    into: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write here; default: the workspace's profile file.")
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Overwrite profiles of the same name.")] = False,
) -> None:
    """Bring profiles of the old tool over into a profile file."""
    raise NotImplementedError
