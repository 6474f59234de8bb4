"""`status`: what runs, and how it is doing."""

from typing import Annotated

import typer


def status(
    ctx: typer.Context,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Show it again and again until Ctrl-C.")] = False,
) -> None:
    """Show profile, phase, health, memory, ports, uptime and versions."""
    raise NotImplementedError
