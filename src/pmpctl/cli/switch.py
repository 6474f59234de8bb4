"""`switch`: change the model that serves."""

from functools import partial
from typing import Annotated

import typer

from pmpctl.cli.arguments import Drain, DryRun, Smoke, Wait, complete_profile
from pmpctl.cli.context import Globals


def switch(
    ctx: typer.Context,
    profile: Annotated[
        str,
        typer.Argument(
            metavar="PROFILE|-", autocompletion=complete_profile, help="A profile's name; `-` is the one before."
        ),
    ],
    drain: Drain = 30,
    dry_run: DryRun = False,
    restart: Annotated[bool, typer.Option("--restart", help="Also if this very plan runs already.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Start although the model does not fit the GPU.")] = False,
    no_rollback: Annotated[
        bool,
        typer.Option("--no-rollback", help="If the model does not come up, refuse requests instead of going back."),
    ] = False,
    wait: Wait = False,
    smoke: Smoke = True,
) -> None:
    """Put another model behind the same address without losing a request.

    New requests wait while the models change. If the new one does not come up, the old one is started again.
    Then makes the quick checks of `pmpctl smoke`: if one fails, it stays all the same, and the exit status is 7.
    `swap` is another word for it.
    """
    from pmpctl.operations import switch as switch_operation
    from pmpctl.operations.smoke_afterwards import with_smoke
    from pmpctl.ui import switch_views

    options: Globals = ctx.obj
    how = switch_operation.SwitchOptions(drain, restart=restart, force=force, rollback=not no_rollback)
    if dry_run:
        planned = options.ui.run(switch_operation.plan_switch(options.environment, profile, how))
        refusal = planned.refusal if not force else None
        data = {"dry_run": True, "planned": planned}
        view = partial(switch_views.planned_switch_view, planned=planned)
        raise typer.Exit(options.ui.result("switch", data, view, refusal))
    environment = options.environment
    operation = switch_operation.switch(environment, profile, how, wait=wait)
    result, bad = options.ui.run(with_smoke(operation, environment, options.ui.redactor.register, wanted=smoke))
    raise typer.Exit(options.ui.result("switch", result, partial(switch_views.switch_view, result=result), bad))
