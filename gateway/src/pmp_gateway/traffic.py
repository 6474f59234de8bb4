"""Who is in flight and who waits: sends waiting requests on in their order, and ends their waiting in time."""

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial

from pmp_gateway.control_schema import HoldCounts
from pmp_gateway.effects import Effects, Timer
from pmp_gateway.failures import GatewayError, HoldTimedOut
from pmp_gateway.waiting import HoldLimits, Waiter, WaitingLine

log = logging.getLogger(__name__)

# How many waiting requests go to the engine at once; the loop turns between, so that streams go on meanwhile.
RELEASE_BATCH = 16


class Traffic:
    """Knows nothing of phases: it is told whether requests may go."""

    def __init__(self, effects: Effects, limits: HoldLimits) -> None:
        self._effects = effects
        self._limits = limits
        # Whether a request that comes now need not wait; read on every request.
        self.passes = True
        # Each with its number among all that were admitted.
        self.in_flight: dict[Waiter, int] = {}
        self.line = WaitingLine(limits.max_requests, limits.max_bytes)
        # Since when requests that lost their engine have been without it.
        self._lost_since: dict[Waiter, float] = {}
        self._may_go = True
        self._counts: Counter[str] = Counter()
        self._patience: Timer | None = None
        self._release: Timer | None = None

    @property
    def counts(self) -> HoldCounts:
        return HoldCounts(**self._counts)

    @property
    def oldest_seconds(self) -> float | None:
        since = self.line.oldest_since
        return self._effects.monotonic() - since if since is not None else None

    def count_anew(self) -> None:
        self._counts = Counter(held=len(self.line))

    def count(self, **amounts: int) -> None:
        self._counts.update(amounts)

    def let_go(self, may_go: bool) -> None:
        self._may_go = may_go
        self._settle()

    def wait(self, waiter: Waiter, ordinal: int) -> None:
        """Raises HoldFull."""
        self.line.join(waiter, ordinal, self._effects.monotonic())
        self.count(held=1)
        self._settle()

    def wait_again(self, waiter: Waiter) -> None:
        """From in flight back to the old place in the line; raises HoldFull."""
        self.line.put_back(waiter, self.in_flight[waiter], self._effects.monotonic() - self.lost_seconds(waiter))
        del self.in_flight[waiter]
        self.count(held=1)
        self._settle()

    def lost_seconds(self, waiter: Waiter) -> float:
        """How long it has been without an engine, counted from the first time that this is asked."""
        now = self._effects.monotonic()
        return now - self._lost_since.setdefault(waiter, now)

    def leave(self, waiter: Waiter) -> bool:
        """Whether it was in flight."""
        was_in_flight = self.in_flight.pop(waiter, None) is not None
        if self._lost_since:
            self._lost_since.pop(waiter, None)
        if not was_in_flight and self.line.remove(waiter):
            self.count(left=1)
            self._settle()
        return was_in_flight

    def refuse_waiting(self, error: GatewayError) -> None:
        waiting = self.line.clear()
        self.count(refused=len(waiting))
        self._settle()
        self._refuse(waiting, error)

    def refuse_in_flight(self, error: GatewayError) -> int:
        """How many there were."""
        ended = list(self.in_flight)
        self.in_flight.clear()
        self._refuse(ended, error)
        return len(ended)

    def _settle(self) -> None:
        """After every change: whether requests pass, and the timers that the line needs."""
        self.passes = self._may_go and not self.line
        if not self.line:
            return
        if self._may_go and self._release is None:
            self._release = self._effects.call_later(0, self._send_some)
        if self._patience is None:
            self._watch_patience()

    def _send_some(self) -> None:
        for _ in range(RELEASE_BATCH):
            if not (self.line and self._may_go):
                break
            waiter, ordinal = self.line.take_first()
            self.in_flight[waiter] = ordinal
            self.count(released=1)
            _call(waiter.go)
        self._release = None
        self._settle()

    def _watch_patience(self) -> None:
        oldest_seconds = self.oldest_seconds
        if oldest_seconds is not None:
            left_seconds = max(self._limits.timeout_seconds - oldest_seconds, 0.0)
            self._patience = self._effects.call_later(left_seconds, self._end_patience)

    def _end_patience(self) -> None:
        self._patience = None
        overdue = self.line.remove_overdue(self._effects.monotonic() - self._limits.timeout_seconds)
        self.count(refused=len(overdue))
        self._settle()
        self._refuse(overdue, HoldTimedOut())

    def _refuse(self, waiters: Sequence[Waiter], error: GatewayError) -> None:
        for waiter in waiters:
            self._lost_since.pop(waiter, None)
        for waiter in waiters:
            _call(partial(waiter.refuse, error))


def _call(action: Callable[[], None]) -> None:
    """One request's trouble must not keep the others waiting."""
    try:
        action()
    except Exception:
        log.exception("a request could not be told how it goes on")
