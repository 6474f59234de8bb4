"""`down`: let requests finish, then stop and remove what carries our label, and nothing else; caches stay."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from pmp_gateway.control_schema import DEFAULT_DRAIN_SECONDS, HoldCounts, Reason
from pmpctl.errors import GatewayNotAnswering, GatewayRefused, GatewayTimedOut
from pmpctl.host.files import remove
from pmpctl.operations.environment import Environment, choose_runtime, prepare_state_folder
from pmpctl.operations.events import Notice, Operation, PhaseFinished, PhaseStarted
from pmpctl.operations.gateway_control import close_gateway, drain
from pmpctl.operations.journal import remove_journal
from pmpctl.operations.locking import take_lock
from pmpctl.operations.mending import give_up
from pmpctl.planning.gateway_unit import STATE_FILE
from pmpctl.runtime.base import Runtime, UnitState
from pmpctl.workspace import Workspace

STOP_SECONDS = {"gateway": 30.0, "engine": 60.0}


@dataclass(frozen=True, slots=True)
class DownResult:
    """Of the requests in flight, `finished` ended by themselves and `cancelled` were cut short; None: nobody asked."""

    removed: tuple[str, ...]
    runtime: str
    finished: int | None = None
    cancelled: int | None = None


def plan_down(environment: Environment) -> Operation[DownResult]:
    """What `down` would remove; nothing is touched."""
    chosen = choose_runtime(environment, environment.profile_file())
    runtime = chosen.runtime
    yield Notice("info", f"runtime: {chosen}")
    return DownResult(tuple(state.name for state in _in_order(runtime)), runtime.kind)


def down(
    environment: Environment, drain_seconds: float = DEFAULT_DRAIN_SECONDS, *, wait: bool = False
) -> Operation[DownResult]:
    """Requests in flight get that long to finish; then the gateway goes, and the engine after it."""
    file = environment.profile_file()
    chosen = choose_runtime(environment, file)
    runtime = chosen.runtime
    removed: list[str] = []
    prepare_state_folder(environment.workspace)
    with (yield from take_lock(environment.workspace, "down", wait=wait)):
        yield from give_up(environment, file, chosen)
        units = _in_order(runtime)
        drained = yield from _drain(environment.workspace, units, drain_seconds)
        for state in units:
            yield PhaseStarted(f"{state.role}-stop", f"Stopping the {state.role}")
            began = time.monotonic()
            runtime.stop(state, STOP_SECONDS[state.role])
            runtime.remove(state)
            removed.append(state.name)
            yield PhaseFinished(f"{state.role}-stop", time.monotonic() - began, state.name)
        removed += runtime.clean()
        # The next gateway begins anew: what this one was doing ends with it.
        remove(environment.workspace.control_dir / STATE_FILE)
        remove_journal(environment.workspace)
    finished, cancelled = (drained.finished, drained.cancelled) if drained is not None else (None, None)
    return DownResult(tuple(removed), runtime.kind, finished, cancelled)


def _drain(workspace: Workspace, units: Sequence[UnitState], deadline_seconds: float) -> Operation[HoldCounts | None]:
    """None where no gateway runs, or none answers."""
    if not any(state.role == "gateway" and state.alive for state in units):
        return None
    yield PhaseStarted("drain", "Letting requests finish")
    began = time.monotonic()
    try:
        close_gateway(workspace, Reason.STOP, force=True)
        counts = drain(workspace, deadline_seconds, force=True).door.counts
    except (GatewayNotAnswering, GatewayRefused, GatewayTimedOut) as error:
        yield Notice("warning", f"{error.message}: stopping it as it is")
        return None
    message = f"{counts.finished} finished, {counts.cancelled} cut short"
    yield PhaseFinished("drain", time.monotonic() - began, message)
    return counts


def _in_order(runtime: Runtime) -> list[UnitState]:
    return sorted(runtime.units(), key=lambda state: state.role != "gateway")
