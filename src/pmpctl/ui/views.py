"""What people see at the end of a command."""

from __future__ import annotations

import json
import shlex
import time
from typing import TYPE_CHECKING

from pmpctl.ui.smoke_views import problems_of_checks, smoke_row
from pmpctl.ui.text import human_bytes, human_seconds

if TYPE_CHECKING:
    # To show one result, the verbs that make the others need not be loaded.
    from pmpctl.operations.down import DownResult
    from pmpctl.operations.status import StatusResult, UnitReport
    from pmpctl.operations.up import PlannedUp, UpResult
    from pmpctl.planning.plan import Mount, Unit
    from pmpctl.ui.terminal import Writer


def up_view(writer: Writer, result: UpResult) -> None:
    fresh = any(change != "kept" for change in result.changes.values())
    said = f"is up after {human_seconds(result.seconds)}" if fresh else "already runs as planned"
    writer.line(f"{result.profile} {said}.")
    writer.line("")
    writer.line(f"  base URL  {result.base_url}/v1")
    writer.line(f"  models    {', '.join(result.served_names)}")
    if result.max_model_len is not None:
        writer.line(f"  context   {result.max_model_len} tokens")
    writer.line(f"  tokens    {'required' if result.auth else 'none: whoever reaches the address may use it'}")
    if result.smoke is not None:
        writer.line(f"  smoke     {smoke_row(result.smoke)}")
        problems_of_checks(writer, result.smoke)
    writer.line("")
    writer.line("Try it:")
    writer.line(f"  {_curl(result)}")


def _curl(result: UpResult) -> str:
    body = json.dumps({"model": result.served_names[0], "messages": [{"role": "user", "content": "Hello"}]})
    auth = ' -H "Authorization: Bearer $TOKEN"' if result.auth else ""
    url = f"{result.base_url}/v1/chat/completions"
    return f"curl {url}{auth} -H 'Content-Type: application/json' -d {shlex.quote(body)}"


def planned_view(writer: Writer, planned: PlannedUp) -> None:
    plan = planned.plan
    writer.line(f"plan {plan.hash} for profile {plan.profile} on {plan.runtime}")
    writer.line(f"fit  {planned.fit}")
    for unit in plan.units:
        writer.line("")
        writer.line(f"{unit.role}  {unit.name}  ({unit.hash})")
        for name, value in _unit_rows(unit):
            writer.line(f"  {name:<9} {value}")


def _unit_rows(unit: Unit) -> list[tuple[str, str]]:
    rows = [("image", unit.image)] if unit.image else []
    rows.append(("runs", shlex.join(unit.argv)))
    rows += [("env", f"{name}={value}") for name, value in sorted(unit.env.items())]
    rows += [("port", f"{port.host_ip}:{port.host_port} -> {port.container_port}") for port in unit.ports]
    rows += [("mount", _mount(mount)) for mount in unit.mounts]
    if unit.gpu is not None:
        rows.append(("gpu", f"{', '.join(unit.gpu.devices)} by {unit.gpu.method}"))
    if unit.shm_size_bytes is not None:
        rows.append(("shm", human_bytes(unit.shm_size_bytes)))
    return rows


def _mount(mount: Mount) -> str:
    return f"{mount.source or mount.kind} -> {mount.target}{' (read only)' if mount.read_only else ''}"


def down_view(writer: Writer, result: DownResult, *, dry_run: bool) -> None:
    if not result.removed:
        writer.line("Nothing of this workspace runs.")
        return
    writer.line(f"{'Would remove' if dry_run else 'Removed'} {', '.join(result.removed)}. Weights and caches stay.")
    if result.finished or result.cancelled:
        writer.line(f"Of the requests in flight, {result.finished} finished and {result.cancelled} were cut short.")


def status_view(writer: Writer, result: StatusResult) -> None:
    writer.line(f"{result.profile or 'no profile'}: {result.phase} ({result.explanation})")
    versions = ", ".join(f"{name} {version}" for name, version in result.versions.items())
    rows = [("runtime", _runtime(result)), ("versions", versions)]
    if result.models:
        context = f" (context {result.max_model_len} tokens)" if result.max_model_len else ""
        rows.insert(0, ("models", ", ".join(result.models) + context))
    if result.in_flight is not None:
        rows.append(("requests", f"{result.in_flight} in flight, {result.held} held"))
        rows.append(("gateway", _gateway(result)))
        rows.append(("tokens", "required" if result.auth else "none"))
    if result.switch is not None:
        rows.insert(0, ("switch", f"{result.switch.explanation}{'; ' * bool(result.switch.cure)}{result.switch.cure}"))
    elif result.holder is not None:
        rows.insert(0, ("at work", str(result.holder)))
    rows.append(("ports", f"API {result.listen}, engine 127.0.0.1:{result.engine_port}"))
    for name, value in rows:
        writer.line(f"  {name:<9} {value}")
    if not result.units:
        return
    writer.line("")
    columns = ("UNIT", "STATE", "HEALTH", "UP", "RESTARTS", "MEMORY", "NAME")
    writer.table(columns, [_unit_row(unit) for unit in result.units])
    for unit in result.units:
        if unit.error:
            writer.line(f"  {unit.role}: {unit.error}")
        for line in unit.first_errors:
            writer.line(f"  {unit.role}: {line}")


def _runtime(result: StatusResult) -> str:
    return f"{result.runtime.kind} at {result.runtime.endpoint} ({result.runtime_why})"


def _gateway(result: StatusResult) -> str:
    said = str(result.gateway_phase)
    door = result.door
    if door is None:
        return said
    now = time.time()
    if door.reason is not None:
        said += f" ({door.reason}) for {human_seconds(now - door.since)}"
    if door.hold_id is not None and door.deadline is not None:
        said += f", held by {door.hold_id} for {human_seconds(max(door.deadline - now, 0.0))} more at most"
    if door.held_oldest_seconds is not None:
        said += f", oldest request waits {human_seconds(door.held_oldest_seconds)}"
    if door.engine_away_since is not None:
        said += f", engine away for {human_seconds(now - door.engine_away_since)}"
    return said


def _unit_row(unit: UnitReport) -> tuple[str, ...]:
    state = unit.phase if unit.exit_code is None else f"{unit.phase} ({unit.exit_code})"
    return (
        unit.role,
        f"{state}, out of memory" if unit.oom_killed else state,
        unit.health,
        human_seconds(unit.uptime_seconds) if unit.uptime_seconds is not None else "-",
        str(unit.restarts),
        human_bytes(unit.memory_bytes) if unit.memory_bytes is not None else "-",
        unit.name,
    )
