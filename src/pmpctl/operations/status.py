"""`status`: what runs, how it does, and since when; the runtime is asked, no file is believed."""

import time
from dataclasses import dataclass
from typing import Literal

import pmpctl
from pmp_gateway.control_schema import DoorStatus, GatewayStatus
from pmp_gateway.control_schema import Phase as GatewayPhase
from pmpctl.operations.engine_api import EngineApi
from pmpctl.operations.environment import Environment, choose_runtime
from pmpctl.operations.gateway_control import gateway_status
from pmpctl.operations.locking import Holder
from pmpctl.operations.switch_report import SwitchReport, find_work
from pmpctl.operations.unit_errors import first_errors_of
from pmpctl.planning.plan import Role
from pmpctl.profiles.model import ProfileFile
from pmpctl.runtime.base import Runtime, RuntimeInfo, UnitState, Usage

Phase = Literal[
    "down",
    "starting",
    "restarting",
    "ready",
    "holding",
    "closed",
    "no-gateway",
    "engine-away",
    "failed",
    "crash-loop",
]

EXPLANATIONS: dict[Phase, str] = {
    "down": "nothing runs; `pmpctl up PROFILE` starts it",
    "starting": "the engine is starting; `pmpctl up` waits for it, `pmpctl logs engine -f` shows it",
    "ready": "the API answers",
    "holding": "the engine answers, and the gateway lets requests wait; if no command is at work, `pmpctl up` opens it",
    "closed": "the engine answers, and the gateway refuses requests with 503; `pmpctl up` opens it",
    "no-gateway": "a start was interrupted before the gateway ran; `pmpctl up` finishes it, `pmpctl down` undoes it",
    "engine-away": "the gateway runs and answers 503, since there is no engine; `pmpctl up` starts one",
    "restarting": "the engine ended and is started again; requests wait for it, and get 503 if that takes too long",
    "failed": "the engine ended; its first error lines stand below, `pmpctl logs engine` has the rest",
    "crash-loop": "the engine ended again and again and is no longer started; its first error lines stand below; "
    "once their cause is mended, `pmpctl up` starts it",
}


@dataclass(frozen=True, slots=True)
class UnitReport:
    role: Role
    name: str
    phase: str
    health: str
    image: str
    uptime_seconds: float | None
    restarts: int
    exit_code: int | None
    oom_killed: bool
    error: str
    memory_bytes: int | None
    pids: int | None
    first_errors: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StatusResult:
    phase: Phase
    explanation: str
    profile: str | None
    models: tuple[str, ...]
    max_model_len: int | None
    in_flight: int | None
    held: int | None
    gateway_phase: str | None
    auth: bool | None
    door: DoorStatus | None
    listen: str
    engine_port: int
    versions: dict[str, str]
    runtime: RuntimeInfo
    runtime_why: str
    units: tuple[UnitReport, ...]
    holder: Holder | None
    """The command that is at work in this workspace."""
    switch: SwitchReport | None
    """Under way, or interrupted."""


def status(environment: Environment) -> StatusResult:
    """Asks the runtime, the engine and the gateway once; what does not answer is None."""
    file = environment.profile_file()
    chosen = choose_runtime(environment, file)
    runtime = chosen.runtime
    states = {state.role: state for state in runtime.units()}
    engine, gateway = states.get("engine"), states.get("gateway")
    control = gateway_status(environment.workspace) if gateway is not None and gateway.alive else None
    version, max_model_len, answers = _ask_engine(file, engine)
    phase = _phase(engine, gateway, control, answers)
    work = find_work(environment.workspace, runtime.kind, engine, answers=answers, gateway=control)
    info = runtime.info()
    versions = {"pmpctl": pmpctl.__version__, runtime.kind: info.version}
    if version is not None:
        versions["vllm"] = version
    if control is not None:
        versions["gateway"] = control.version
    return StatusResult(
        phase=phase,
        explanation=EXPLANATIONS[phase],
        profile=engine.profile if engine is not None else None,
        models=control.backend.models if control is not None else (),
        max_model_len=max_model_len,
        in_flight=control.in_flight if control is not None else None,
        held=control.held if control is not None else None,
        gateway_phase=control.phase if control is not None else None,
        auth=control.auth.enabled if control is not None else None,
        door=control.door if control is not None else None,
        listen=file.gateway.listen,
        engine_port=file.host.engine_port,
        versions=versions,
        runtime=info,
        runtime_why=chosen.why,
        units=tuple(_report(runtime, state) for state in states.values()),
        holder=work.holder,
        switch=work.switch,
    )


def _ask_engine(file: ProfileFile, engine: UnitState | None) -> tuple[str | None, int | None, bool]:
    """The engine's version, its context length, and whether it answers."""
    if engine is None or not engine.alive:
        return None, None, False
    with EngineApi(f"http://127.0.0.1:{file.host.engine_port}") as api:
        models = api.models()
        if models is None:
            return None, None, False
        return api.version(), next((model.max_model_len for model in models), None), True


def _phase(engine: UnitState | None, gateway: UnitState | None, control: GatewayStatus | None, answers: bool) -> Phase:
    if engine is None:
        return "down" if gateway is None else "engine-away"
    if not engine.alive:
        return "crash-loop" if engine.crash_looped else "failed"
    if not answers:
        return "restarting" if engine.restart_count else "starting"
    if control is None:
        return "no-gateway"
    if control.phase is GatewayPhase.OPEN:
        return "ready"
    return "closed" if control.phase is GatewayPhase.CLOSED else "holding"


def _report(runtime: Runtime, state: UnitState) -> UnitReport:
    usage = _usage(runtime, state)
    failed = not state.alive or state.restart_count > 0
    return UnitReport(
        role=state.role,
        name=state.name,
        phase=state.phase,
        health=state.health,
        image=state.image,
        uptime_seconds=time.time() - state.started_at if state.alive and state.started_at else None,
        restarts=state.restart_count,
        exit_code=state.exit_code,
        oom_killed=state.oom_killed,
        error=state.error,
        memory_bytes=usage.memory_bytes if usage else None,
        pids=usage.pids if usage else None,
        first_errors=first_errors_of(runtime, state) if failed else (),
    )


def _usage(runtime: Runtime, state: UnitState) -> Usage | None:
    return runtime.usage(state) if state.alive else None
