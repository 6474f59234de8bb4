"""The Runtime protocol: the few verbs that operations need from whatever runs the units."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from pmpctl.planning.card_claim import CardClaim
from pmpctl.planning.plan import GpuMethod, Role, RuntimeKind, Unit
from pmpctl.runtime.crash_loop import CRASH_LOOP
from pmpctl.runtime.process_tree import ProcessId

UnitPhase = Literal["created", "running", "restarting", "paused", "exited", "dead"]
Health = Literal["healthy", "unhealthy", "starting", "unknown"]


@dataclass(frozen=True, slots=True)
class RuntimeInfo:
    kind: RuntimeKind
    version: str
    endpoint: str
    why: str = ""


@dataclass(frozen=True, slots=True)
class UnitState:
    """What the runtime says about one unit that carries the workspace's label."""

    id: str
    name: str
    role: Role
    profile: str
    plan_hash: str
    phase: UnitPhase
    health: Health
    image: str
    exit_code: int | None
    oom_killed: bool
    restart_count: int
    started_at: float | None
    finished_at: float | None
    error: str = ""

    @property
    def alive(self) -> bool:
        return self.phase in ("running", "restarting", "paused")

    @property
    def crash_looped(self) -> bool:
        """It ended again and again, and is no longer started."""
        return self.phase == "dead" and self.error.startswith(CRASH_LOOP)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a step has come; `total` is None while nobody knows."""

    message: str
    done: int = 0
    total: int | None = None
    unit: Literal["bytes", "percent", "steps"] = "bytes"


@dataclass(frozen=True, slots=True)
class LogLine:
    stream: Literal["stdout", "stderr"]
    text: str
    timestamp: str = ""


@dataclass(frozen=True, slots=True)
class LogQuery:
    """`since` is seconds since the epoch; `tail` None means everything that is kept."""

    follow: bool = False
    since: float | None = None
    tail: int | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    memory_bytes: int
    pids: int


@dataclass(frozen=True, slots=True)
class Tenant:
    """A unit of some workspace; `root` is None where nothing tells its folder."""

    workspace: str
    role: str
    root: Path | None

    def __str__(self) -> str:
        return f"the {self.role} of the workspace {self.root or self.workspace}"

    @property
    def stop(self) -> str:
        """What ends it, as the beginning of a sentence."""
        return f"Run `pmpctl --workspace {self.root} down`" if self.root else "Run `pmpctl down` in that workspace"


@dataclass(frozen=True, slots=True)
class RunningEngine:
    """An engine of any workspace; `claim` is None where nothing tells it, or for an engine without a GPU."""

    tenant: Tenant
    processes: frozenset[ProcessId]
    claim: CardClaim | None


@dataclass(frozen=True, slots=True)
class TrialRun:
    """How a few lines of Python ended that were run as a trial."""

    exit_status: int
    output: tuple[str, ...]


class Runtime(Protocol):
    """Each method raises a PmpctlError with a cure for what the user can meet; nothing else escapes."""

    @property
    def kind(self) -> RuntimeKind: ...

    @property
    def on_this_machine(self) -> bool:
        """Whether the units' processes, files and GPUs are this machine's."""
        ...

    def info(self) -> RuntimeInfo: ...

    def gpu_methods(self) -> tuple[GpuMethod, ...]:
        """The ways in which units can be handed GPUs, best first; empty where there is none."""
        ...

    def units(self) -> Sequence[UnitState]:
        """Every unit of this workspace, also those that exited or were only created."""
        ...

    def check(self, unit: Unit) -> None:
        """Refuse, before anything is touched, what is bound to fail: ports and names held by others, missing GPUs."""
        ...

    def prepare(self, unit: Unit) -> Iterator[Progress]:
        """Pull or build what the unit runs from; nothing to do yields nothing."""
        ...

    def software(self, unit: Unit) -> str | None:
        """What the unit would run, by a name that changes with the content; None where nobody can tell."""
        ...

    def try_python(self, unit: Unit, source: str, argv: Sequence[str], timeout_seconds: float) -> TrialRun | None:
        """Run Python source where the unit would run, without its GPU and ports; None where that cannot be done."""
        ...

    def start(self, unit: Unit) -> UnitState:
        """Create and start; on failure nothing half-made stays behind."""
        ...

    def stop(self, state: UnitState, timeout_seconds: float) -> None: ...

    def remove(self, state: UnitState) -> None: ...

    def clean(self) -> Sequence[str]:
        """Remove networks and leftovers that carry our label, keep caches; returns what was removed."""
        ...

    def state(self, unit_id: str) -> UnitState | None: ...

    def processes(self, unit_id: str) -> frozenset[ProcessId]:
        """All of this machine that belong to a unit, also to one that is removed; empty where they run elsewhere."""
        ...

    def engines(self) -> Sequence[RunningEngine]:
        """The engines that run here, of this workspace and of others."""
        ...

    def logs(self, state: UnitState, query: LogQuery) -> Iterator[LogLine]: ...

    def usage(self, state: UnitState) -> Usage | None: ...

    def execute(self, state: UnitState, argv: Sequence[str]) -> tuple[int, str]:
        """Run a command inside the unit; returns its exit status and output."""
        ...
