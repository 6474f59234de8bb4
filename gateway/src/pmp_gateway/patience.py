"""How long a connection waits for its client: for a request, for the rest of one, or to take an answer."""

import asyncio
from enum import Enum, auto

from pmp_gateway.settings import Settings

# For how long a request that was refused is still read, so that its client gets to see the answer.
_LINGER_SECONDS = 5.0


class Overdue(Enum):
    CLOSE = auto()
    """Nothing is under way."""
    TOO_SLOW = auto()
    """Part of a request is there."""
    ABORT = auto()
    """There is no more to say to this client, or it does not listen."""


class Patience:
    """Since when each wait lasts, on the monotonic clock; None where there is none."""

    __slots__ = ("body_part_at", "body_since", "head_since", "idle_since", "lingers_since", "stalled_since")

    def __init__(self) -> None:
        self.idle_since: float | None = None
        self.head_since: float | None = None
        self.body_since: float | None = None
        self.body_part_at = 0.0
        self.stalled_since: float | None = None
        self.lingers_since: float | None = None

    def is_over(self, transport: asyncio.Transport) -> bool:
        """Nothing that the client still sends counts."""
        return self.lingers_since is not None or transport.is_closing()

    def overdue(self, now: float, settings: Settings, *, answering: bool, reading: bool) -> Overdue | None:
        """While it is being answered, or is not being read, a client need not send anything."""
        if self.lingers_since is not None:
            return Overdue.ABORT if now - self.lingers_since > _LINGER_SECONDS else None
        if self.stalled_since is not None:
            return Overdue.ABORT if now - self.stalled_since > settings.client_stall_seconds else None
        if self.body_since is not None:
            stalls = now - self.body_part_at > settings.body_stall_seconds
            return Overdue.TOO_SLOW if reading and (stalls or now - self.body_since > settings.body_seconds) else None
        if answering:
            return None
        if self.head_since is not None:
            return Overdue.TOO_SLOW if now - self.head_since > settings.head_seconds else None
        if self.idle_since is not None:
            return Overdue.CLOSE if now - self.idle_since > settings.client_idle_seconds else None
        return None
