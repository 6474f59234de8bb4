"""Whose the units on this machine are, of whatever workspace, and what their engines take of the GPUs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

from pmpctl.planning.card_claim import CardClaim, claim_of_arguments
from pmpctl.planning.engine_unit import SECRETS
from pmpctl.planning.gateway_unit import CONTROL_DIR
from pmpctl.planning.gpu import CDI_KIND
from pmpctl.planning.plan import LABEL_ROLE, LABEL_WORKSPACE, GpuRequest
from pmpctl.runtime.base import RunningEngine, Tenant
from pmpctl.runtime.process_tree import (
    CARD_MARKER,
    MARKER,
    command_line,
    descendants,
    environment,
    processes_in,
    running_pids,
)
from pmpctl.workspace import Workspace

SUPERVISOR = "pmpctl.runtime.supervisor"


def tenant_of_process(pid: int) -> Tenant | None:
    """By the supervisor that it descends from, else by the marker of its unit, which another user's does not show."""
    for each in (pid, *_ancestors(pid)):
        if (record := _record_of_supervisor(each)) is not None:
            return _tenant_of_record(record)
    parts = environment(pid).get(MARKER, "").split("/")
    return Tenant(parts[0], parts[1], None) if len(parts) == 3 else None


def tenant_of_container(container: Mapping[str, Any]) -> Tenant | None:
    """`container` is an entry of the engine's list of containers, or its answer on one."""
    labels = container.get("Labels") or (container.get("Config") or {}).get("Labels") or {}
    if LABEL_WORKSPACE not in labels:
        return None
    workspace = labels[LABEL_WORKSPACE]
    ours = (SECRETS, CONTROL_DIR)
    folders = [Path(mount["Source"]).parent.parent for mount in container["Mounts"] if mount["Destination"] in ours]
    root = next((folder for folder in folders if Workspace(folder).id == workspace), None)
    return Tenant(workspace, labels.get(LABEL_ROLE, "unit"), root)


def engines_in_processes() -> list[RunningEngine]:
    """Those that workspaces run without Docker."""
    found = []
    for pid in running_pids():
        record = _record_of_supervisor(pid)
        if record is None or (tenant := _tenant_of_record(record)).role != "engine":
            continue
        processes = frozenset(descendants([pid]))
        marks = (environment(process.pid).get(CARD_MARKER, "") for process in processes)
        claim = next((claim for mark in marks if (claim := CardClaim.parse(mark))), None)
        found.append(RunningEngine(tenant, processes, claim))
    return found


def engine_in_container(container: Mapping[str, Any], *, is_local: bool) -> RunningEngine | None:
    """`container` is the engine's answer on one that runs."""
    tenant = tenant_of_container(container)
    if tenant is None:
        return None
    argv = (*(container["Config"]["Entrypoint"] or ()), *(container["Config"]["Cmd"] or ()))
    processes = frozenset(processes_in(container["Id"]) if is_local else ())
    return RunningEngine(tenant, processes, claim_of_arguments(argv, _gpu_of(container)))


def _gpu_of(container: Mapping[str, Any]) -> GpuRequest | None:
    """What it was handed, in whichever way."""
    host = container["HostConfig"]
    for request in host.get("DeviceRequests") or ():
        devices = tuple(str(each).removeprefix(f"{CDI_KIND}=") for each in request.get("DeviceIDs") or ())
        return GpuRequest("device-requests", devices or ("all",))
    if host.get("Runtime") == "nvidia":
        words = dict(word.partition("=")[::2] for word in container["Config"].get("Env") or ())
        return GpuRequest("runtime", tuple(words.get("NVIDIA_VISIBLE_DEVICES", "all").split(",")))
    return None


def _record_of_supervisor(pid: int) -> Path | None:
    words = command_line(pid)
    return Path(words[-1]) if len(words) > 2 and words[-2] == SUPERVISOR else None


def _tenant_of_record(record: Path) -> Tenant:
    """The record of a unit is ROOT/.pmpctl/process/ROLE.json."""
    root = record.parent.parent.parent
    return Tenant(Workspace(root).id, record.stem, root)


def _ancestors(pid: int) -> list[int]:
    try:
        return [process.pid for process in psutil.Process(pid).parents()]
    except psutil.Error:
        return []
