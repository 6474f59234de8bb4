"""`down`: stop and remove what carries our label, and nothing else; caches stay."""

import time
from dataclasses import dataclass

from pmpctl.operations.environment import Environment, choose_runtime, prepare_state_folder
from pmpctl.operations.events import Notice, Operation, PhaseFinished, PhaseStarted
from pmpctl.operations.locking import locked
from pmpctl.runtime.base import Runtime, UnitState

STOP_SECONDS = {"gateway": 30.0, "engine": 60.0}


@dataclass(frozen=True, slots=True)
class DownResult:
    removed: tuple[str, ...]
    runtime: str


def plan_down(environment: Environment) -> Operation[DownResult]:
    """What `down` would remove; nothing is touched."""
    chosen = choose_runtime(environment, environment.profile_file())
    runtime = chosen.runtime
    yield Notice("info", f"runtime: {chosen}")
    return DownResult(tuple(state.name for state in _in_order(runtime)), runtime.kind)


def down(environment: Environment) -> Operation[DownResult]:
    """The gateway goes first and lets its requests finish, then the engine."""
    runtime = choose_runtime(environment, environment.profile_file()).runtime
    removed: list[str] = []
    prepare_state_folder(environment.workspace)
    with locked(environment.workspace, "down"):
        for state in _in_order(runtime):
            yield PhaseStarted(f"{state.role}-stop", f"Stopping the {state.role}")
            began = time.monotonic()
            runtime.stop(state, STOP_SECONDS[state.role])
            runtime.remove(state)
            removed.append(state.name)
            yield PhaseFinished(f"{state.role}-stop", time.monotonic() - began, state.name)
        removed += runtime.clean()
    return DownResult(tuple(removed), runtime.kind)


def _in_order(runtime: Runtime) -> list[UnitState]:
    return sorted(runtime.units(), key=lambda state: state.role != "gateway")
