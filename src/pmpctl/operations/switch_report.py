"""What `status` tells of commands that are at work, and of a switch that was interrupted."""

import time
from dataclasses import dataclass
from typing import Literal

from pmp_gateway.control_schema import GatewayStatus
from pmpctl.operations.journal import DamagedJournal, Journal, Step, read_journal
from pmpctl.operations.locking import Holder, lock_holder
from pmpctl.operations.mending import door_of, view_of
from pmpctl.operations.recovery import Action, Asked, Situation, decide
from pmpctl.planning.plan import RuntimeKind
from pmpctl.runtime.base import UnitState
from pmpctl.workspace import Workspace

State = Literal["in-progress", "interrupted", "failed", "unknown"]


@dataclass(frozen=True, slots=True)
class SwitchReport:
    """Times are seconds since the epoch; what a journal that cannot be read would tell is None.

    `explanation` says what was found, `cure` which command mends it; empty while a command is at work on it.
    """

    state: State
    explanation: str
    cure: str = ""
    command: str | None = None
    source: str | None = None
    target: str | None = None
    step: str | None = None
    started_at: float | None = None
    step_at: float | None = None
    failure: str = ""


@dataclass(frozen=True, slots=True)
class Work:
    """Who holds the workspace's lock, and the switch that is under way or was interrupted."""

    holder: Holder | None
    switch: SwitchReport | None


def find_work(
    workspace: Workspace,
    runtime: RuntimeKind,
    engine: UnitState | None,
    *,
    answers: bool,
    gateway: GatewayStatus | None,
) -> Work:
    """Changes nothing; `answers` says whether the engine does."""
    holder = lock_holder(workspace)
    journal = read_journal(workspace)
    if isinstance(journal, DamagedJournal):
        explanation = f"a switch was interrupted, and its journal cannot be read ({journal.why})"
        return Work(holder, SwitchReport("unknown", explanation, "`pmpctl up PROFILE` sets it aside"))
    if holder is not None:
        return Work(holder, _in_progress(journal, holder) if journal is not None else None)
    if journal is not None and journal.target.plan.runtime != runtime:
        ran_on = journal.target.plan.runtime
        explanation = f"a switch was interrupted on {ran_on}, and here is what {runtime} shows"
        return Work(None, _report(journal, "interrupted", explanation, f"with {ran_on} back, `pmpctl up` mends it"))
    decision = decide(Situation(journal, view_of(engine, answers=answers), door_of(gateway)), Asked("status"))
    if decision.action is Action.NOTHING:
        return Work(None, None)
    if journal is None:
        return Work(None, SwitchReport("interrupted", decision.found, decision.remedy))
    state: State = "failed" if journal.step is Step.CLOSE else "interrupted"
    return Work(None, _report(journal, state, decision.found, decision.remedy))


def _in_progress(journal: Journal, holder: Holder) -> SwitchReport:
    seconds = time.time() - journal.step_at
    return _report(journal, "in-progress", f"{holder}: at `{journal.step}` for {seconds:.0f} s")


def _report(journal: Journal, state: State, explanation: str, cure: str = "") -> SwitchReport:
    return SwitchReport(
        state=state,
        explanation=explanation,
        cure=cure,
        command=journal.command,
        source=journal.source.profile if journal.source is not None else None,
        target=journal.target.profile,
        step=journal.step,
        started_at=journal.started_at,
        step_at=journal.step_at,
        failure=journal.failure,
    )
