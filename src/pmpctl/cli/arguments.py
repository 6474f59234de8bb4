"""Arguments and options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

Profile = Annotated[str, typer.Argument(metavar="PROFILE", help="A profile's name; see `pmpctl profiles list`.")]

MaybeProfile = Annotated[
    str | None,
    typer.Argument(
        metavar="PROFILE",
        help="A profile's name; default: MODEL_PROFILE, or what suits this host.",
        show_default=False,
    ),
]

DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")]

ProfileFile = Annotated[Path | None, typer.Argument(metavar="FILE", help="Default: the workspace's profile file.")]
