"""All that can fail early is made to fail here, while the old model serves."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from pmpctl.operations.argument_check import check_arguments
from pmpctl.operations.card_use import refuse_taken_card
from pmpctl.operations.environment import Environment, prepare_folders
from pmpctl.operations.events import Operation, PhaseFinished, PhaseStarted
from pmpctl.operations.fit_check import FitOutcome, find_fit, require_fit
from pmpctl.operations.images import prepare_image
from pmpctl.operations.weights import ensure_weights, find_weights
from pmpctl.planning.plan import Plan, Unit
from pmpctl.profiles.model import ProfileFile
from pmpctl.runtime.base import Runtime


@dataclass(frozen=True, slots=True)
class Preflight:
    fit: FitOutcome
    weights: str
    """Where the weights are or come from, in words."""
    arguments: str
    """What that engine's own parser said of its arguments, in words."""


def preflight(
    environment: Environment,
    file: ProfileFile,
    runtime: Runtime,
    plan: Plan,
    to_start: Sequence[Unit],
    *,
    force: bool = False,
) -> Operation[Preflight]:
    """Check, pull, build and download what `to_start` needs; called with the workspace's lock held.

    The memory of this workspace's running engine counts as free, since it leaves. Folders are prepared. Raises
    DoesNotFit or CardTaken (unless `force`), ArgumentsRefused, and what checking, pulling and downloading raise.
    """
    yield from refuse_taken_card(environment, file, runtime, plan, force=force)
    fit = yield from require_fit(environment, file, runtime, plan.profile, force=force)
    prepare_folders(environment, file, plan)
    yield PhaseStarted("check", "Checking the host")
    began = time.monotonic()
    for unit in to_start:
        runtime.check(unit)
    yield PhaseFinished("check", time.monotonic() - began)
    for unit in to_start:
        yield from prepare_image(runtime, unit)
    arguments = yield from check_arguments(environment.workspace, runtime, plan)
    weights = yield from ensure_weights(environment, file, file.profile(plan.profile))
    # Pulling and downloading take minutes, in which another workspace may have been faster.
    yield from refuse_taken_card(environment, file, runtime, plan, force=force)
    return Preflight(fit, weights, str(arguments))


def plan_preflight(environment: Environment, file: ProfileFile, runtime: Runtime, plan: Plan) -> Operation[Preflight]:
    """The same for --dry-run: nothing is pulled, downloaded or run, and what does not fit is told in `fit`."""
    yield from ()
    fit = find_fit(environment, file, runtime, plan.profile, offline=True)
    weights = find_weights(environment, file, file.profile(plan.profile))
    return Preflight(fit, weights, "not asked in a dry run")
