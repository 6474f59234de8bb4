"""What the control socket says: plain data, importable without any web framework."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any

SCHEMA = 1


class Phase(StrEnum):
    """What the gateway does with a request that comes now."""

    CLOSED = "closed"
    OPENING = "opening"
    OPEN = "open"
    HOLDING = "holding"
    DRAINING = "draining"


@dataclass(frozen=True, slots=True)
class Verb:
    method: str
    path: str


VERBS: Mapping[str, Verb] = MappingProxyType({"status": Verb("GET", "/status"), "reload": Verb("POST", "/reload")})


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
class GatewayStatus:
    """`requests_total` counts what passed the token check, which probes of /health do not need to."""

    version: str
    phase: Phase
    in_flight: int
    held: int
    requests_total: int
    backend: BackendStatus
    auth: AuthStatus
    uptime_seconds: float

    def as_data(self) -> dict[str, Any]:
        return {"schema": SCHEMA, **asdict(self)}

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> "GatewayStatus":
        """Reads any answer of this schema, also one with more members; KeyError or ValueError if it is another."""
        if data["schema"] != SCHEMA:
            raise ValueError(f"the gateway speaks schema {data['schema']}, expected {SCHEMA}")
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
        )


@dataclass(frozen=True, slots=True)
class ControlAnswer:
    """The answer of every verb but `status`: what is in force now, or why nothing changed."""

    ok: bool
    message: str
    auth: AuthStatus

    def as_data(self) -> dict[str, Any]:
        return {"schema": SCHEMA, **asdict(self)}
