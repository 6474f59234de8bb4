"""The plan: plain data that says what shall run. Runtimes execute it, renderers write it, tests compare it."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Role = Literal["engine", "gateway"]
RuntimeKind = Literal["docker", "process"]
GpuMethod = Literal["device-requests", "cdi", "runtime"]

# Docker's own restart policies know no end but a number of restarts in all.
UNLESS_CRASH_LOOP = "unless-crash-loop"

LABEL_WORKSPACE = "io.pmpctl.workspace"
LABEL_ROLE = "io.pmpctl.role"
LABEL_PROFILE = "io.pmpctl.profile"
LABEL_PLAN = "io.pmpctl.plan"


@dataclass(frozen=True, slots=True)
class Mount:
    """`source` is a host path for `bind`, a volume's name for `volume`, empty for `tmpfs`."""

    kind: Literal["bind", "volume", "tmpfs"]
    source: str
    target: str
    read_only: bool = False
    size_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class PortBinding:
    host_ip: str
    host_port: int
    container_port: int


@dataclass(frozen=True, slots=True)
class GpuRequest:
    """`devices` is ("all",) or indices, GPU-... or MIG-... identifiers."""

    method: GpuMethod
    devices: tuple[str, ...] = ("all",)


@dataclass(frozen=True, slots=True)
class HealthCheck:
    argv: tuple[str, ...]
    interval_seconds: int
    timeout_seconds: int
    retries: int
    start_period_seconds: int


@dataclass(frozen=True, slots=True)
class ImageBuild:
    """An image made here: `files` are the build's context as (name in it, path here), `args` the build arguments.

    No part of a hash: the image's tag names the content, and where that content lies differs between machines.
    """

    files: tuple[tuple[str, Path], ...]
    args: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Unit:
    """One container or one detached process: everything the runtime needs, and nothing it has to decide."""

    role: Role
    name: str
    image: str
    argv: tuple[str, ...]
    env: Mapping[str, str]
    labels: Mapping[str, str]
    health_url: str
    mounts: tuple[Mount, ...] = ()
    ports: tuple[PortBinding, ...] = ()
    build: ImageBuild | None = None
    network: str = ""
    network_alias: str = ""
    gpu: GpuRequest | None = None
    shm_size_bytes: int | None = None
    memlock_bytes: int | None = None
    user: str = ""
    read_only: bool = False
    cap_drop: tuple[str, ...] = ("ALL",)
    cap_add: tuple[str, ...] = ()
    pids_limit: int | None = None
    health: HealthCheck | None = None
    restart: str = "unless-stopped"
    stop_timeout_seconds: int = 30
    log_max_size_bytes: int = 20 * 1024 * 1024
    log_max_files: int = 3
    working_dir: str = ""

    @property
    def hash(self) -> str:
        return _hash(self, without=("labels", "build"))


@dataclass(frozen=True, slots=True)
class Plan:
    workspace: str
    runtime: RuntimeKind
    profile: str
    model: str
    served_names: tuple[str, ...]
    max_model_len: int | None
    engine: Unit
    gateway: Unit
    network: str
    engine_url: str
    base_url: str
    start_timeout_seconds: int
    requests: Mapping[str, Any]
    """A `RequestPolicy` as data. The gateway is told when it opens: its unit outlives a change of profile."""
    warnings: tuple[str, ...] = ()

    @property
    def units(self) -> tuple[Unit, Unit]:
        return (self.engine, self.gateway)

    @property
    def hash(self) -> str:
        return _hash(self, without=("labels", "build", "warnings"))


def as_data(value: Any) -> Any:
    """A plan or a part of it as JSON-ready data."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: as_data(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): as_data(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [as_data(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    return value


def _hash(value: Any, without: tuple[str, ...]) -> str:
    """The first 16 hex digits of the SHA-256 of the canonical JSON, without the named keys at any depth."""

    def strip(data: Any) -> Any:
        if isinstance(data, dict):
            return {key: strip(item) for key, item in data.items() if key not in without}
        if isinstance(data, list):
            return [strip(item) for item in data]
        return data

    text = json.dumps(strip(as_data(value)), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
