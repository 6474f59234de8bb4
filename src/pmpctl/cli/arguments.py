"""Arguments and options that several commands share."""

import math
import os
from pathlib import Path
from typing import Annotated

import typer

from pmpctl.cli.context import find_workspace


def complete_profile(ctx: typer.Context, incomplete: str) -> list[str]:
    """Names for the shell, read without the models that check the file; silence where there are none."""
    from pmpctl.errors import PmpctlError
    from pmpctl.profiles.locate import locate
    from pmpctl.profiles.names import profile_names

    options = ctx.find_root().params
    # The parser keeps these as text while it completes.
    workspace, config = (Path(options[name]) if options.get(name) else None for name in ("workspace", "config"))
    try:
        file = locate(find_workspace(workspace).root, config, os.environ)
    except PmpctlError:
        return []
    return [name for name in profile_names(file) if name.startswith(incomplete)]


def a_number(value: float | None) -> float | None:
    """For what has a range: none of them refuses `nan`."""
    if value is not None and math.isnan(value):
        raise typer.BadParameter("nan is no number.")
    return value


Profile = Annotated[
    str,
    typer.Argument(
        metavar="PROFILE", autocompletion=complete_profile, help="A profile's name; see `pmpctl profiles list`."
    ),
]

MaybeProfile = Annotated[
    str | None,
    typer.Argument(
        metavar="PROFILE",
        autocompletion=complete_profile,
        help="A profile's name; default: MODEL_PROFILE, or what suits this host.",
        show_default=False,
    ),
]

Wait = Annotated[bool, typer.Option("--wait", help="Let another pmpctl that works on this workspace finish first.")]

DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")]

Smoke = Annotated[bool, typer.Option("--smoke/--no-smoke", help="Make the quick checks of `pmpctl smoke` at the end.")]

Drain = Annotated[
    float,
    typer.Option(
        "--drain", metavar="SECONDS", min=0, max=3600, callback=a_number, help="How long requests get to finish."
    ),
]

ProfileFile = Annotated[Path | None, typer.Argument(metavar="FILE", help="Default: the workspace's profile file.")]
