"""A unit as the engine API's body of `POST /containers/create`: pure, so that what a container may do is testable."""

from typing import Any

from pmpctl.planning.gpu import runtime_environment
from pmpctl.planning.listen import host_address
from pmpctl.planning.plan import LABEL_WORKSPACE, UNLESS_CRASH_LOOP, HealthCheck, Mount, Unit
from pmpctl.runtime.docker_gpu import device_requests
from pmpctl.runtime.docker_keeper import RESTART_POLICY, kept

NANOSECONDS = 1_000_000_000


def create_body(unit: Unit, network_id: str) -> dict[str, Any]:
    """The unit's argv replaces the image's entrypoint too, so that nothing depends on how an image was made.

    The network goes by its id, since Docker 20.10 allows one name twice.
    """
    environment = {**unit.env, **(runtime_environment(unit.gpu) if unit.gpu else {})}
    body: dict[str, Any] = {
        "Image": unit.image,
        "Env": [f"{name}={value}" for name, value in environment.items()],
        "Labels": dict(unit.labels),
        "ExposedPorts": {f"{port.container_port}/tcp": {} for port in unit.ports},
        "StopTimeout": unit.stop_timeout_seconds,
        "User": unit.user,
        "WorkingDir": unit.working_dir,
        "HostConfig": _host_config(unit, network_id),
    }
    if unit.argv:
        program, *arguments = kept(unit.argv) if unit.restart == UNLESS_CRASH_LOOP else unit.argv
        body |= {"Entrypoint": [program], "Cmd": arguments}
    if unit.health is not None:
        body["Healthcheck"] = _health_check(unit.health)
    if network_id:
        aliases = [unit.network_alias] if unit.network_alias else []
        body["NetworkingConfig"] = {"EndpointsConfig": {network_id: {"Aliases": aliases}}}
    return body


def _host_config(unit: Unit, network_id: str) -> dict[str, Any]:
    config: dict[str, Any] = {
        "Mounts": [_mount(mount, unit) for mount in unit.mounts],
        "PortBindings": {},
        "RestartPolicy": {"Name": RESTART_POLICY if unit.restart == UNLESS_CRASH_LOOP else unit.restart},
        "LogConfig": {
            "Type": "json-file",
            "Config": {"max-size": str(unit.log_max_size_bytes), "max-file": str(unit.log_max_files)},
        },
        "CapDrop": list(unit.cap_drop),
        "CapAdd": list(unit.cap_add),
        "SecurityOpt": ["no-new-privileges:true"],
        "ReadonlyRootfs": unit.read_only,
        "Init": True,
    }
    for port in unit.ports:
        bindings = config["PortBindings"].setdefault(f"{port.container_port}/tcp", [])
        bindings.append({"HostIp": host_address(port), "HostPort": str(port.host_port)})
    if network_id:
        config["NetworkMode"] = network_id
    if unit.shm_size_bytes is not None:
        config["ShmSize"] = unit.shm_size_bytes
    if unit.pids_limit is not None:
        config["PidsLimit"] = unit.pids_limit
    if unit.memlock_bytes is not None:
        config["Ulimits"] = [{"Name": "memlock", "Soft": unit.memlock_bytes, "Hard": unit.memlock_bytes}]
    if unit.gpu is not None:
        config["DeviceRequests"] = device_requests(unit.gpu)
        if unit.gpu.method == "runtime":
            config["Runtime"] = "nvidia"
    return config


def _mount(mount: Mount, unit: Unit) -> dict[str, Any]:
    """A bind by Mount, not by Binds: a missing source is an error, not a directory of root's making."""
    data: dict[str, Any] = {"Type": mount.kind, "Target": mount.target, "ReadOnly": mount.read_only}
    if mount.kind != "tmpfs":
        data["Source"] = mount.source
    elif mount.size_bytes is not None:
        data["TmpfsOptions"] = {"SizeBytes": mount.size_bytes}
    if mount.kind == "volume" and (workspace := unit.labels.get(LABEL_WORKSPACE)):
        data["VolumeOptions"] = {"Labels": {LABEL_WORKSPACE: workspace}}
    return data


def _health_check(health: HealthCheck) -> dict[str, Any]:
    return {
        "Test": ["CMD", *health.argv],
        "Interval": health.interval_seconds * NANOSECONDS,
        "Timeout": health.timeout_seconds * NANOSECONDS,
        "Retries": health.retries,
        "StartPeriod": health.start_period_seconds * NANOSECONDS,
    }
