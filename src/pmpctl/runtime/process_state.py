"""What a unit's record says, held against what really runs."""

from collections.abc import Collection

from pmpctl.runtime.base import UnitState
from pmpctl.runtime.process_record import ROLES, UnitRecord
from pmpctl.runtime.process_tree import MARKER, ProcessId, boot_id, environment, is_alive


def supervisor_of(record: UnitRecord) -> ProcessId | None:
    """None when it has ended, also if another process has its pid by now."""
    supervisor = record.supervisor
    if supervisor is None or record.boot_id != boot_id() or not is_alive(supervisor):
        return None
    return supervisor if environment(supervisor.pid).get(MARKER) == record.marker else None


def recorded_state(record: UnitRecord, processes: Collection[ProcessId]) -> UnitState:
    """`processes` are those that carry the unit's marker."""
    phase, error = record.phase, record.error
    if not record.has_ended and record.supervisor and supervisor_of(record) is None:
        if record.boot_id != boot_id():
            phase, error = "exited", "the machine was restarted"
        elif record.child and is_alive(record.child):
            phase, error = "running", "its supervisor was killed; `pmpctl down` ends it"
        elif processes:
            phase = "dead"
            error = f"its supervisor was killed, {len(processes)} of its processes remain; `pmpctl down` ends them"
        else:
            phase, error = "dead", "its supervisor was killed"
    return UnitState(
        id=record.start_id,
        name=record.name,
        role=record.role,
        profile=record.profile,
        plan_hash=record.plan_hash,
        phase=phase,
        health="unknown",
        image=record.program,
        exit_code=record.exit_code,
        oom_killed=record.oom_killed,
        restart_count=record.restart_count,
        started_at=record.started_at,
        finished_at=record.finished_at,
        error=error,
    )


def lost_state(marker: str, processes: Collection[ProcessId]) -> UnitState | None:
    """A unit of which only processes are left, because somebody removed its record; None if they have ended too."""
    _, _, unit = marker.partition("/")
    named_role, _, start_id = unit.partition("/")
    role = next((role for role in ROLES if role == named_role), None)
    if role is None or not any(map(is_alive, processes)):
        return None
    return UnitState(
        id=start_id,
        name=role,
        role=role,
        profile="",
        plan_hash="",
        phase="running",
        health="unknown",
        image="",
        exit_code=None,
        oom_killed=False,
        restart_count=0,
        started_at=None,
        finished_at=None,
        error="its record was removed; `pmpctl down` ends it",
    )
