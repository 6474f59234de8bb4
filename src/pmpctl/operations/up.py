"""`up`: see that it fits, check, prepare, start what differs from the plan, wait until it answers."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pmpctl.errors import CardTaken, DoesNotFit
from pmpctl.operations.card_use import refuse_taken_card
from pmpctl.operations.environment import (
    ChosenRuntime,
    Environment,
    choose_runtime,
    default_profile,
    make_plan,
    prepare_folders,
    prepare_state_folder,
)
from pmpctl.operations.events import Notice, Operation, PhaseFinished, PhaseStarted
from pmpctl.operations.fit_check import FitOutcome, find_fit, require_fit
from pmpctl.operations.images import prepare_image
from pmpctl.operations.learning import learn
from pmpctl.operations.locking import take_lock
from pmpctl.operations.mending import (
    engine_of,
    mend,
    no_request_waits_in_vain,
    profile_to_go_on_with,
    settle,
    tell_of_unmended,
)
from pmpctl.operations.readiness import let_requests_in, wait_for_engine, wait_for_gateway
from pmpctl.operations.smoke import SmokeReport
from pmpctl.operations.unit_records import fit_before, fit_figures, save_record
from pmpctl.planning.plan import Plan, Role, Unit
from pmpctl.planning.recorded import RecordedPlan
from pmpctl.profiles.model import ProfileFile
from pmpctl.runtime.base import Runtime, UnitState

Change = Literal["kept", "started", "replaced"]


@dataclass(frozen=True, slots=True)
class UpResult:
    """`smoke` is None where no checks were made at the end."""

    profile: str
    model: str
    runtime: str
    base_url: str
    served_names: tuple[str, ...]
    max_model_len: int | None
    auth: bool
    changes: dict[Role, Change]
    seconds: float
    smoke: SmokeReport | None = None


@dataclass(frozen=True, slots=True)
class PlannedUp:
    plan: Plan
    fit: FitOutcome


def plan_up(environment: Environment, profile_name: str | None) -> Operation[PlannedUp]:
    """What `up` would run, and whether it fits; nothing is touched."""
    file, chosen, plan = yield from _plan(environment, profile_name)
    return PlannedUp(plan, find_fit(environment, file, chosen.runtime, plan.profile, offline=True))


def up(
    environment: Environment,
    profile_name: str | None,
    *,
    restart: bool = False,
    force: bool = False,
    wait: bool = False,
) -> Operation[UpResult]:
    """Bring the profile up; called again it finishes what is missing and leaves alone what already is as planned.

    `restart` recreates both units even so; `force` starts what does not fit; `wait` lets another pmpctl finish first.
    """
    began = time.monotonic()
    file, chosen, plan = yield from _plan(environment, profile_name)
    workspace, runtime = environment.workspace, chosen.runtime
    fit = None
    if _change(plan.engine, engine_of(runtime), restart) != "kept":
        try:
            yield from refuse_taken_card(environment, file, runtime, plan, force=force)
            fit = yield from require_fit(environment, file, runtime, plan.profile, force=force)
        except (CardTaken, DoesNotFit):
            yield from tell_of_unmended(workspace)
            raise
    prepare_state_folder(workspace)
    with (
        (yield from take_lock(workspace, f"up {plan.profile}", wait=wait)),
        no_request_waits_in_vain(workspace, runtime),
    ):
        yield from mend(environment, file, chosen, "up", plan)
        prepare_folders(environment, file, plan)
        states = {state.role: state for state in runtime.units()}
        changes = {unit.role: _change(unit, states.get(unit.role), restart) for unit in plan.units}
        to_start = [unit for unit in plan.units if changes[unit.role] != "kept"]
        yield from _check(runtime, to_start)
        for unit in to_start:
            yield from prepare_image(runtime, unit)
        if changes["engine"] != "kept":
            # Another workspace may have been faster while images were pulled.
            yield from refuse_taken_card(environment, file, runtime, plan, force=force)
        recorded = RecordedPlan(plan=plan, fit=fit_figures(fit) or fit_before(workspace, plan))
        save_record(workspace, recorded)
        engine = yield from _start(runtime, plan.engine, states.get("engine"), changes["engine"])
        yield from wait_for_engine(runtime, plan, engine, workspace.root / file.host.models_dir)
        if changes["engine"] != "kept":
            yield from learn(environment, file, runtime, plan, engine)
        gateway = yield from _start(runtime, plan.gateway, states.get("gateway"), changes["gateway"])
        status = yield from wait_for_gateway(runtime, workspace, plan, gateway)
        yield from let_requests_in(workspace, plan, status)
        settle(workspace, recorded)
    return UpResult(
        profile=plan.profile,
        model=plan.model,
        runtime=plan.runtime,
        base_url=plan.base_url,
        served_names=plan.served_names,
        max_model_len=plan.max_model_len,
        auth=status.auth.enabled,
        changes=changes,
        seconds=time.monotonic() - began,
    )


def _plan(environment: Environment, profile_name: str | None) -> Operation[tuple[ProfileFile, ChosenRuntime, Plan]]:
    file = environment.profile_file()
    if profile_name is not None:
        file.profile(profile_name)
    chosen = choose_runtime(environment, file)
    if profile_name is None:
        profile_name, why = _profile_meant(environment, file, chosen.runtime)
        yield Notice("info", f"profile: {profile_name} ({why})")
    yield Notice("info", f"runtime: {chosen}")
    plan = make_plan(environment, file, chosen.runtime, profile_name)
    for warning in plan.warnings:
        yield Notice("warning", warning)
    return file, chosen, plan


def _profile_meant(environment: Environment, file: ProfileFile, runtime: Runtime) -> tuple[str, str]:
    """Where none is named, and why."""
    if (name := profile_to_go_on_with(environment, file, runtime)) is not None:
        return name, "a switch was interrupted, and goes on with it"
    return default_profile(environment, file)


def _change(unit: Unit, state: UnitState | None, restart: bool) -> Change:
    if state is None:
        return "started"
    return "kept" if state.alive and state.plan_hash == unit.hash and not restart else "replaced"


def _check(runtime: Runtime, units: Sequence[Unit]) -> Operation[None]:
    if not units:
        yield Notice("info", "everything already runs as planned")
        return
    yield PhaseStarted("check", "Checking the host")
    began = time.monotonic()
    for unit in units:
        runtime.check(unit)
    yield PhaseFinished("check", time.monotonic() - began)


def _start(runtime: Runtime, unit: Unit, state: UnitState | None, change: Change) -> Operation[UnitState]:
    if change == "kept" and state is not None:
        return state
    if state is not None:
        yield PhaseStarted(f"{unit.role}-stop", f"Stopping the old {unit.role}")
        began = time.monotonic()
        runtime.stop(state, unit.stop_timeout_seconds)
        runtime.remove(state)
        yield PhaseFinished(f"{unit.role}-stop", time.monotonic() - began)
    yield PhaseStarted(f"{unit.role}-start", f"Starting the {unit.role}")
    began = time.monotonic()
    fresh = runtime.start(unit)
    yield PhaseFinished(f"{unit.role}-start", time.monotonic() - began, fresh.name)
    return fresh
