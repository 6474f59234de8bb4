"""The one owner of what the gateway is doing: its phase and the requests in flight."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from pmp_gateway.control_schema import Phase
from pmp_gateway.exchange import Exchange


class GatewayState:
    def __init__(self) -> None:
        self.phase = Phase.OPEN
        self.requests_total = 0
        self._in_flight: set[Exchange] = set()
        self._started = time.monotonic()

    @property
    def in_flight(self) -> int:
        return len(self._in_flight)

    @property
    def uptime_seconds(self) -> float:
        return time.monotonic() - self._started

    @contextmanager
    def admitted(self, exchange: Exchange) -> Iterator[None]:
        """Counts a request as in flight for as long as the block runs, however it ends."""
        self.requests_total += 1
        self._in_flight.add(exchange)
        try:
            yield
        finally:
            self._in_flight.discard(exchange)

    def drain(self) -> None:
        """Nothing new comes in from here on; what is in flight may finish."""
        self.phase = Phase.DRAINING
