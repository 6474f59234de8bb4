"""One unit of a plan as a compose service, in words that `docker compose` and docker-compose 1.29 both know."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pmpctl.planning.engine_unit import HUB_CACHE, SECRETS
from pmpctl.planning.gateway_unit import AUTH_DIR, CONTROL_DIR
from pmpctl.planning.gpu import cdi_names, runtime_environment
from pmpctl.planning.listen import host_address
from pmpctl.planning.plan import GpuRequest, HealthCheck, ImageBuild, Mount, Plan, PortBinding, Unit

MADE_IF_MISSING = (HUB_CACHE, SECRETS, AUTH_DIR)

_UNITS = ((1024**3, "g"), (1024**2, "m"), (1024, "k"))


@dataclass(frozen=True, slots=True)
class Layout:
    """`folder` is where a compose file lies; what lies under `root` is named relative to it, all else absolutely."""

    folder: Path
    root: Path

    def path(self, source: str | Path) -> str:
        if not Path(source).is_relative_to(self.root):
            return str(source)
        relative = os.path.relpath(source, self.folder)
        return relative if relative.startswith("..") else f"./{relative}"


def service(unit: Unit, plan: Plan, layout: Layout) -> dict[str, Any]:
    """No container name and none of our labels: what pmpctl runs and what compose runs never touch each other."""
    keys: dict[str, Any] = {
        "image": unit.image,
        **(_build(unit.build, layout) if unit.build else {}),
        "entrypoint": [unit.argv[0]],
        "command": list(unit.argv[1:]),
        "environment": {**unit.env, **(runtime_environment(unit.gpu) if unit.gpu else {})},
        "volumes": [_volume(mount, plan, layout) for mount in unit.mounts],
        "ports": [_port(port) for port in unit.ports],
        "user": unit.user,
        "working_dir": unit.working_dir,
        "init": True,
        "read_only": unit.read_only,
        "cap_drop": list(unit.cap_drop),
        "cap_add": list(unit.cap_add),
        "security_opt": ["no-new-privileges:true"],
        "pids_limit": unit.pids_limit,
        "shm_size": _size(unit.shm_size_bytes) if unit.shm_size_bytes else None,
        "ulimits": {"memlock": unit.memlock_bytes} if unit.memlock_bytes else None,
        "healthcheck": _health_check(unit.health) if unit.health else None,
        # Compose has no word for the end of a crash loop, and leaves the policy of what it stops as it is.
        "restart": "unless-stopped",
        "stop_grace_period": f"{unit.stop_timeout_seconds}s",
        "logging": {
            "driver": "json-file",
            "options": {"max-size": _size(unit.log_max_size_bytes), "max-file": str(unit.log_max_files)},
        },
        **(_gpu(unit.gpu) if unit.gpu else {}),
    }
    return {key: _literal(value) for key, value in keys.items() if value}


def volume_names(plan: Plan) -> set[str]:
    mounts = (mount for unit in plan.units for mount in unit.mounts)
    return {_volume_name(mount, plan) for mount in mounts if mount.kind == "volume"}


def _volume_name(mount: Mount, plan: Plan) -> str:
    """Compose puts its project's name before a volume's, as the plan does with the workspace's."""
    return mount.source.removeprefix(f"pmpctl-{plan.workspace}-")


def _volume(mount: Mount, plan: Plan, layout: Layout) -> str | dict[str, Any]:
    read_only = {"read_only": True} if mount.read_only else {}
    if mount.target == CONTROL_DIR:
        return {"type": "tmpfs", "target": mount.target}
    match mount.kind:
        case "tmpfs":
            size = {"tmpfs": {"size": mount.size_bytes}} if mount.size_bytes else {}
            return {"type": "tmpfs", "target": mount.target} | size
        case "volume":
            return {"type": "volume", "source": _volume_name(mount, plan), "target": mount.target} | read_only
        case "bind" if mount.target in MADE_IF_MISSING:
            # Every compose makes the missing folder of a short form; of a long one some do and some do not.
            return f"{layout.path(mount.source)}:{mount.target}{':ro' if mount.read_only else ''}"
        case "bind":
            return {"type": "bind", "source": layout.path(mount.source), "target": mount.target} | read_only


def _port(port: PortBinding) -> str:
    address = host_address(port)
    host = f"[{address}]" if ":" in address else address
    return f"{host}:{port.host_port}:{port.container_port}"


def _health_check(health: HealthCheck) -> dict[str, Any]:
    return {
        "test": ["CMD", *health.argv],
        "interval": f"{health.interval_seconds}s",
        "timeout": f"{health.timeout_seconds}s",
        "retries": health.retries,
        "start_period": f"{health.start_period_seconds}s",
    }


def _gpu(gpu: GpuRequest) -> dict[str, Any]:
    match gpu.method:
        case "runtime":
            return {"runtime": "nvidia"}
        case "cdi":
            # Under `devices` only a newer compose tells a CDI name from a path; a device request they all pass on.
            request: dict[str, Any] = {"driver": "cdi", "device_ids": cdi_names(gpu)}
        case "device-requests" if gpu.devices == ("all",):
            request = {"count": "all"}
        case "device-requests":
            request = {"device_ids": list(gpu.devices)}
    return {"deploy": {"resources": {"reservations": {"devices": [request | {"capabilities": ["gpu"]}]}}}}


def _build(build: ImageBuild, layout: Layout) -> dict[str, Any]:
    context = layout.path(dict(build.files)["Dockerfile"].parent)
    # Built each time, which costs little when nothing changed: only `up` gives each content a tag of its own.
    return {"build": {"context": context, "args": dict(build.args)}, "pull_policy": "build"}


def _size(size_bytes: int) -> str:
    """In Docker's own shorthand where it says the same."""
    return next((f"{size_bytes // step}{name}" for step, name in _UNITS if size_bytes % step == 0), str(size_bytes))


def _literal(value: Any) -> Any:
    """Compose takes $NAME for a variable; $$ is a dollar."""
    if isinstance(value, str):
        return value.replace("$", "$$")
    if isinstance(value, Mapping):
        return {key: _literal(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_literal(item) for item in value]
    return value
