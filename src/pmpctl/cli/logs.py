"""`logs`: what engine and gateway printed."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from pmpctl.cli.context import Globals
from pmpctl.cli.watching import until_interrupted

if TYPE_CHECKING:
    from pmpctl.operations.logs import RoleLine


class LogSource(StrEnum):
    ENGINE = "engine"
    GATEWAY = "gateway"


def logs(
    ctx: typer.Context,
    source: Annotated[
        LogSource | None, typer.Argument(metavar="engine|gateway", help="Default: both.", show_default=False)
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
    from pmpctl.cli.times import parse_since
    from pmpctl.operations.logs import logs as read_logs
    from pmpctl.planning.plan import Role, as_data
    from pmpctl.runtime.base import LogQuery

    options: Globals = ctx.obj
    roles: tuple[Role, ...] = (source.value,) if source else ("engine", "gateway")
    query = LogQuery(follow=follow, since=parse_since(since) if since else None, tail=tail)
    with until_interrupted(options.ui):
        for entry in read_logs(options.environment, roles, query):
            text = _text(entry, timestamps=timestamps, name=len(roles) > 1)
            options.ui.item("log", as_data(entry), text, entry.line.stream)
    if options.ui.json_output:
        options.ui.result("logs", None, "")


def _text(entry: "RoleLine", *, timestamps: bool, name: bool) -> str:
    parts = [entry.line.timestamp] if timestamps and entry.line.timestamp else []
    if name:
        parts.append(f"{entry.role:<7} |")
    return " ".join([*parts, entry.line.text])
