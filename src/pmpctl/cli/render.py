"""`render`: the plan as files for other tools."""

from pathlib import Path
from typing import Annotated

import typer

from pmpctl.cli.app import CommandGroup
from pmpctl.cli.arguments import MaybeProfile
from pmpctl.cli.context import Globals
from pmpctl.errors import UsageError

app = typer.Typer(cls=CommandGroup, add_completion=False, rich_markup_mode=None)


@app.callback()
def render() -> None:
    """Write the plan as files for other engines."""


@app.command()
def compose(
    ctx: typer.Context,
    profile: MaybeProfile = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write here; default: print it.")
    ] = None,
    directory: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Write a folder for all profiles and any host, in which MODEL_PROFILE picks one."
        ),
    ] = None,
) -> None:
    """Write a compose file that starts what `up` would start for this profile on this host."""
    from pmpctl.operations.render import render_compose, render_compose_folder

    options: Globals = ctx.obj
    if directory is None:
        file = options.ui.run(render_compose(options.environment, profile, output))
        said = f"Wrote {file.file} for profile {file.profile}." if file.file else file.text.removesuffix("\n")
        options.ui.result("render compose", file, said)
        return
    if profile is not None or output is not None:
        raise UsageError(
            "--directory writes every profile into files of its own",
            cure="Leave out PROFILE and --output, or leave out --directory.",
        )
    folder = options.ui.run(render_compose_folder(options.environment, directory))
    removed = f", and removed {', '.join(folder.removed)}" if folder.removed else ""
    options.ui.result("render compose", folder, f"Wrote {len(folder.written)} files into {folder.folder}{removed}.")
