"""The journal of the switch in progress: each step is written before it is taken, so that no crash goes unnoticed."""

import contextlib
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from pmpctl.host.files import remove, set_aside
from pmpctl.operations.events import Notice, Operation
from pmpctl.operations.state_files import keep_state, read_state
from pmpctl.planning.recorded import RecordedPlan, plan_data, plan_from_data
from pmpctl.workspace import Workspace

SCHEMA = 1


class Step(StrEnum):
    """In their order. What comes before `hold` touches nothing, and is not written down."""

    HOLD = "hold"
    DRAIN = "drain"
    STOP = "stop"
    REMOVE = "remove"
    PROVE = "prove"
    START = "start"
    WAIT = "wait"
    VERIFY = "verify"
    OPEN = "open"
    ROLLBACK_STOP = "rollback-stop"
    ROLLBACK_REMOVE = "rollback-remove"
    ROLLBACK_PROVE = "rollback-prove"
    ROLLBACK_START = "rollback-start"
    ROLLBACK_WAIT = "rollback-wait"
    ROLLBACK_VERIFY = "rollback-verify"
    ROLLBACK_OPEN = "rollback-open"
    CLOSE = "close"
    """The switch has failed and there is no way back, or that failed too: the gateway is told to refuse."""

    @property
    def number(self) -> int:
        return _ORDER[self]

    @property
    def is_way_back(self) -> bool:
        return self.number >= _ORDER[Step.ROLLBACK_STOP]


_ORDER = {step: number for number, step in enumerate(Step)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Journal:
    """`source` is what ran before, None where nothing did or nobody knows; times are seconds since the epoch.

    `id` is also the id of the hold. `failure` is why the way back was taken.
    """

    id: str
    command: str
    started_at: float
    source: RecordedPlan | None
    target: RecordedPlan
    step: Step
    step_at: float
    failure: str = ""


@dataclass(frozen=True, slots=True)
class DamagedJournal:
    path: Path
    why: str


class JournalKeeper:
    def __init__(self, workspace: Workspace, journal: Journal) -> None:
        self._workspace = workspace
        self.journal = journal

    def enter(self, step: Step, failure: str = "") -> None:
        """Write down what is about to be done; `failure` is why it did not go on as planned, and is kept from then."""
        journal = self.journal
        self.journal = replace(journal, step=step, step_at=time.time(), failure=failure or journal.failure)
        keep_state(self._workspace, self._workspace.journal_file, _data(self.journal))

    def settled(self) -> None:
        """Nothing is left to finish or undo."""
        remove_journal(self._workspace)


@contextlib.contextmanager
def journaled(
    workspace: Workspace,
    command: str,
    *,
    source: RecordedPlan | None,
    target: RecordedPlan,
    resumed: Journal | None = None,
) -> Iterator[JournalKeeper]:
    """For a switch that holds the workspace's lock; the first `enter` writes the file.

    A block that ends leaves no journal. One that raises leaves it as it is, unless it called `settled`: then the next
    command mends what it tells of. `resumed` is an interrupted switch whose hold this one takes over.
    """
    now = time.time()
    journal = Journal(
        id=resumed.id if resumed is not None else f"switch-{secrets.token_hex(4)}",
        command=command,
        started_at=now,
        source=source,
        target=target,
        step=Step.HOLD,
        step_at=now,
    )
    keeper = JournalKeeper(workspace, journal)
    yield keeper
    keeper.settled()


def read_journal(workspace: Workspace) -> Journal | DamagedJournal | None:
    """Changes nothing; None where no switch is under way and none was interrupted."""
    path = workspace.journal_file
    try:
        data = read_state(path)
        return _from_data(data, workspace) if data is not None else None
    except ValueError as error:
        return DamagedJournal(path, str(error))


def take_journal(workspace: Workspace) -> Operation[Journal | None]:
    """For a command that holds the lock: what cannot be read is set aside, and the user is told."""
    found = read_journal(workspace)
    if not isinstance(found, DamagedJournal):
        return found
    aside = set_aside(found.path)
    yield Notice(
        "warning",
        f"a switch was interrupted, and its journal cannot be read ({found.why}); it is kept as {aside.name}, "
        "and what runs now counts",
    )
    return None


def remove_journal(workspace: Workspace) -> None:
    remove(workspace.journal_file)


def _data(journal: Journal) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "id": journal.id,
        "command": journal.command,
        "started_at": journal.started_at,
        "step": journal.step,
        "step_at": journal.step_at,
        "failure": journal.failure,
        "source": plan_data(journal.source) if journal.source is not None else None,
        "target": plan_data(journal.target),
    }


def _from_data(data: Any, workspace: Workspace) -> Journal:
    """Raises ValueError."""
    if not isinstance(data, dict) or data.get("schema") != SCHEMA:
        raise ValueError("another version of pmpctl wrote it")
    try:
        journal = Journal(
            id=str(data["id"]),
            command=str(data["command"]),
            started_at=float(data["started_at"]),
            source=plan_from_data(data["source"]) if data["source"] is not None else None,
            target=plan_from_data(data["target"]),
            step=Step(data["step"]),
            step_at=float(data["step_at"]),
            failure=str(data["failure"]),
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"{error} is missing or wrong") from error
    if journal.target.plan.workspace != workspace.id:
        raise ValueError("it belongs to another workspace")
    return journal
