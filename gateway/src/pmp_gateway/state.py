"""The one owner of what happens to requests: the phase, until when it lasts, and what follows.

Nothing here waits or does I/O. All calls and timers come from the one event loop, so there are no locks.
"""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from pmp_gateway.control_schema import MAX_DEADLINE_SECONDS, DoorStatus, Phase, Reason, Refusal
from pmp_gateway.effects import Effects, Timer
from pmp_gateway.engine_absence import EngineAbsence
from pmp_gateway.failures import BackendAway, Closed, CutShort, Stopping
from pmp_gateway.phases import SENTENCES, TRANSITIONS, VerbRefused
from pmp_gateway.request_policy import RequestPolicy
from pmp_gateway.state_file import SavedHold, SavedState
from pmp_gateway.traffic import Traffic
from pmp_gateway.waiting import HoldLimits, Waiter

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Drain:
    """`ended` are told whether nothing is in flight any more, or another verb came between."""

    timer: Timer
    ended: list[Callable[[bool], None]] = field(default_factory=list)


class GatewayState:
    """`policy` is in force until a verb brings another; `saved` is what the gateway before was doing."""

    def __init__(
        self,
        effects: Effects,
        limits: HoldLimits,
        saved: SavedState | None = None,
        policy: RequestPolicy | None = None,
    ) -> None:
        self._effects = effects
        self._limits = limits
        self.requests_total = 0
        self.policy = policy or RequestPolicy()
        # A policy of the process's own is read anew by the next one.
        self._told_policy: RequestPolicy | None = None
        self.on_phase: Callable[[Phase], None] = lambda _phase: None
        self._started = effects.monotonic()
        self._phase = Phase.OPEN
        self._reason: Reason | None = None
        self._since = effects.now()
        self._hold: SavedHold | None = None
        # What an engine must serve to be let serve without anybody's word; empty if nobody said.
        self._models: frozenset[str] = frozenset()
        self._traffic = Traffic(effects, limits)
        self._absence = EngineAbsence(
            effects,
            limits.engine_wait_seconds,
            is_ours=self._is_ours,
            returned=self._settle,
            overdue=self._engine_overdue,
        )
        self._drain: _Drain | None = None
        self._deadline: Timer | None = None
        # Goes up with every change, so that an answer to a question from before it is known to be stale.
        self._epoch = 0
        self._stopping = False
        if saved is not None:
            self._restore(saved)

    def admit(self, waiter: Waiter) -> bool:
        """True: it is in flight. False: it waits, and later exactly one of go() and refuse() is called.

        Raises the GatewayError to answer with when it may not even wait. What is in flight may be ended by refuse().
        """
        self.requests_total += 1
        traffic = self._traffic
        if traffic.passes:
            traffic.in_flight[waiter] = self.requests_total
            return True
        if self._stopping:
            raise Stopping
        if not self._may_wait:
            raise self._closed()
        traffic.wait(waiter, self.requests_total)
        return False

    def leave(self, waiter: Waiter) -> None:
        """It is done, has failed, or its client is gone: in flight, in the line, or forgotten already."""
        if self._traffic.leave(waiter) and self._drain is not None:
            self._traffic.count(finished=1)
            self._end_drain_if_empty()

    def engine_away(self, waiter: Waiter) -> bool:
        """Its engine takes no connection, and nothing of an answer has reached the client.

        True: it waits at its old place in the line, as if admit() had said False. False: answer BackendAway.
        """
        traffic = self._traffic
        if waiter not in traffic.in_flight or self._stopping or not self._may_wait:
            return False
        if not traffic.line.has_room_for(waiter):
            return False
        # However often the engine comes and goes, no request waits for it longer than this, unless it is held.
        if self._phase is Phase.OPEN:
            if traffic.lost_seconds(waiter) >= self._limits.engine_wait_seconds:
                return False
            if self._absence.since is None:
                traffic.count_anew()
            if not self._absence.notice():
                return False
            self._settle()
        traffic.wait_again(waiter)
        self._end_drain_if_empty()
        return True

    @property
    def phase(self) -> Phase:
        return Phase.DRAINING if self._stopping else self._phase

    @property
    def in_flight(self) -> int:
        return len(self._traffic.in_flight)

    @property
    def held(self) -> int:
        return len(self._traffic.line)

    @property
    def uptime_seconds(self) -> float:
        return self._effects.monotonic() - self._started

    def door(self) -> DoorStatus:
        return DoorStatus(
            since=self._since,
            reason=self._reason,
            hold_id=self._hold.id if self._hold is not None else None,
            deadline=self._hold.deadline if self._hold is not None else None,
            held_bytes=self._traffic.line.size_bytes,
            held_oldest_seconds=self._traffic.oldest_seconds,
            engine_away_since=self._absence.since,
            counts=self._traffic.counts,
        )

    # The verbs: each may be repeated, and raises VerbRefused where it does not fit. A hold has an owner, whose id every
    # verb must give that changes it, unless it uses force.

    def hold(self, hold_id: str, deadline_seconds: float, reason: Reason, *, force: bool = False) -> None:
        """New requests wait until the owner says otherwise or the deadline passes; repeating renews the deadline.

        A drain that is under way goes on, and ends in this hold.
        """
        self._require(hold_id, force)
        if self._drain is None and (self._hold is None or self._hold.id != hold_id):
            self._traffic.count_anew()
        phase = Phase.DRAINING if self._phase is Phase.DRAINING else Phase.HOLDING
        self._enter(phase, reason, self._new_hold(hold_id, deadline_seconds))

    def begin_drain(
        self, deadline_seconds: float, ended: Callable[[bool], None], *, hold_id: str | None = None, force: bool = False
    ) -> None:
        """Let finish what is in flight, and end what does not fit the deadline; then hold on, or close.

        `ended` is told whether nothing is in flight any more. A drain that is under way is joined and gets the new
        deadline.
        """
        self._require(hold_id, force)
        self._require_transition(Phase.DRAINING)
        timer = self._effects.call_later(min(deadline_seconds, MAX_DEADLINE_SECONDS), self._drain_overdue)
        if self._drain is not None:
            self._drain.timer.cancel()
            self._drain.timer = timer
            self._drain.ended.append(ended)
            return
        if self._hold is None:
            self._traffic.count_anew()
        self._drain = _Drain(timer, [ended])
        self._enter(Phase.DRAINING, self._reason or Reason.STOP, self._hold)
        if self._hold is None:
            self._traffic.refuse_waiting(self._closed())
        self._end_drain_if_empty()

    def opening(
        self,
        hold_id: str,
        deadline_seconds: float,
        *,
        policy: RequestPolicy | None = None,
        models: Iterable[str] = (),
        force: bool = False,
    ) -> None:
        """An engine starts that will serve these models; requests wait for it as in a hold."""
        self._require(hold_id, force)
        self._require_transition(Phase.OPENING)
        self._expect(policy, models)
        self._enter(Phase.OPENING, Reason.START, self._new_hold(hold_id, deadline_seconds))

    def check_open(self, hold_id: str | None, *, force: bool = False) -> None:
        """Raises what open() would."""
        self._require(hold_id, force)
        self._require_transition(Phase.OPEN)

    def open(
        self,
        *,
        policy: RequestPolicy | None = None,
        models: Iterable[str] = (),
        hold_id: str | None = None,
        force: bool = False,
    ) -> None:
        """Let waiting requests go in their order, and new ones at once; that the engine is there is known."""
        self.check_open(hold_id, force=force)
        self._expect(policy, models)
        self._enter(Phase.OPEN, None, None)

    def close(self, reason: Reason, *, hold_id: str | None = None, force: bool = False) -> None:
        """Refuse what waits and what comes; what is in flight goes on."""
        self._require(hold_id, force)
        self._close(reason)

    def stop(self) -> None:
        """The process ends: nothing new comes in, what is in flight may finish. What is saved stays as it is."""
        self._stopping = True
        self._absence.forget()
        _cancel(self._deadline)
        self._settle()
        self._traffic.refuse_waiting(Stopping())

    def end_all(self) -> None:
        """The process waits no longer: whatever is still in flight ends now."""
        self._traffic.refuse_in_flight(Stopping())

    def _require(self, hold_id: str | None, force: bool) -> None:
        if self._stopping:
            raise VerbRefused(Refusal.STOPPING, "the gateway is stopping")
        if self._hold is not None and self._hold.id != hold_id and not force:
            raise VerbRefused(Refusal.HELD_BY_ANOTHER, f"the gateway is held by {self._hold.id!r}")

    def _require_transition(self, phase: Phase) -> None:
        if phase is not self._phase and phase not in TRANSITIONS[self._phase]:
            raise VerbRefused(Refusal.WRONG_PHASE, f"{phase} cannot follow {self._phase}")

    def _new_hold(self, hold_id: str, deadline_seconds: float) -> SavedHold:
        return SavedHold(hold_id, self._effects.now() + min(deadline_seconds, MAX_DEADLINE_SECONDS))

    def _expect(self, policy: RequestPolicy | None, models: Iterable[str]) -> None:
        self._models = frozenset(models)
        if policy is not None:
            self.policy = self._told_policy = policy

    def _enter(self, phase: Phase, reason: Reason | None, hold: SavedHold | None) -> None:
        self._require_transition(phase)
        is_new = phase is not self._phase
        if is_new:
            self._since = self._effects.now()
        self._phase, self._reason, self._hold = phase, reason, hold
        self._epoch += 1
        self._absence.forget()
        # What is in flight in a drain would end with the process that it goes through.
        lasting = self._after_drain if phase is Phase.DRAINING else phase
        self._effects.save(SavedState(lasting, reason, self._since, hold, self._models, self._told_policy))
        self._watch_deadline()
        self._settle()
        if is_new:
            log.info("%s%s", phase, f" ({reason})" if reason else "")
            self.on_phase(phase)
        if phase is not Phase.DRAINING and self._drain is not None:
            drain, self._drain = self._drain, None
            drain.timer.cancel()
            for ended in drain.ended:
                ended(not self._traffic.in_flight)

    def _restore(self, saved: SavedState) -> None:
        self._phase, self._reason, self._hold = saved.phase, saved.reason, saved.hold
        self._since, self._models = saved.since, saved.models
        if saved.policy is not None:
            self.policy = self._told_policy = saved.policy
        log.info("%s, as the gateway before%s", saved.phase, f" ({saved.reason})" if saved.reason else "")
        self._watch_deadline()
        self._settle()

    def _close(self, reason: Reason) -> None:
        self._enter(Phase.CLOSED, reason, None)
        self._traffic.refuse_waiting(self._closed())

    def _watch_deadline(self) -> None:
        _cancel(self._deadline)
        self._deadline = None
        if self._hold is not None and self._phase is not Phase.DRAINING:
            # Even if the clock was put back: no hold lasts longer than it may.
            left_seconds = min(max(self._hold.deadline - self._effects.now(), 0.0), MAX_DEADLINE_SECONDS)
            self._deadline = self._effects.call_later(left_seconds, self._deadline_passed)

    def _deadline_passed(self) -> None:
        epoch = self._epoch

        def answered(models: frozenset[str] | None) -> None:
            if self._epoch != epoch or self._stopping:
                return
            if self._is_ours(models):
                log.warning("nobody ended the hold before its deadline; the engine answers and may serve again")
                self._enter(Phase.OPEN, None, None)
            else:
                log.warning("nobody ended the hold before its deadline, and its engine does not answer")
                self._close(Reason.HOLD_EXPIRED)

        self._effects.ask_engine(answered)

    def _is_ours(self, models: frozenset[str] | None) -> bool:
        return models is not None and self._models <= models

    def _drain_overdue(self) -> None:
        self._traffic.count(cancelled=self.in_flight)
        self._traffic.refuse_in_flight(CutShort())
        self._end_drain_if_empty()

    def _end_drain_if_empty(self) -> None:
        if self._drain is not None and not self._traffic.in_flight:
            self._enter(self._after_drain, self._reason, self._hold)

    @property
    def _after_drain(self) -> Phase:
        return Phase.HOLDING if self._hold is not None else Phase.CLOSED

    def _engine_overdue(self) -> None:
        self._settle()
        self._traffic.refuse_waiting(BackendAway())

    @property
    def _may_wait(self) -> bool:
        return self._phase is Phase.OPEN or self._hold is not None

    def _closed(self) -> Closed:
        return Closed(SENTENCES[self._reason] if self._reason is not None else "")

    def _settle(self) -> None:
        self._traffic.let_go(self._phase is Phase.OPEN and not self._stopping and not self._absence.is_awaited)


def _cancel(timer: Timer | None) -> None:
    if timer is not None:
        timer.cancel()
