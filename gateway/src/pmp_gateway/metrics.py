"""What the gateway counts: plain numbers that cost next to nothing to add to; `metrics_page` shows them."""

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus

from pmp_gateway.control_schema import Phase
from pmp_gateway.failures import RULES, UNFORESEEN
from pmp_gateway.outcome import CLIENT_LEFT, Outcome
from pmp_gateway.routes import ONE_MODEL, ROUTE_NAMES, route_name

OTHER = "other"
# What stands for a status that no standard knows, so that an engine cannot make up label values.
OTHER_STATUS = 0

_DURATIONS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600, 1800)
_FIRST_BYTES = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2.5, 5, 10, 30, 60, 300)
_CHUNK_GAPS = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.04, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1, 2.5, 10)
_HOLDS = (0.1, 0.5, 1, 5, 10, 30, 60, 120, 300, 600, 1800)

_STATUSES = frozenset({*HTTPStatus, CLIENT_LEFT})
_ERROR_CODES = frozenset({UNFORESEEN.code, *(rule.code for rule in RULES.values())})
_AUTH_FAILURES = frozenset(rule.code for rule in RULES.values() if rule.status == HTTPStatus.UNAUTHORIZED)


class Histogram:
    """How many values lie in each bucket; the last one holds what is above all bounds."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value


@dataclass(frozen=True, slots=True)
class Now:
    """What is read at the moment of a scrape instead of being counted."""

    phase: Phase
    in_flight: int
    held: int
    log_lines_dropped: int = 0


class Metrics:
    def __init__(self, now: Callable[[], Now]) -> None:
        self.now = now
        # By route and status; how many requests there were is how many durations were noted.
        self.durations: dict[str, defaultdict[int, Histogram]] = {
            route: defaultdict(_new_durations) for route in (*ROUTE_NAMES.values(), ONE_MODEL, OTHER)
        }
        # Of answers that are no streams, and of streams.
        self.first_bytes = (Histogram(_FIRST_BYTES), Histogram(_FIRST_BYTES))
        self.chunk_gaps = Histogram(_CHUNK_GAPS)
        self.holds = Histogram(_HOLDS)
        self.errors: Counter[str] = Counter()
        self.phase_transitions: Counter[Phase] = Counter()
        self.bytes_sent = 0
        self.prompt_tokens = 0
        self.completion_tokens = 0
        # Called for every chunk of every stream, so nothing stands between the caller and the histogram.
        self.chunk_gap: Callable[[float], None] = self.chunk_gaps.observe

    @property
    def auth_failures(self) -> int:
        return sum(self.errors[code] for code in _AUTH_FAILURES)

    def finished(self, exchange: Outcome) -> None:
        """Count a request whose answer is complete, or that will have no more of it."""
        route = ROUTE_NAMES.get(exchange.raw_path) or route_name(exchange.raw_path) or OTHER
        status = exchange.status or CLIENT_LEFT
        if status not in _STATUSES:
            status = OTHER_STATUS
        self.durations[route][status].observe(exchange.duration_seconds)
        self.bytes_sent += exchange.bytes_sent
        code = exchange.error_code
        if code is not None:
            self.errors[code if code in _ERROR_CODES else OTHER] += 1
        elif exchange.first_byte_seconds is not None and status < HTTPStatus.BAD_REQUEST:
            self.first_bytes[exchange.is_stream].observe(exchange.first_byte_seconds)
        if exchange.held_seconds:
            self.holds.observe(exchange.held_seconds)
        if exchange.prompt_tokens:
            self.prompt_tokens += exchange.prompt_tokens
        if exchange.completion_tokens:
            self.completion_tokens += exchange.completion_tokens

    def phase_entered(self, phase: Phase) -> None:
        self.phase_transitions[phase] += 1


def _new_durations() -> Histogram:
    return Histogram(_DURATIONS)
