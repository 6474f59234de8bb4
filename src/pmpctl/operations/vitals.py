"""How engine and gateway of this workspace do while a soak keeps them at work."""

from collections.abc import Callable

from pmpctl.errors import PmpctlError
from pmpctl.operations.environment import Environment, choose_runtime
from pmpctl.smoke.soak import UnitVitals, Vitals


def vitals_reader(environment: Environment) -> Callable[[], Vitals]:
    runtime = choose_runtime(environment, environment.profile_file()).runtime

    def read() -> Vitals:
        try:
            return look()
        except PmpctlError:
            # A Docker engine that went away: the soak's report is to tell of it, not to end with it.
            return {}

    def look() -> Vitals:
        found: dict[str, UnitVitals] = {}
        for state in runtime.units():
            usage = runtime.usage(state) if state.alive else None
            memory_bytes = usage.memory_bytes if usage else None
            found[state.role] = UnitVitals(state.alive, (state.restart_count, state.started_at), memory_bytes)
        return found

    return read
