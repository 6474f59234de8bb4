"""All that can fail early is made to fail here, while the old model serves."""

from collections.abc import Sequence
from dataclasses import dataclass

from pmpctl.operations.environment import Environment
from pmpctl.operations.events import Operation
from pmpctl.operations.fit_check import FitOutcome
from pmpctl.planning.plan import Plan, Unit
from pmpctl.profiles.model import ProfileFile
from pmpctl.runtime.base import Runtime, UnitState


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
    running: Sequence[UnitState],
    to_start: Sequence[Unit],
    *,
    force: bool = False,
) -> Operation[Preflight]:
    """Check, pull, build and download what `to_start` needs; called with the workspace's lock held.

    The memory of the engine in `running` counts as free, since it leaves. Folders are prepared. Raises DoesNotFit or
    CardTaken (unless `force`), ArgumentsRefused, and what checking, pulling and downloading raise.
    """
    raise NotImplementedError


def plan_preflight(
    environment: Environment, file: ProfileFile, runtime: Runtime, plan: Plan, running: Sequence[UnitState]
) -> Operation[Preflight]:
    """The same for --dry-run: nothing is pulled, downloaded or run, and what does not fit is told in `fit`."""
    raise NotImplementedError
