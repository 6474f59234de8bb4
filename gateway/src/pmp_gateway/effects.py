"""What the state needs of the world: clocks, timers, a word from the engine, and a file that outlives the process."""

from collections.abc import Callable
from typing import Protocol

from pmp_gateway.state_file import SavedState


class Timer(Protocol):
    def cancel(self) -> None: ...


class Effects(Protocol):
    def monotonic(self) -> float: ...

    def now(self) -> float:
        """Seconds since the epoch."""
        ...

    def call_later(self, delay_seconds: float, callback: Callable[[], None]) -> Timer:
        """Calls back from the loop, never before this call returns."""
        ...

    def ask_engine(self, answered: Callable[[frozenset[str] | None], None]) -> None:
        """Asks which models the engine serves; calls back once, within seconds, with None if it does not answer."""
        ...

    def save(self, state: SavedState) -> None:
        """Never raises: a gateway that cannot write still has to serve."""
        ...
