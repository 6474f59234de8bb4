"""A world in which time passes when a test says so, and requests that note what becomes of them."""

import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field

from pmp_gateway.failures import GatewayError
from pmp_gateway.state_file import SavedState

Answered = Callable[[frozenset[str] | None], None]


@dataclass
class FakeTimer:
    callback: Callable[[], None]
    cancelled: bool = False

    def cancel(self) -> None:
        self.cancelled = True


@dataclass
class FakeEffects:
    clock_seconds: float = 1000.0
    wall_seconds: float = 1_700_000_000.0
    saved: SavedState | None = None
    questions: list[Answered] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._timers: list[tuple[float, int, FakeTimer]] = []
        self._numbers = itertools.count()

    def monotonic(self) -> float:
        return self.clock_seconds

    def now(self) -> float:
        return self.wall_seconds

    def call_later(self, delay_seconds: float, callback: Callable[[], None]) -> FakeTimer:
        assert delay_seconds >= 0
        timer = FakeTimer(callback)
        heapq.heappush(self._timers, (self.clock_seconds + delay_seconds, next(self._numbers), timer))
        return timer

    def ask_engine(self, answered: Answered) -> None:
        self.questions.append(answered)

    def save(self, state: SavedState) -> None:
        self.saved = state

    def advance(self, seconds: float = 0.0) -> None:
        """Run what is due within that time, in its order; without an argument, what is due now."""
        end = self.clock_seconds + seconds
        while self._timers and self._timers[0][0] <= end:
            due, _, timer = heapq.heappop(self._timers)
            self._set_clock(max(due, self.clock_seconds))
            if not timer.cancelled:
                timer.callback()
        self._set_clock(end)

    @property
    def is_busy(self) -> bool:
        """Whether something is due now, or the engine has been asked."""
        due_now = (timer for due, _, timer in self._timers if due <= self.clock_seconds)
        return bool(self.questions) or any(not timer.cancelled for timer in due_now)

    def answer(self, models: frozenset[str] | None) -> None:
        """Answer every question that the engine has been asked."""
        questions, self.questions = self.questions, []
        for answered in questions:
            answered(models)

    def _set_clock(self, seconds: float) -> None:
        self.wall_seconds += seconds - self.clock_seconds
        self.clock_seconds = seconds


@dataclass(eq=False)
class Client:
    """`does_on_go` runs inside go(), as a request that fails or ends at once would."""

    name: str = ""
    size_bytes: int = 100
    is_stream: bool = False
    went: int = 0
    errors: list[GatewayError] = field(default_factory=list)
    does_on_go: Callable[["Client"], None] = lambda _client: None

    def go(self) -> None:
        self.went += 1
        self.does_on_go(self)

    def refuse(self, error: GatewayError) -> None:
        self.errors.append(error)
