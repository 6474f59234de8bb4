"""The line of requests that wait for the engine: first come, first served, within bounds."""

from dataclasses import dataclass
from typing import Protocol

from pmp_gateway.failures import GatewayError, HoldFull


class Waiter(Protocol):
    """A request, as the state sees it. Neither call may block; what they raise is logged and goes no further."""

    size_bytes: int
    is_stream: bool

    def go(self) -> None:
        """Its turn has come: it is in flight from here on."""
        ...

    def refuse(self, error: GatewayError) -> None:
        """End it with this error, in the line or in flight; the state has forgotten it already."""
        ...


@dataclass(frozen=True, slots=True)
class HoldLimits:
    """What may wait, and for how long; `engine_wait_seconds` is for an engine that is away outside any hold."""

    max_requests: int = 256
    max_bytes: int = 256 * 1024**2
    timeout_seconds: float = 600
    engine_wait_seconds: float = 20


@dataclass(frozen=True, slots=True)
class _Place:
    """`ordinal` counts admissions: who was in flight and comes back stands before all that came later."""

    ordinal: int
    since: float
    size_bytes: int


class WaitingLine:
    """Times are the caller's clock; every operation but `put_back` and `remove_overdue` takes constant time."""

    def __init__(self, max_requests: int, max_bytes: int) -> None:
        self._max_requests = max_requests
        self._max_bytes = max_bytes
        self._places: dict[Waiter, _Place] = {}
        self.size_bytes = 0

    def __len__(self) -> int:
        return len(self._places)

    @property
    def oldest_since(self) -> float | None:
        return min((place.since for place in self._places.values()), default=None)

    def join(self, waiter: Waiter, ordinal: int, since: float) -> None:
        """Stand behind everybody else; raises HoldFull."""
        if not self.has_room_for(waiter):
            raise HoldFull
        self._places[waiter] = _Place(ordinal, since, waiter.size_bytes)
        self.size_bytes += waiter.size_bytes

    def put_back(self, waiter: Waiter, ordinal: int, since: float) -> None:
        """Stand where the ordinal says; raises HoldFull."""
        self.join(waiter, ordinal, since)
        self._places = dict(sorted(self._places.items(), key=lambda item: item[1].ordinal))

    def has_room_for(self, waiter: Waiter) -> bool:
        return len(self._places) < self._max_requests and self.size_bytes + waiter.size_bytes <= self._max_bytes

    def remove(self, waiter: Waiter) -> bool:
        """Whether it stood in the line."""
        place = self._places.pop(waiter, None)
        if place is None:
            return False
        self.size_bytes -= place.size_bytes
        return True

    def take_first(self) -> tuple[Waiter, int]:
        """The first one and its ordinal."""
        waiter = next(iter(self._places))
        ordinal = self._places[waiter].ordinal
        self.remove(waiter)
        return waiter, ordinal

    def remove_overdue(self, since: float) -> list[Waiter]:
        """Those who have waited since then or longer."""
        overdue = [waiter for waiter, place in self._places.items() if place.since <= since]
        for waiter in overdue:
            self.remove(waiter)
        return overdue

    def clear(self) -> list[Waiter]:
        everybody = list(self._places)
        self._places.clear()
        self.size_bytes = 0
        return everybody
