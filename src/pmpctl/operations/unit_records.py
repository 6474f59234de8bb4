"""What ran, exactly: one record for each engine that was started, found by the hash in the engine's label."""

import contextlib
import re
from collections.abc import Collection
from pathlib import Path

from pmpctl.errors import RecordUnreadable
from pmpctl.operations.fit_check import FitOutcome
from pmpctl.operations.state_files import keep_state, read_state
from pmpctl.planning.plan import Plan
from pmpctl.planning.recorded import FitFigures, RecordedPlan, plan_data, plan_from_data
from pmpctl.workspace import Workspace

KEPT_RECORDS = 8

_HASH = re.compile(r"[0-9a-f]{8,64}")
_GIB = 1024**3


def save_record(workspace: Workspace, recorded: RecordedPlan) -> None:
    """Before its engine starts, so that no engine runs without a record; saved again it becomes the newest."""
    keep_state(workspace, _path(workspace, recorded.engine_hash), plan_data(recorded))


def read_record(workspace: Workspace, engine_hash: str) -> RecordedPlan | None:
    """None where nothing is recorded of such an engine; raises RecordUnreadable."""
    if not _HASH.fullmatch(engine_hash):
        return None
    path = _path(workspace, engine_hash)
    try:
        data = read_state(path)
        return _checked(workspace, engine_hash, plan_from_data(data)) if data is not None else None
    except ValueError as error:
        raise RecordUnreadable(
            f"{path} cannot be read: {error}",
            cure="Remove it: the next `pmpctl up` or `switch` writes a new one. Until then there is no way back to "
            "what runs now but to start its profile again.",
        ) from error


def prune_records(workspace: Workspace, keep: Collection[str]) -> None:
    """Leaves the newest ones, and those of the hashes in `keep`: what runs, and what a journal names."""
    spare = [path for path in workspace.plans_dir.glob("*.json") if path.stem not in keep]
    for path in sorted(spare, key=_age)[KEPT_RECORDS:]:
        with contextlib.suppress(OSError):
            path.unlink()


def fit_before(workspace: Workspace, plan: Plan) -> FitFigures | None:
    """The figures of the same engine's start before, if a record tells of it."""
    try:
        before = read_record(workspace, plan.engine.hash)
    except RecordUnreadable:
        return None
    return before.fit if before is not None else None


def fit_figures(outcome: FitOutcome | None) -> FitFigures | None:
    if outcome is None or (found := outcome.assessment) is None:
        return None
    return FitFigures(
        verdict=str(found.verdict),
        card=found.card.name,
        needed_gpu_bytes=int(found.budget_gib * _GIB),
        kv_available_gib=found.kv_available_gib,
        kv_needed_gib=found.kv_needed_gib,
    )


def _checked(workspace: Workspace, engine_hash: str, recorded: RecordedPlan) -> RecordedPlan:
    if recorded.engine_hash != engine_hash:
        raise ValueError("it is of another engine")
    if recorded.plan.workspace != workspace.id:
        raise ValueError("it belongs to another workspace")
    return recorded


def _path(workspace: Workspace, engine_hash: str) -> Path:
    return workspace.plans_dir / f"{engine_hash}.json"


def _age(path: Path) -> float:
    """Grows with age; what is gone meanwhile counts as the oldest."""
    try:
        return -path.stat().st_mtime
    except OSError:
        return 0.0
