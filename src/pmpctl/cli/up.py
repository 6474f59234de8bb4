"""`up` and `down`: start what a profile asks for, and take it away again."""

from functools import partial
from typing import Annotated

import typer

from pmpctl.cli.arguments import Drain, DryRun, MaybeProfile, Smoke, Wait
from pmpctl.cli.context import Globals


def up(
    ctx: typer.Context,
    profile: MaybeProfile = None,
    dry_run: DryRun = False,
    restart: Annotated[bool, typer.Option("--restart", help="Recreate both even if nothing changed.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Start although the model does not fit the GPU.")] = False,
    wait: Wait = False,
    smoke: Smoke = True,
) -> None:
    """Start engine and gateway for a profile, and wait until the model answers.

    Does nothing if the same plan runs already; recreates only what changed. Refuses what does not fit the GPU.
    Then makes the quick checks of `pmpctl smoke`: if one fails, all stays up, and the exit status is 7.
    """
    from pmpctl.operations import up as up_operation
    from pmpctl.operations.smoke_afterwards import with_smoke
    from pmpctl.ui import views

    options: Globals = ctx.obj
    if dry_run:
        planned = options.ui.run(up_operation.plan_up(options.environment, profile))
        data = {"dry_run": True, "hash": planned.plan.hash, "plan": planned.plan, "fit": planned.fit}
        refusal = None if force else planned.fit.refusal
        raise typer.Exit(options.ui.result("up", data, partial(views.planned_view, planned=planned), refusal))
    environment = options.environment
    operation = up_operation.up(environment, profile, restart=restart, force=force, wait=wait)
    checked = with_smoke(operation, environment, options.ui.redactor.register, wanted=smoke)
    result, bad = options.ui.run(checked)
    raise typer.Exit(options.ui.result("up", result, partial(views.up_view, result=result), bad))


def down(
    ctx: typer.Context,
    dry_run: DryRun = False,
    drain: Drain = 30,
    wait: Wait = False,
) -> None:
    """Stop and remove what belongs to this workspace; weights and caches stay.

    Requests in flight get some time to finish first, and new ones are refused meanwhile.
    """
    from pmpctl.operations import down as down_operation
    from pmpctl.ui import views

    options: Globals = ctx.obj
    environment = options.environment
    operation = down_operation.plan_down(environment) if dry_run else down_operation.down(environment, drain, wait=wait)
    result = options.ui.run(operation)
    options.ui.result("down", result, partial(views.down_view, result=result, dry_run=dry_run))
