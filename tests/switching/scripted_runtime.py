"""What pmpctl has before it in a scripted world: a runtime, and the control socket of a gateway."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

from pmpctl.errors import RuntimeFailed
from pmpctl.operations.environment import ChosenRuntime
from pmpctl.planning.plan import GpuMethod, RuntimeKind, Unit
from pmpctl.runtime.base import (
    LogLine,
    LogQuery,
    Progress,
    RunningEngine,
    RuntimeInfo,
    TrialRun,
    UnitState,
    Usage,
)
from pmpctl.runtime.process_tree import ProcessId
from tests.switching.scripted import Behaviour, World


@dataclass(frozen=True)
class ScriptedRuntime:
    """The engines that start next behave as `next_engines` says, one after the other; all others serve."""

    world: World
    next_engines: list[Behaviour] = field(default_factory=list)
    kind: RuntimeKind = "process"
    on_this_machine: bool = False

    def chosen(self) -> ChosenRuntime:
        return ChosenRuntime(self, "a test says so")

    def info(self) -> RuntimeInfo:
        return RuntimeInfo(self.kind, "1", "")

    def gpu_methods(self) -> tuple[GpuMethod, ...]:
        return ()

    def units(self) -> Sequence[UnitState]:
        self.world.require_alive()
        return tuple(self.world.units.values())

    def state(self, unit_id: str) -> UnitState | None:
        self.world.require_alive()
        return self.world.units.get(unit_id)

    def check(self, unit: Unit) -> None: ...

    def prepare(self, unit: Unit) -> Iterator[Progress]:
        yield from ()

    def software(self, unit: Unit) -> str | None:
        return None

    def try_python(self, unit: Unit, source: str, argv: Sequence[str], timeout_seconds: float) -> TrialRun | None:
        return None

    def start(self, unit: Unit) -> UnitState:
        refusal = RuntimeFailed("it cannot be started", cure="None.")
        with self.world.act(refusal):
            behaviour = self.next_engines.pop(0) if unit.role == "engine" and self.next_engines else "serves"
            if behaviour == "does-not-start":
                raise refusal
            for leftover in [state.id for state in self.world.units.values() if state.role == unit.role]:
                del self.world.units[leftover]
            return self.world.start(unit, behaviour)

    def stop(self, state: UnitState, timeout_seconds: float) -> None:
        with self.world.act(RuntimeFailed("it cannot be stopped", cure="None.")):
            if state.id in self.world.units:
                self.world.change(state.id, phase="exited", exit_code=0)
            if state.role == "gateway":
                self.world.cut_off()

    def remove(self, state: UnitState) -> None:
        with self.world.act(RuntimeFailed("it cannot be removed", cure="None.")):
            self.world.units.pop(state.id, None)

    def clean(self) -> Sequence[str]:
        return ()

    def processes(self, unit_id: str) -> frozenset[ProcessId]:
        return frozenset()

    def engines(self) -> Sequence[RunningEngine]:
        return ()

    def logs(self, state: UnitState, query: LogQuery) -> Iterator[LogLine]:
        yield from ()

    def usage(self, state: UnitState) -> Usage | None:
        return None

    def execute(self, state: UnitState, argv: Sequence[str]) -> tuple[int, str]:
        return 0, ""


class ScriptedControl:
    """What pmpctl uses of the client for the gateway's control socket; verbs are acts, a question is none."""

    def __init__(self, world: World) -> None:
        self._world = world

    def get(self, path: str) -> httpx.Response:
        return self._world.control("GET", path)

    def post(self, path: str, **options: Any) -> httpx.Response:
        with self._world.act(httpx.ConnectError("the gateway is away")):
            return self._world.control("POST", path, json=options.get("json"))
