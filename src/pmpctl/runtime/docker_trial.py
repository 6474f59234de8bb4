"""A short-lived container of a unit's image that runs a few lines of Python, without GPU, network or caches."""

import math
from typing import Any

from docker.errors import APIError, ImageNotFound, NotFound

from pmpctl.planning.engine_unit import SECRETS
from pmpctl.planning.plan import Unit
from pmpctl.runtime.base import LogQuery, TrialRun
from pmpctl.runtime.docker_connect import EngineClient
from pmpctl.runtime.docker_errors import CONNECTION_ERRORS, engine_errors
from pmpctl.runtime.docker_logs import container_log

OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
LABEL_TRIAL = "io.pmpctl.trial"
LOW_CPU_SHARES = 64
"""Of Docker's usual 1024: an engine serves beside it."""


def run_trial(
    client: EngineClient, workspace_id: str, unit: Unit, source: str, argv: tuple[str, ...], timeout_seconds: float
) -> TrialRun | None:
    """None where it did not end in time, or the image has no Python that could be started."""
    remove_trials(client, workspace_id)
    with engine_errors("try the engine's arguments"):
        created = client.create_container_from_config(_body(unit, workspace_id, source, argv))["Id"]  # type: ignore[no-untyped-call]
    try:
        client.start(created)
        status = client.wait(created, timeout=math.ceil(timeout_seconds))["StatusCode"]
        output = tuple(line.text for line in container_log(client, created, LogQuery()))
        return TrialRun(int(status), output)
    except (APIError, *CONNECTION_ERRORS):
        return None
    finally:
        _remove(client, created)


def remove_trials(client: EngineClient, workspace_id: str) -> None:
    """What a command that was killed left behind."""
    with engine_errors("list its containers"):
        left = client.containers(all=True, filters={"label": f"{LABEL_TRIAL}={workspace_id}"})
    for container in left:
        _remove(client, container["Id"])


def image_id(client: EngineClient, image: str) -> str | None:
    with engine_errors("inspect an image"):
        try:
            return str(client.inspect_image(image)["Id"])  # type: ignore[no-untyped-call]
        except ImageNotFound:
            return None


def _remove(client: EngineClient, container_id: str) -> None:
    with engine_errors("remove a container"):
        try:
            client.remove_container(container_id, force=True, v=True)
        except NotFound:
            return


def _body(unit: Unit, workspace_id: str, source: str, argv: tuple[str, ...]) -> dict[str, Any]:
    files = [mount for mount in unit.mounts if mount.kind == "bind" and mount.read_only and mount.target != SECRETS]
    # Where NVIDIA's runtime is the engine's default, an image gets all GPUs unless it is told otherwise.
    environment = {**unit.env, **OFFLINE, "NVIDIA_VISIBLE_DEVICES": "void"}
    return {
        "Image": unit.image,
        "Entrypoint": ["python3", "-c", source],
        "Cmd": list(argv),
        "Env": [f"{name}={value}" for name, value in environment.items()],
        "Labels": {LABEL_TRIAL: workspace_id},
        "WorkingDir": "/",
        "User": unit.user,
        "HostConfig": {
            "NetworkMode": "none",
            "Mounts": [
                {"Type": "bind", "Source": mount.source, "Target": mount.target, "ReadOnly": True} for mount in files
            ],
            "CapDrop": ["ALL"],
            "SecurityOpt": ["no-new-privileges:true"],
            "CpuShares": LOW_CPU_SHARES,
            "Init": True,
            "LogConfig": {"Type": "json-file", "Config": {"max-size": "1m", "max-file": "1"}},
        },
    }
