"""Proof that the GPU is free: after the old engine was removed, before the next one starts."""

import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from pmpctl.errors import CardNotFree
from pmpctl.host.gpus import Gpu, gpu_driver, process_name, select_gpus
from pmpctl.operations.card_use import CardUse, describe_holder, gib, needed_bytes, use_of
from pmpctl.operations.events import Event, Notice, Operation, PhaseFinished, PhaseProgress, PhaseStarted
from pmpctl.planning.card_claim import claim_of
from pmpctl.planning.plan import Plan
from pmpctl.runtime.base import Runtime, UnitState
from pmpctl.runtime.process_tree import ProcessId, container_of, is_alive, send

PHASE = "card-free"
POLL_SECONDS = 0.1
GRACE_SECONDS = 3.0
"""For processes that are just ending; the driver takes a moment to tear down what they had."""
STABLE_LOOKS = 3
STABLE_BYTES = 64 << 20
"""By how much the free memory of a card at rest may differ between two looks."""
REST_SECONDS = 3.0
"""After which enough is enough, also where another program, such as a desktop, takes and frees memory all the time."""


@dataclass(frozen=True, slots=True)
class EngineTrace:
    """What an engine is known by once it is gone; taken before it is stopped."""

    unit_id: str
    name: str
    processes: frozenset[ProcessId] = frozenset()


@dataclass(frozen=True, slots=True)
class CardProof:
    """`how` is who says so: the driver, or the runtime alone where no driver can be asked.

    `enough` is false where the free memory stayed below what the plan asks for, and nobody insisted.
    """

    how: Literal["driver", "runtime"]
    seconds: float
    enough: bool = True
    free_bytes: int | None = None
    needed_bytes: int | None = None
    ended: tuple[str, ...] = ()
    """The orphans that had to be ended, in words."""


def trace_engine(runtime: Runtime, engine: UnitState) -> EngineTrace:
    """To be called while the engine, or what is left of it, is still there."""
    return EngineTrace(engine.id, engine.name, runtime.processes(engine.id))


def prove_free(
    runtime: Runtime, plan: Plan, left: Sequence[EngineTrace], *, timeout_seconds: float, insist: bool = True
) -> Operation[CardProof]:
    """Returns once nothing of the engines in `left` runs, and the plan's GPUs have the memory that it asks for.

    What is provably theirs and does not end is ended. Raises CardNotFree at the deadline, naming who holds the card;
    without `insist` (a start with --force, a way back) only for processes of ours that cannot be ended.
    """
    yield PhaseStarted(PHASE, "Waiting until the GPU is free")
    began = time.monotonic()
    wait = _Wait(runtime, plan, left)
    with gpu_driver() as read_gpus:
        look = wait.look(read_gpus())
        while not wait.is_over(look):
            seconds = time.monotonic() - began
            if seconds > timeout_seconds and not look.is_good:
                if insist or look.is_held_by_us:
                    raise _not_free(plan, look, timeout_seconds)
                yield Notice("warning", f"{_lack(plan, look)}; the engine is started even so")
                break
            if seconds > GRACE_SECONDS:
                yield from wait.end(look.remaining)
            yield from wait.tell(look)
            time.sleep(POLL_SECONDS)
            look = wait.look(read_gpus())
    proof = CardProof(
        how="driver" if look.uses else "runtime",
        seconds=time.monotonic() - began,
        enough=look.missing_bytes == 0,
        free_bytes=min((use.free_bytes for use in look.uses), default=None),
        needed_bytes=max(look.needed_bytes, default=None),
        ended=tuple(wait.ended),
    )
    said = f"{gib(proof.free_bytes)} are free" if proof.free_bytes is not None else "no engine runs any more"
    yield PhaseFinished(PHASE, proof.seconds, said)
    return proof


@dataclass(frozen=True, slots=True)
class _Look:
    """What was seen at one moment: what remains of the engines that left, and each of the plan's GPUs."""

    remaining: frozenset[ProcessId]
    units_alive: bool
    uses: tuple[CardUse, ...]
    needed_bytes: tuple[int, ...]

    @property
    def missing_bytes(self) -> int:
        pairs = zip(self.uses, self.needed_bytes, strict=True)
        return max((max(0, needed - use.free_bytes) for use, needed in pairs), default=0)

    @property
    def is_held_by_us(self) -> bool:
        return bool(self.remaining) or self.units_alive

    @property
    def is_good(self) -> bool:
        return not self.is_held_by_us and not self.missing_bytes

    def is_like(self, other: "_Look") -> bool:
        pairs = zip(self.uses, other.uses, strict=False)
        return all(abs(mine.gpu.free_bytes - theirs.gpu.free_bytes) <= STABLE_BYTES for mine, theirs in pairs)


@dataclass(slots=True)
class _Wait:
    runtime: Runtime
    plan: Plan
    left: Sequence[EngineTrace]
    ended: list[str] = field(default_factory=list)
    _sent: set[ProcessId] = field(default_factory=set)
    _told: str = ""
    _good: list[_Look] = field(default_factory=list)
    _good_since: float = 0.0

    def look(self, gpus: Sequence[Gpu]) -> _Look:
        seen = {process for trace in self.left for process in trace.processes}
        seen |= {process for trace in self.left for process in self.runtime.processes(trace.unit_id)}
        remaining = frozenset(process for process in seen if is_alive(process))
        states = [self.runtime.state(trace.unit_id) for trace in self.left]
        claim = claim_of(self.plan.engine)
        chosen = select_gpus(gpus, claim.devices, claim.count) if claim and self.runtime.on_this_machine else ()
        engines = self.runtime.engines() if chosen else ()
        pids = frozenset(process.pid for process in remaining)
        return _Look(
            remaining=remaining,
            units_alive=any(state is not None and state.alive for state in states),
            uses=tuple(use_of(gpu, gpus, engines, self.plan.workspace, pids) for gpu in chosen),
            needed_bytes=tuple(needed_bytes(claim, gpu) for gpu in chosen if claim),
        )

    def is_over(self, look: _Look) -> bool:
        """The same good news several times in a row, since a driver frees in steps; the runtime's word counts once."""
        if not look.is_good:
            self._good.clear()
            self._good_since = 0.0
            return False
        now = time.monotonic()
        self._good_since = self._good_since or now
        if self._good and not look.is_like(self._good[-1]):
            self._good.clear()
        self._good.append(look)
        return not look.uses or len(self._good) >= STABLE_LOOKS or now - self._good_since > REST_SECONDS

    def end(self, processes: frozenset[ProcessId]) -> Iterator[Event]:
        for process in sorted(processes - self._sent):
            described = _describe(process)
            self.ended.append(described)
            yield Notice("warning", f"{described} was left behind by the old engine and is ended")
        self._sent |= processes
        send(processes, signal.SIGKILL)

    def tell(self, look: _Look) -> Iterator[Event]:
        if look.remaining:
            message = f"waiting for {len(look.remaining)} processes of the old engine to end"
        elif look.missing_bytes:
            message = f"waiting for {gib(look.missing_bytes)} more"
        else:
            return
        if message != self._told:
            self._told = message
            needed = max(look.needed_bytes, default=0)
            yield PhaseProgress(PHASE, message, done=needed - look.missing_bytes, total=needed or None)


def _describe(process: ProcessId) -> str:
    container = container_of(process.pid)
    return f"{process_name(process.pid)} (pid {process.pid}{f', container {container[:12]}' if container else ''})"


def _lack(plan: Plan, look: _Look) -> str:
    """Which GPU lacks how much of what the plan asks for."""
    pairs = zip(look.uses, look.needed_bytes, strict=True)
    use, needed = max(pairs, key=lambda pair: pair[1] - pair[0].free_bytes)
    return f"{plan.profile} asks for {gib(needed)} of {use.gpu.name}, and {gib(use.free_bytes)} are free"


def _not_free(plan: Plan, look: _Look, timeout_seconds: float) -> CardNotFree:
    if look.remaining:
        pids = " ".join(str(process.pid) for process in sorted(look.remaining))
        return CardNotFree(
            f"what the old engine left does not end: {', '.join(map(_describe, sorted(look.remaining)))}",
            cure=f"End it with `sudo kill -9 {pids}`; if it stays, it hangs in the GPU's driver: see `dmesg`, and "
            "restart the machine.",
            details=tuple(describe_holder(process) for use in look.uses for process in use.gpu.processes),
        )
    if look.units_alive:
        return CardNotFree(
            f"{timeout_seconds:g} s after it was removed, the old engine still runs",
            cure="Another command may have started it again: see `pmpctl status`.",
        )
    holders = [holder for use in look.uses for holder in use.holders]
    cure = next((use.cure for use in look.uses if use.cure), "")
    return CardNotFree(
        f"{_lack(plan, look)} {timeout_seconds:g} s after the old engine was removed: "
        f"{'; '.join(holders) or 'nothing shows who holds the rest'}",
        cure=f"{cure}, or lower `gpu_memory_utilization`."
        if cure
        else "See `nvidia-smi` and `dmesg`; if no process holds the memory, restart the machine.",
        details=tuple(holders),
    )
