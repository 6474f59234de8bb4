"""`up` and `down`: start what a profile asks for, and take it away again."""

from typing import Annotated

import typer

from pmpctl.cli.arguments import DryRun, Profile


def up(
    ctx: typer.Context,
    profile: Profile,
    dry_run: DryRun = False,
    force: Annotated[bool, typer.Option("--force", help="Recreate both even if nothing changed.")] = False,
) -> None:
    """Start engine and gateway for a profile, and wait until the model answers.

    Does nothing if the same plan runs already; recreates only what changed.
    """
    raise NotImplementedError


def down(ctx: typer.Context, dry_run: DryRun = False) -> None:
    """Stop and remove what belongs to this workspace; weights and caches stay."""
    raise NotImplementedError
