"""The steps of a switch: each is written down before it is taken, told while it lasts, and timed."""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from pmp_gateway.control_schema import HoldCounts, PhaseAnswer, Reason
from pmpctl.errors import DiskFull, GatewayNotAnswering, GatewayTimedOut, PmpctlError, WorkspaceNotWritable
from pmpctl.operations.card import EngineTrace, prove_free, trace_engine
from pmpctl.operations.events import Notice, Operation, PhaseFinished, PhaseStarted
from pmpctl.operations.gateway_control import gateway_status
from pmpctl.operations.gateway_hold import GatewayHold
from pmpctl.operations.journal import JournalKeeper, Step
from pmpctl.operations.readiness import verify_engine, wait_for_gateway, wait_until_healthy
from pmpctl.operations.unit_records import save_record
from pmpctl.planning.plan import Plan
from pmpctl.planning.recorded import RecordedPlan
from pmpctl.runtime.base import Runtime, UnitState
from pmpctl.workspace import Workspace

# What a hold gets on top of what its steps may take: no command is to lose it by being slow.
_MARGIN_SECONDS = 60.0
_RELEASE_SECONDS = 5.0
_POLL_SECONDS = 0.02

_ON_THE_WAY_BACK: Mapping[Step, Step] = {
    Step.STOP: Step.ROLLBACK_STOP,
    Step.REMOVE: Step.ROLLBACK_REMOVE,
    Step.PROVE: Step.ROLLBACK_PROVE,
    Step.START: Step.ROLLBACK_START,
    Step.WAIT: Step.ROLLBACK_WAIT,
    Step.VERIFY: Step.ROLLBACK_VERIFY,
    Step.OPEN: Step.ROLLBACK_OPEN,
}


@dataclass(slots=True)
class Timing:
    """Of the steps in their order; the gap is from the moment that requests wait to the moment that they go."""

    seconds: dict[str, float] = field(default_factory=dict)
    held_at: float | None = None
    opened_at: float | None = None
    _step: Step | None = None
    _began: float = 0.0

    @property
    def gap_seconds(self) -> float | None:
        return self.opened_at - self.held_at if self.held_at is not None and self.opened_at is not None else None

    @contextlib.contextmanager
    def measured(self, name: str) -> Iterator[None]:
        """What is done before requests are held."""
        began = time.monotonic()
        yield
        self.seconds[name] = time.monotonic() - began

    def begin(self, step: Step) -> None:
        self._step, self._began = step, time.monotonic()

    def end(self) -> float:
        seconds = time.monotonic() - self._began
        if self._step is not None:
            self.seconds[self._step] = seconds
            self._step = None
        return seconds


@dataclass(frozen=True, slots=True)
class Steps:
    """`left` are the engines that were stopped so far, which must be gone before the next one starts.

    `card_seconds` is how long the card may take to become free.
    """

    workspace: Workspace
    runtime: Runtime
    models_dir: Path
    card_seconds: float
    gateway: GatewayHold
    journal: JournalKeeper
    timing: Timing = field(default_factory=Timing)
    left: list[EngineTrace] = field(default_factory=list)
    is_way_back: bool = False
    failure: str = ""

    def back(self, failure: str) -> "Steps":
        """The same steps on the way back, for this reason."""
        return replace(self, is_way_back=True, failure=failure)

    def hold(self, drain_seconds: float) -> Operation[None]:
        yield from self._begin(Step.HOLD, "Letting new requests wait")
        # Nobody else's hold can still be meant, since the workspace's lock is ours.
        self.gateway.hold(Reason.SWITCH, drain_seconds + _MARGIN_SECONDS, force=True)
        self.timing.held_at = time.monotonic()
        yield self._end(Step.HOLD)

    def drain(self, drain_seconds: float) -> Operation[HoldCounts]:
        yield from self._begin(Step.DRAIN, "Letting requests finish")
        answer = yield from self.gateway.drain(drain_seconds)
        counts = answer.door.counts
        yield self._end(Step.DRAIN, f"{counts.finished} finished, {counts.cancelled} cut off")
        return counts

    def stop(self, engines: Sequence[UnitState], stop_timeout_seconds: float) -> Operation[None]:
        names = " and ".join(dict.fromkeys(engine.profile for engine in engines)) or "nothing"
        yield from self._begin(Step.STOP, f"Stopping the engine of {names}")
        lasts_seconds = stop_timeout_seconds + self.card_seconds + _MARGIN_SECONDS
        yield from self._tell(partial(self.gateway.hold, Reason.SWITCH, lasts_seconds))
        self.left.extend(trace_engine(self.runtime, engine) for engine in engines)
        for engine in engines:
            self.runtime.stop(engine, stop_timeout_seconds)
        yield self._end(Step.STOP)

    def remove(self, engines: Sequence[UnitState]) -> Operation[None]:
        yield from self._begin(Step.REMOVE, "Removing it")
        for engine in engines:
            self.runtime.remove(engine)
        yield self._end(Step.REMOVE)

    def prove_free(self, recorded: RecordedPlan, *, insist: bool) -> Operation[None]:
        yield from self._enter(Step.PROVE)
        proof = yield from prove_free(
            self.runtime, recorded.plan, self.left, timeout_seconds=self.card_seconds, insist=insist
        )
        self.timing.end()
        for orphan in proof.ended:
            yield Notice("warning", f"{orphan} did not end with its engine, and was ended")

    def start(self, recorded: RecordedPlan) -> Operation[UnitState]:
        yield from self._begin(Step.START, f"Starting the engine of {recorded.profile}")
        lasts_seconds = recorded.plan.start_timeout_seconds + _MARGIN_SECONDS
        yield from self._tell(partial(self.gateway.opening, recorded.plan, lasts_seconds))
        yield from self._save_record(recorded)
        engine = self.runtime.start(recorded.plan.engine)
        yield self._end(Step.START, engine.name)
        return engine

    def wait(self, recorded: RecordedPlan, engine: UnitState) -> Operation[None]:
        yield from self._enter(Step.WAIT)
        yield from wait_until_healthy(self.runtime, recorded.plan, engine, self.models_dir)
        self.timing.end()

    def verify(self, recorded: RecordedPlan, engine: UnitState) -> Operation[None]:
        yield from self._begin(Step.VERIFY, "Asking the engine for its model and one token")
        verify_engine(self.runtime, recorded.plan, engine)
        yield self._end(Step.VERIFY, f"serves {recorded.plan.model}")

    def open(self, recorded: RecordedPlan) -> Operation[None]:
        yield from self._begin(Step.OPEN, f"Letting requests go to {recorded.profile}")
        try:
            answer = self.gateway.open(recorded.plan)
        except GatewayNotAnswering as error:
            yield Notice("warning", f"{error.message}; it is started again")
            yield from self._start_gateway(recorded)
            answer = self.gateway.open(recorded.plan)
        self.timing.opened_at = time.monotonic()
        yield self._end(Step.OPEN, f"{answer.door.counts.held} waited")

    def close(self) -> Operation[None]:
        """What waits and what comes is told that the switch has failed."""
        yield from self._begin(Step.CLOSE, "Telling the gateway to refuse requests")
        try:
            self.gateway.close(Reason.SWITCH_FAILED)
        except PmpctlError as error:
            yield Notice("warning", f"{error.message}; its hold ends by itself")
            return
        yield self._end(Step.CLOSE)

    def counts(self, drained: HoldCounts) -> HoldCounts:
        """Once all that waited is on its way; a gateway that is away by then has told its part at the drain."""
        deadline = time.monotonic() + _RELEASE_SECONDS
        while (status := gateway_status(self.workspace)) is not None:
            if not status.held or time.monotonic() > deadline:
                return status.door.counts
            time.sleep(_POLL_SECONDS)
        return drained

    def _begin(self, step: Step, title: str) -> Operation[None]:
        yield from self._enter(step)
        yield PhaseStarted(self._named(step), title)

    def _end(self, step: Step, message: str = "") -> PhaseFinished:
        return PhaseFinished(self._named(step), self.timing.end(), message)

    def _enter(self, step: Step) -> Operation[None]:
        step = self._named(step)
        self.timing.begin(step)
        try:
            self.journal.enter(step, self.failure)
        except (DiskFull, WorkspaceNotWritable) as error:
            # Without a journal no engine is stopped or started. From then on the last line that it has will do: what
            # follows from it is the same, and the way back must not depend on it.
            if step.number <= Step.START.number:
                raise
            yield Notice("warning", f"{error.message}; going on without")

    def _tell(self, verb: Callable[[], PhaseAnswer]) -> Operation[None]:
        """On the way back the engine comes first: a gateway that is away is seen to when it is opened."""
        try:
            verb()
        except (GatewayNotAnswering, GatewayTimedOut) as error:
            if not self.is_way_back:
                raise
            yield Notice("warning", error.message)

    def _start_gateway(self, recorded: RecordedPlan) -> Operation[None]:
        """It remembers by itself what it was doing."""
        for state in self.runtime.units():
            if state.role == "gateway":
                self.runtime.stop(state, recorded.plan.gateway.stop_timeout_seconds)
                self.runtime.remove(state)
        started = self.runtime.start(recorded.plan.gateway)
        yield from wait_for_gateway(self.runtime, self.workspace, recorded.plan, started)

    def _named(self, step: Step) -> Step:
        return _ON_THE_WAY_BACK.get(step, step) if self.is_way_back else step

    def _save_record(self, recorded: RecordedPlan) -> Operation[None]:
        try:
            save_record(self.workspace, recorded)
        except (DiskFull, WorkspaceNotWritable) as error:
            if not self.is_way_back:
                raise
            yield Notice("warning", f"{error.message}; going on without")


def steps_in_words(running: str, plan: Plan, drain_seconds: float, card_seconds: float) -> tuple[str, ...]:
    return (
        f"{Step.HOLD}: new requests wait at the gateway",
        f"{Step.DRAIN}: requests that are under way get {drain_seconds:g} s to finish",
        f"{Step.STOP}, {Step.REMOVE}: the engine of {running} ends",
        f"{Step.PROVE}: its GPU is free, within {card_seconds:g} s",
        f"{Step.START}, {Step.WAIT}: the engine of {plan.profile} starts and answers",
        f"{Step.VERIFY}: it serves {', '.join(plan.served_names)}, and generates a token",
        f"{Step.OPEN}: requests go to it, those that waited first",
    )
