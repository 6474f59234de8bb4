"""`status`: what runs, and how it is doing."""

import threading
from functools import partial
from typing import Annotated

import typer

from pmpctl.cli.context import Globals
from pmpctl.cli.watching import until_interrupted

WATCH_SECONDS = 2.0


def status(
    ctx: typer.Context,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Show it again and again until Ctrl-C.")] = False,
) -> None:
    """Show profile, phase, health, memory, ports, uptime and versions."""
    from pmpctl.operations.status import status as ask_status
    from pmpctl.planning.plan import as_data
    from pmpctl.ui import views

    options: Globals = ctx.obj
    if not watch:
        result = ask_status(options.environment)
        options.ui.result("status", result, partial(views.status_view, result=result))
        return
    pause = threading.Event()
    with until_interrupted(options.ui):
        while True:
            result = ask_status(options.environment)
            options.ui.frame("status", {"data": as_data(result)}, partial(views.status_view, result=result))
            pause.wait(WATCH_SECONDS)
