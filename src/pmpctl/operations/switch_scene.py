"""What a switch finds: what is asked for, what runs, and whether there is anything to switch from."""

import time
from dataclasses import dataclass

from pmp_gateway.control_schema import GatewayStatus, Phase
from pmpctl.errors import PlanInvalid, RecordUnreadable, UsageError
from pmpctl.operations.engine_api import EngineApi
from pmpctl.operations.environment import ChosenRuntime, Environment, choose_runtime, make_plan
from pmpctl.operations.events import Notice, Operation
from pmpctl.operations.gateway_control import gateway_status
from pmpctl.operations.history import previous_profile
from pmpctl.operations.journal import Journal, read_journal
from pmpctl.operations.unit_records import read_record
from pmpctl.planning.plan import Plan
from pmpctl.planning.recorded import RecordedPlan
from pmpctl.profiles.model import ProfileFile
from pmpctl.runtime.base import Runtime, UnitState

PREVIOUS = "-"

# A gateway that was killed is there again within moments.
_GATEWAY_SECONDS = 10.0
_POLL_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Scene:
    """`is_served`: the plan runs, answers, and gets the requests.

    `instead_up` says why there is nothing to switch from, so that `up` does all there is to do; empty if there is.
    """

    environment: Environment
    file: ProfileFile
    chosen: ChosenRuntime
    plan: Plan
    engine: UnitState | None
    gateway: UnitState | None
    is_served: bool
    instead_up: str

    @property
    def runtime(self) -> Runtime:
        return self.chosen.runtime


def look(environment: Environment, name: str, *, restart: bool) -> Operation[Scene]:
    file = environment.profile_file()
    chosen = choose_runtime(environment, file)
    runtime = chosen.runtime
    yield Notice("info", f"runtime: {chosen}")
    plan = make_plan(environment, file, runtime, _named_profile(environment, file, runtime, name))
    for warning in plan.warnings:
        yield Notice("warning", warning)
    units = {state.role: state for state in runtime.units()}
    engine, gateway = units.get("engine"), units.get("gateway")
    status = _status(environment, gateway)
    journal = read_journal(environment.workspace)
    is_planned = engine is not None and engine.alive and engine.plan_hash == plan.engine.hash
    is_open = status is not None and status.phase is Phase.OPEN and journal is None
    instead_up = _instead_up(engine, status, journal, is_planned and not restart)
    return Scene(
        environment, file, chosen, plan, engine, gateway, is_planned and is_open and _answers(plan), instead_up
    )


def running_plan(scene: Scene, engine: UnitState) -> Operation[RecordedPlan | None]:
    """What the engine was started with; None where nobody knows it any more."""
    try:
        if (recorded := read_record(scene.environment.workspace, engine.plan_hash)) is not None:
            return recorded
    except RecordUnreadable as error:
        yield Notice("warning", error.message)
    if engine.profile in scene.file.profiles:
        plan = make_plan(scene.environment, scene.file, scene.runtime, engine.profile)
        if plan.engine.hash == engine.plan_hash:
            return RecordedPlan(plan=plan)
    return None


def warnings(scene: Scene, source: RecordedPlan | None, *, rollback: bool) -> Operation[None]:
    """What the user should know before; raises PlanInvalid where the gateway could not reach the new engine."""
    if source is None and rollback:
        yield Notice("warning", "nobody knows what the running engine was started with: there will be no way back")
    if source is not None and source.plan.engine_url != scene.plan.engine_url:
        raise PlanInvalid(
            f"the engine moves from {source.plan.engine_url} to {scene.plan.engine_url}, "
            "where the gateway that runs does not look for it",
            cure=f"`pmpctl up {scene.plan.profile}` starts the gateway anew as well.",
        )
    if scene.gateway is not None and scene.gateway.plan_hash != scene.plan.gateway.hash:
        yield Notice(
            "warning", f"the gateway keeps its old settings; `pmpctl up {scene.plan.profile}` gives it the new ones"
        )


def _named_profile(environment: Environment, file: ProfileFile, runtime: Runtime, name: str) -> str:
    if name == PREVIOUS:
        running = next((state.profile for state in runtime.units() if state.role == "engine"), None)
        previous = previous_profile(environment.workspace, running)
        if previous is None:
            raise UsageError("no profile is known to have served here before", cure="Name the one to switch to.")
        name = previous
    return file.profile(name).name


def _instead_up(engine: UnitState | None, status: GatewayStatus | None, journal: object, is_planned: bool) -> str:
    if status is None:
        return "no gateway runs, so that there are no requests to hold"
    has_way_back = isinstance(journal, Journal) and journal.source is not None
    if (engine is None or not engine.alive) and not has_way_back:
        return "no engine runs, so that there is nothing to switch from"
    return "the plan runs already, and only has to be let serve" if is_planned else ""


def _status(environment: Environment, gateway: UnitState | None) -> GatewayStatus | None:
    deadline = time.monotonic() + _GATEWAY_SECONDS
    while gateway is not None and gateway.alive:
        status = gateway_status(environment.workspace)
        if status is not None or time.monotonic() > deadline:
            return status
        time.sleep(_POLL_SECONDS)
    return None


def _answers(plan: Plan) -> bool:
    with EngineApi(plan.engine_url) as engine:
        models = engine.models()
    return models is not None and set(plan.served_names) <= {model.id for model in models}
