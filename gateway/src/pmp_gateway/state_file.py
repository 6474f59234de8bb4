"""What a killed gateway was doing, kept beside its control socket."""

import json
import logging
import math
import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pmp_gateway.control_schema import Phase, Reason
from pmp_gateway.request_policy import RequestPolicy

log = logging.getLogger(__name__)

_SCHEMA = 1
_MODE = 0o600


@dataclass(frozen=True, slots=True)
class SavedHold:
    """`deadline` is in seconds since the epoch, so that it passes also while no gateway runs."""

    id: str
    deadline: float


@dataclass(frozen=True, slots=True)
class SavedState:
    """What a gateway does that starts now.

    `models` are what the right engine serves, and `policy` is what requests may ask of it; empty and None if nobody
    said.
    """

    phase: Phase
    reason: Reason | None
    since: float
    hold: SavedHold | None
    models: frozenset[str] = frozenset()
    policy: RequestPolicy | None = None

    def as_data(self) -> dict[str, Any]:
        return {
            "schema": _SCHEMA,
            "phase": self.phase,
            "reason": self.reason,
            "since": self.since,
            "hold": {"id": self.hold.id, "deadline": self.hold.deadline} if self.hold is not None else None,
            "models": sorted(self.models),
            "policy": self.policy.as_data() if self.policy is not None else None,
        }

    @classmethod
    def from_data(cls, data: Any) -> "SavedState":
        """Raises ValueError, KeyError or TypeError for what no gateway has written."""
        if data["schema"] != _SCHEMA:
            raise ValueError(f"it has schema {data['schema']}, expected {_SCHEMA}")
        phase, reason, hold, policy = Phase(data["phase"]), data["reason"], data["hold"], data["policy"]
        if (hold is not None) is not (phase in (Phase.HOLDING, Phase.OPENING)):
            raise ValueError(f"{phase} does not go with the hold {hold!r}")
        return cls(
            phase=phase,
            reason=Reason(reason) if reason is not None else None,
            since=_time(data["since"]),
            hold=SavedHold(str(hold["id"]), _time(hold["deadline"])) if hold is not None else None,
            models=frozenset(str(name) for name in data["models"]),
            policy=RequestPolicy.from_data(policy) if policy is not None else None,
        )


class StateFile:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._temporary = path.with_name(f".{path.name}.new")

    def load(self) -> SavedState | None:
        """None where no gateway has left anything.

        What cannot be understood is set aside, and the gateway starts closed: whoever wrote it may have been in the
        middle of a change of model, and then nobody has checked which engine answers now.
        """
        try:
            return SavedState.from_data(json.loads(self._path.read_bytes()))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            self._set_aside(error)
            return SavedState(Phase.CLOSED, Reason.STATE_UNREADABLE, since=time.time(), hold=None)

    def save(self, state: SavedState) -> None:
        """Atomic, also through a power cut; what goes wrong is logged, since serving matters more."""
        try:
            descriptor = os.open(self._temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _MODE)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                json.dump(state.as_data(), file)
                file.flush()
                os.fsync(file.fileno())
            self._temporary.replace(self._path)
        except OSError as error:
            log.warning("what the gateway is doing cannot be kept in %s: %s", self._path, error.strerror)

    def _set_aside(self, error: Exception) -> None:
        aside = self._path.with_name(f"{self._path.name}.damaged")
        log.warning("%s is damaged (%r): starting closed, and keeping it as %s", self._path, error, aside.name)
        with suppress(OSError):
            self._path.replace(aside)


def _time(value: object) -> float:
    if not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{value!r} is no time")
    return float(value)
