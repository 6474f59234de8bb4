"""An engine that went away without a hold: it is asked again and again, and requests wait for it only so long."""

from collections.abc import Callable

from pmp_gateway.effects import Effects, Timer

_FIRST_PAUSE_SECONDS = 0.25
_LONGEST_PAUSE_SECONDS = 4.0


class EngineAbsence:
    """`returned` is called when the engine answers again, `overdue` once when it has not within `wait_seconds`."""

    def __init__(
        self,
        effects: Effects,
        wait_seconds: float,
        *,
        is_ours: Callable[[frozenset[str] | None], bool],
        returned: Callable[[], None],
        overdue: Callable[[], None],
    ) -> None:
        self._effects = effects
        self._wait_seconds = wait_seconds
        self._is_ours = is_ours
        self._returned = returned
        self._overdue = overdue
        # Seconds since the epoch; None while nothing suggests that the engine is away.
        self.since: float | None = None
        # Whether requests may still hope for it.
        self.is_awaited = False
        self._round = 0
        self._pause_seconds = _FIRST_PAUSE_SECONDS
        self._limit: Timer | None = None
        self._next_question: Timer | None = None

    def notice(self) -> bool:
        """The engine takes no connections; whether it is worth waiting for."""
        if self.since is None and self._wait_seconds > 0:
            self.since = self._effects.now()
            self.is_awaited = True
            self._pause_seconds = _FIRST_PAUSE_SECONDS
            self._limit = self._effects.call_later(self._wait_seconds, self._give_up)
            self._ask_later()
        return self.is_awaited

    def forget(self) -> None:
        """The engine is there, or it is somebody else's business where it is."""
        self._round += 1
        self.since = None
        self.is_awaited = False
        for timer in (self._limit, self._next_question):
            if timer is not None:
                timer.cancel()

    def _give_up(self) -> None:
        # Asking goes on, so that the status tells when it is back.
        self.is_awaited = False
        self._overdue()

    def _ask_later(self) -> None:
        self._next_question = self._effects.call_later(self._pause_seconds, self._ask)
        self._pause_seconds = min(2 * self._pause_seconds, _LONGEST_PAUSE_SECONDS)

    def _ask(self) -> None:
        this_round = self._round

        def answered(models: frozenset[str] | None) -> None:
            if self._round != this_round:
                return
            if self._is_ours(models):
                self.forget()
                self._returned()
            else:
                self._ask_later()

        self._effects.ask_engine(answered)
