"""Arguments and options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

Profile = Annotated[
    str,
    typer.Argument(
        metavar="PROFILE",
        envvar="MODEL_PROFILE",
        help="A profile's name; see `pmpctl profiles list`.",
    ),
]

DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")]

ProfileFile = Annotated[Path | None, typer.Argument(metavar="FILE", help="Default: the workspace's profile file.")]
