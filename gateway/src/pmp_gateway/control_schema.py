"""What the control socket says: plain data, importable without any web framework."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from pmp_gateway.request_policy import ALLOWABLE_FIELDS as ALLOWABLE_FIELDS
from pmp_gateway.request_policy import RequestPolicy as RequestPolicy

SCHEMA = 1

# No hold outlasts this without being asked for again: requests must never wait for a controller that is gone.
MAX_DEADLINE_SECONDS = 3600.0
DEFAULT_HOLD_SECONDS = 600.0
DEFAULT_DRAIN_SECONDS = 30.0
# The id of holds that a person asks for by hand.
OPERATOR = "operator"


class Phase(StrEnum):
    """What the gateway does with a request that comes now."""

    CLOSED = "closed"
    """Refuses it: there is no engine, and none is on its way."""
    OPENING = "opening"
    """Lets it wait: an engine starts."""
    OPEN = "open"
    """Sends it to the engine."""
    HOLDING = "holding"
    """Lets it wait: what is in flight goes on, and then the engine may go."""
    DRAINING = "draining"
    """Ends what is in flight within a deadline; lets new ones wait if they were held before, else refuses them."""


class Reason(StrEnum):
    """Why requests wait or are refused; each has its sentence for clients in `phases.py`."""

    SWITCH = "switch"
    START = "start"
    MAINTENANCE = "maintenance"
    STOP = "stop"
    SWITCH_FAILED = "switch_failed"
    ENGINE_FAILED = "engine_failed"
    HOLD_EXPIRED = "hold_expired"
    """Nobody ended a hold before its deadline, and the engine that served before it did not answer."""
    STATE_UNREADABLE = "state_unreadable"
    """The file that says what a killed gateway was doing is damaged."""


@dataclass(frozen=True, slots=True)
class Verb:
    method: str
    path: str


VERBS: Mapping[str, Verb] = MappingProxyType(
    {"status": Verb("GET", "/status")}
    | {name: Verb("POST", f"/{name}") for name in ("reload", "hold", "drain", "opening", "open", "close")}
)


@dataclass(frozen=True, slots=True)
class BackendStatus:
    """`models` are the names the engine serves, empty while it is not ready."""

    url: str
    ready: bool
    models: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AuthStatus:
    enabled: bool
    tokens: int


@dataclass(frozen=True, slots=True)
class HoldCounts:
    """What became of the requests that the last hold, drain or absence of the engine touched.

    `held` had to wait; of them `released` went to the engine, `refused` were told to come again, `left` did not wait
    for it. `finished` were in flight during the drain and ended by themselves; `cancelled` did not fit its deadline.
    """

    held: int = 0
    released: int = 0
    refused: int = 0
    left: int = 0
    finished: int = 0
    cancelled: int = 0


@dataclass(frozen=True, slots=True)
class DoorStatus:
    """What there is to know of the phase; times are seconds since the epoch."""

    since: float
    reason: Reason | None = None
    hold_id: str | None = None
    deadline: float | None = None
    held_bytes: int = 0
    held_oldest_seconds: float | None = None
    engine_away_since: float | None = None
    counts: HoldCounts = field(default_factory=HoldCounts)

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> "DoorStatus":
        reason = data["reason"]
        return cls(
            since=data["since"],
            reason=Reason(reason) if reason is not None else None,
            hold_id=data["hold_id"],
            deadline=data["deadline"],
            held_bytes=data["held_bytes"],
            held_oldest_seconds=data["held_oldest_seconds"],
            engine_away_since=data["engine_away_since"],
            counts=HoldCounts(**{each.name: data["counts"][each.name] for each in fields(HoldCounts)}),
        )


@dataclass(frozen=True, slots=True)
class GatewayStatus:
    """`requests_total` counts the requests that were fit for the engine: let in, whole, and within the policy."""

    version: str
    phase: Phase
    in_flight: int
    held: int
    requests_total: int
    backend: BackendStatus
    auth: AuthStatus
    uptime_seconds: float
    door: DoorStatus

    def as_data(self) -> dict[str, Any]:
        return {"schema": SCHEMA, **asdict(self)}

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> "GatewayStatus":
        """Reads any answer of this schema, also one with more members; KeyError or ValueError if it is another."""
        _require_schema(data)
        backend, auth = data["backend"], data["auth"]
        return cls(
            version=data["version"],
            phase=Phase(data["phase"]),
            in_flight=data["in_flight"],
            held=data["held"],
            requests_total=data["requests_total"],
            backend=BackendStatus(backend["url"], backend["ready"], tuple(backend["models"])),
            auth=AuthStatus(auth["enabled"], auth["tokens"]),
            uptime_seconds=data["uptime_seconds"],
            door=DoorStatus.from_data(data["door"]),
        )


@dataclass(frozen=True, slots=True)
class ControlAnswer:
    """The answer of `reload`: what is in force now, or why nothing changed."""

    ok: bool
    message: str
    auth: AuthStatus

    def as_data(self) -> dict[str, Any]:
        return {"schema": SCHEMA, **asdict(self)}


class Refusal(StrEnum):
    """Why a verb did nothing."""

    WRONG_PHASE = "wrong_phase"
    HELD_BY_ANOTHER = "held_by_another"
    ENGINE_AWAY = "engine_away"
    WRONG_MODELS = "wrong_models"
    DRAIN_ENDED_EARLY = "drain_ended_early"
    """Another verb changed the phase while requests were still in flight."""
    STOPPING = "stopping"
    INVALID = "invalid"


@dataclass(frozen=True, slots=True)
class PhaseAnswer:
    """The answer of every verb that concerns the phase: how it is now, and why it did not change if it did not."""

    ok: bool
    message: str
    refusal: Refusal | None
    phase: Phase
    in_flight: int
    held: int
    door: DoorStatus

    def as_data(self) -> dict[str, Any]:
        return {"schema": SCHEMA, **asdict(self)}

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> "PhaseAnswer":
        _require_schema(data)
        refusal = data["refusal"]
        return cls(
            ok=data["ok"],
            message=data["message"],
            refusal=Refusal(refusal) if refusal is not None else None,
            phase=Phase(data["phase"]),
            in_flight=data["in_flight"],
            held=data["held"],
            door=DoorStatus.from_data(data["door"]),
        )


def _require_schema(data: Mapping[str, Any]) -> None:
    if data["schema"] != SCHEMA:
        raise ValueError(f"the gateway speaks schema {data['schema']}, expected {SCHEMA}")
