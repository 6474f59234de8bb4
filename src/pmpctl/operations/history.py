"""Which profiles served here, the latest last: what `switch -` goes back to."""

import time
from typing import Any

from pmpctl.operations.state_files import keep_state, read_state
from pmpctl.planning.recorded import RecordedPlan
from pmpctl.workspace import Workspace

SCHEMA = 1
KEPT_ENTRIES = 20


def note_served(workspace: Workspace, recorded: RecordedPlan) -> None:
    """For a profile whose engine has just been verified."""
    entries = _read(workspace)
    if not entries or entries[-1]["profile"] != recorded.profile:
        entries.append({"profile": recorded.profile, "engine": recorded.engine_hash, "since": time.time()})
        keep_state(workspace, workspace.history_file, {"schema": SCHEMA, "served": entries[-KEPT_ENTRIES:]})


def previous_profile(workspace: Workspace, running: str | None) -> str | None:
    """The profile that served last and is not the one that runs; None where nobody remembers any."""
    served = [str(entry["profile"]) for entry in _read(workspace)]
    return next((profile for profile in reversed(served) if profile != running), None)


def _read(workspace: Workspace) -> list[dict[str, Any]]:
    """Empty where it cannot be read: it is a convenience, and the next entry replaces it."""
    try:
        data = read_state(workspace.history_file)
        if data is None or data["schema"] != SCHEMA:
            return []
        return [entry for entry in data["served"] if isinstance(entry["profile"], str)]
    except (ValueError, KeyError, TypeError):
        return []
