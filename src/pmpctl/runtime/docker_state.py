"""What the engine tells of a container -> the state of a unit."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, cast, get_args

from pmpctl.planning.plan import LABEL_PLAN, LABEL_PROFILE, LABEL_ROLE, Role
from pmpctl.runtime.base import Health, UnitPhase, UnitState, Usage
from pmpctl.runtime.crash_loop import crash_loop
from pmpctl.runtime.docker_keeper import gave_up


def unit_state(container: Mapping[str, Any]) -> UnitState:
    """`container` is the answer of `GET /containers/ID/json`."""
    state, labels = container["State"], container["Config"]["Labels"] or {}
    loops = gave_up(container)
    phase = "dead" if loops else _phase(state["Status"])
    return UnitState(
        id=container["Id"],
        name=container["Name"].removeprefix("/"),
        role=cast("Role", labels.get(LABEL_ROLE, "")),
        profile=labels.get(LABEL_PROFILE, ""),
        plan_hash=labels.get(LABEL_PLAN, ""),
        phase=phase,
        health=_health(state.get("Health") or {}),
        image=container["Config"]["Image"],
        exit_code=None if loops or phase in ("created", "running", "paused") else state["ExitCode"],
        oom_killed=state["OOMKilled"],
        restart_count=container["RestartCount"],
        started_at=_epoch_seconds(state["StartedAt"]),
        finished_at=_epoch_seconds(state["FinishedAt"]),
        error=crash_loop() if loops else state["Error"],
    )


def usage_in(stats: Mapping[str, Any]) -> Usage | None:
    """Memory without the page cache that the kernel can take back, as in `docker stats`; None if nothing runs."""
    memory = stats.get("memory_stats") or {}
    if "usage" not in memory:
        return None
    details = memory.get("stats") or {}
    # The names under cgroups 1 and 2.
    reclaimable = details.get("total_inactive_file", details.get("inactive_file", 0))
    return Usage(memory["usage"] - reclaimable, (stats.get("pids_stats") or {}).get("current", 0))


def _phase(status: str) -> UnitPhase:
    """`removing`, the one status that the protocol has no word for, is as good as dead."""
    return cast("UnitPhase", status) if status in get_args(UnitPhase) else "dead"


def _health(health: Mapping[str, Any]) -> Health:
    status = health.get("Status", "")
    return cast("Health", status) if status in get_args(Health) else "unknown"


def _epoch_seconds(timestamp: str) -> float | None:
    """The engine writes the year 1 for never."""
    return None if timestamp.startswith("0001-") else datetime.fromisoformat(timestamp).timestamp()
