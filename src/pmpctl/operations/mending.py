"""Finishes or undoes what a killed command left behind: looks at what there is, and does what recovery.py decides."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from pmp_gateway.control_schema import OPERATOR, GatewayStatus, Phase, Reason
from pmpctl.errors import DockerNotAvailable, GatewayNotAnswering, GatewayRefused, GatewayTimedOut, RecordUnreadable
from pmpctl.operations.engine_api import EngineApi
from pmpctl.operations.environment import ChosenRuntime, Environment
from pmpctl.operations.events import Notice, Operation
from pmpctl.operations.gateway_control import close_gateway, gateway_status, open_gateway
from pmpctl.operations.history import note_served
from pmpctl.operations.journal import Journal, read_journal, remove_journal, take_journal
from pmpctl.operations.kept_files import prune_files
from pmpctl.operations.locking import lock_holder
from pmpctl.operations.recovery import Action, Asked, Decision, Door, EngineView, Situation, decide
from pmpctl.operations.unit_records import prune_records, read_record
from pmpctl.planning.plan import Plan
from pmpctl.planning.recorded import RecordedPlan
from pmpctl.profiles.model import ProfileFile
from pmpctl.runtime.base import Runtime, UnitState
from pmpctl.workspace import Workspace

STOP_SECONDS = 60.0

_DOORS = {Phase.OPEN: Door.OPEN, Phase.CLOSED: Door.CLOSED}


@dataclass(frozen=True, slots=True)
class Mended:
    """`journal` is what was interrupted; a switch that starts over takes its hold and its way back from here."""

    decision: Decision
    journal: Journal | None


def mend(
    environment: Environment, file: ProfileFile, chosen: ChosenRuntime, command: Literal["up", "switch"], plan: Plan
) -> Operation[Mended]:
    """With the workspace's lock held, before a command does its own work; `settle` follows when that is done."""
    workspace, runtime = environment.workspace, chosen.runtime
    journal = yield from take_own_journal(environment, file, chosen)
    engine = engine_of(runtime)
    situation = Situation(journal, _ask(engine, journal, plan.engine_url), door_of(gateway_status(workspace)))
    decision = decide(situation, Asked(command, plan.profile, plan.engine.hash))
    if decision.action is not Action.NOTHING:
        yield Notice("warning", str(decision))
    if decision.opens and engine is not None:
        yield from _open_to(workspace, engine, journal)
    if decision.clears and engine is not None:
        runtime.stop(engine, STOP_SECONDS)
        runtime.remove(engine)
    return Mended(decision, journal)


def tell_of_unmended(workspace: Workspace) -> Operation[None]:
    """For a command that is refused before it mends anything."""
    if read_journal(workspace) is not None and lock_holder(workspace) is None:
        yield Notice("warning", "a switch was interrupted, and stays so: `pmpctl status` names what mends it")


def settle(workspace: Workspace, served: RecordedPlan) -> None:
    """This plan serves, and nothing is left to finish or undo."""
    remove_journal(workspace)
    note_served(workspace, served)
    prune_records(workspace, keep={served.engine_hash})
    prune_files(workspace)


def give_up(environment: Environment, file: ProfileFile, chosen: ChosenRuntime) -> Operation[None]:
    """For `down`, which removes the journal when nothing runs any more: says what was interrupted."""
    journal = yield from take_own_journal(environment, file, chosen)
    if journal is not None:
        engine = view_of(engine_of(chosen.runtime), answers=False)
        situation = Situation(journal, engine, door_of(gateway_status(environment.workspace)))
        yield Notice("warning", str(decide(situation, Asked("down"))))


@contextlib.contextmanager
def no_request_waits_in_vain(workspace: Workspace, runtime: Runtime) -> Iterator[None]:
    """If what is inside fails and leaves no engine, what an interrupted switch held is told so.

    With an engine that still starts, the hold's own deadline decides.
    """
    try:
        yield
    except BaseException:
        with contextlib.suppress(Exception):
            engine = engine_of(runtime)
            if (engine is None or not engine.alive) and door_of(gateway_status(workspace)) is Door.HELD:
                close_gateway(workspace, Reason.SWITCH_FAILED, force=True)
        raise


def profile_to_go_on_with(environment: Environment, file: ProfileFile, runtime: Runtime) -> str | None:
    """What `up` means without a name while a switch is interrupted; None where none is, or its profile is gone."""
    journal = read_journal(environment.workspace)
    if not isinstance(journal, Journal):
        return None
    engine_url = f"http://127.0.0.1:{file.host.engine_port}"
    situation = Situation(journal, _ask(engine_of(runtime), journal, engine_url), Door.GONE)
    profile = decide(situation, Asked("status")).profile
    return profile if profile in file.profiles else None


def engine_of(runtime: Runtime) -> UnitState | None:
    return next((state for state in runtime.units() if state.role == "engine"), None)


def door_of(status: GatewayStatus | None) -> Door:
    if status is None:
        return Door.GONE
    held = Door.HELD_BY_HAND if status.door.hold_id == OPERATOR else Door.HELD
    return _DOORS.get(status.phase, held)


def view_of(engine: UnitState | None, *, answers: bool) -> EngineView | None:
    return EngineView(engine.profile, engine.plan_hash, engine.alive, answers) if engine is not None else None


def _ask(engine: UnitState | None, journal: Journal | None, url: str) -> EngineView | None:
    """Asks the engine at its own address where that is known."""
    if engine is None or not engine.alive:
        return view_of(engine, answers=False)
    known = _plan_of(engine, journal)
    with EngineApi(known.plan.engine_url if known is not None else url) as api:
        return view_of(engine, answers=api.models() is not None)


def _open_to(workspace: Workspace, engine: UnitState, journal: Journal | None) -> Operation[None]:
    """What fails here is told and no more: the command that goes on opens the gateway at its end."""
    try:
        known = _plan_of(engine, journal) or read_record(workspace, engine.plan_hash)
        if known is not None:
            open_gateway(workspace, policy=known.plan.requests, models=known.plan.served_names, force=True)
        else:
            open_gateway(workspace, policy={}, models=(), force=True)
    except (RecordUnreadable, GatewayNotAnswering, GatewayRefused, GatewayTimedOut) as error:
        yield Notice("warning", f"requests go on waiting: {error.message}")


def _plan_of(engine: UnitState, journal: Journal | None) -> RecordedPlan | None:
    plans = (journal.source, journal.target) if journal is not None else ()
    return next((each for each in plans if each is not None and each.engine_hash == engine.plan_hash), None)


def take_own_journal(environment: Environment, file: ProfileFile, chosen: ChosenRuntime) -> Operation[Journal | None]:
    """With the lock held. None also for one that tells of another runtime, whose units this one cannot see."""
    journal = yield from take_journal(environment.workspace)
    if journal is None or journal.target.plan.runtime == chosen.runtime.kind:
        return journal
    runtime = journal.target.plan.runtime
    if runtime == "docker" and (environment.runtime, file.host.runtime) == ("auto", "auto"):
        raise DockerNotAvailable(
            f"a switch was interrupted on Docker, and now no Docker answers ({chosen.why})",
            cure="Start Docker and try again; with `--runtime process` what ran there is left to itself.",
        )
    yield Notice("warning", f"a switch was interrupted on {runtime}; what it left there is left to itself")
    return None
