"""`logs`: what engine and gateway printed."""

from enum import StrEnum
from typing import Annotated

import typer


class LogSource(StrEnum):
    ENGINE = "engine"
    GATEWAY = "gateway"


def logs(
    ctx: typer.Context,
    source: Annotated[
        LogSource | None, typer.Argument(metavar="engine|gateway", help="Default: the engine.", show_default=False)
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on printing as lines come.")] = False,
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="Only lines since then: 10m, 2h, or a date and time.")
    ] = None,
    tail: Annotated[int | None, typer.Option(metavar="N", min=0, help="Only the last N lines.")] = None,
    timestamps: Annotated[bool, typer.Option("--timestamps", "-t", help="Start each line with its time.")] = False,
) -> None:
    """Print what the engine or the gateway wrote, also of one that failed.

    Its stdout goes to stdout, its stderr to stderr.
    """
    raise NotImplementedError
