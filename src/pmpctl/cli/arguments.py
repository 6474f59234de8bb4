"""Arguments and options that several commands share."""

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from pmpctl.cli.context import find_workspace


def complete_profile(ctx: typer.Context, incomplete: str) -> list[str]:
    """Names for the shell, read without the models that check the file."""
    from pmpctl.profiles.names import profile_names

    options: dict[str, Any] = ctx.find_root().params
    root = find_workspace(Path(options["workspace"]) if options.get("workspace") else None).root
    config = options.get("config") or os.environ.get("CONFIG_PATH")
    files = [Path(config)] if config else [root / "profiles.toml", root / "config" / "models.json"]
    names = next((names for file in files if (names := profile_names(file))), [])
    return [name for name in names if name.startswith(incomplete)]


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

DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")]

ProfileFile = Annotated[Path | None, typer.Argument(metavar="FILE", help="Default: the workspace's profile file.")]
