"""Waiting until a started unit really answers, and saying why it does not."""

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pmp_gateway.control_schema import GatewayStatus, Phase
from pmpctl.diagnosis.stages import BOOT, DOWNLOAD, ORDER, READY, Stage, read_stage
from pmpctl.errors import EngineStartFailed, GatewayStartFailed, StartStalled, WrongModelServed
from pmpctl.hub.cache import downloaded_bytes
from pmpctl.operations.engine_api import EngineApi
from pmpctl.operations.events import Event, Notice, Operation, PhaseFinished, PhaseProgress, PhaseStarted
from pmpctl.operations.gateway_control import gateway_status, open_gateway
from pmpctl.operations.log_watcher import LogWatcher
from pmpctl.operations.unit_errors import first_errors_of
from pmpctl.planning.plan import Plan
from pmpctl.runtime.base import Runtime, UnitState
from pmpctl.vram.shipped import shipped_facts
from pmpctl.workspace import Workspace

POLL_SECONDS = 0.25
FIRST_TOKEN_SECONDS = 180.0
GATEWAY_SECONDS = 60.0


@dataclass(slots=True)
class _Stages:
    """Turns stages into phases that follow each other, each with its time."""

    current: Stage | None = None
    began: float = field(default_factory=time.monotonic)
    percent: int | None = None

    def enter(self, stage: Stage) -> Iterator[Event]:
        if self.current is not None and ORDER.index(stage.phase) < ORDER.index(self.current.phase):
            return
        if self.current is None or stage.phase != self.current.phase:
            yield from self.finish()
            self.current, self.began, self.percent = stage, time.monotonic(), None
            yield PhaseStarted(stage.phase, stage.title)
        if stage.percent is not None and stage.percent != self.percent:
            self.percent = stage.percent
            yield PhaseProgress(stage.phase, stage.title, done=stage.percent, total=100, unit="percent")
        elif stage.detail:
            yield PhaseProgress(stage.phase, stage.detail)

    def finish(self) -> Iterator[Event]:
        if self.current is not None:
            yield PhaseFinished(self.current.phase, time.monotonic() - self.began)
            self.current = None


def wait_for_engine(runtime: Runtime, plan: Plan, state: UnitState, models_dir: Path) -> Operation[None]:
    """Returns when the engine answers with the plan's model; raises what its two parts raise."""
    yield from wait_until_healthy(runtime, plan, state, models_dir)
    yield PhaseStarted("verify", "Asking the engine for its model and one token")
    began = time.monotonic()
    verify_engine(runtime, plan, state)
    yield PhaseFinished("verify", time.monotonic() - began, f"serves {plan.model}")


def wait_until_healthy(runtime: Runtime, plan: Plan, state: UnitState, models_dir: Path) -> Operation[None]:
    """Raises EngineStartFailed with the first error lines when the engine ends before.

    Raises StartStalled when neither its output nor the downloaded bytes move for the plan's `start_timeout`.
    """
    with EngineApi(plan.engine_url) as engine:
        if not engine.is_healthy():
            yield from _watch_start(runtime, plan, state, models_dir, engine)


def verify_engine(runtime: Runtime, plan: Plan, state: UnitState) -> None:
    """Raises WrongModelServed when another model answers or none generates, EngineStartFailed if it ended."""
    with EngineApi(plan.engine_url) as engine:
        _verify(engine, plan)
    # Whoever answered may have been another server on that port.
    _require_alive(runtime, plan, state)


def _watch_start(
    runtime: Runtime, plan: Plan, state: UnitState, models_dir: Path, engine: EngineApi
) -> Operation[None]:
    """Shows each phase of the start until the engine is healthy."""
    watcher = LogWatcher(runtime, state)
    stages, novelty = _Stages(), _Novelty()
    moved = time.monotonic()
    bytes_seen = downloaded_bytes(models_dir, plan.model)
    yield from stages.enter(BOOT)
    while not engine.is_healthy():
        for line in watcher.wait(POLL_SECONDS):
            if novelty.is_new(line):
                moved = time.monotonic()
            if (stage := read_stage(line)) is not None and stage.phase != READY.phase:
                yield from stages.enter(stage)
        if (now := downloaded_bytes(models_dir, plan.model)) != bytes_seen:
            bytes_seen, moved = now, time.monotonic()
            yield from stages.enter(DOWNLOAD)
            yield PhaseProgress(DOWNLOAD.phase, plan.model, done=bytes_seen, total=_weights_bytes(plan.model))
        _require_alive(runtime, plan, state)
        if time.monotonic() - moved > plan.start_timeout_seconds:
            raise StartStalled(
                f"the engine has shown no progress for {plan.start_timeout_seconds} s "
                f"(last phase: {stages.current.title if stages.current else 'none'})",
                cure="Read `pmpctl logs engine`; if the model is only slow to load, raise `start_timeout`.",
                details=first_errors_of(runtime, state),
            )
    yield from stages.finish()


def _weights_bytes(model: str) -> int | None:
    """The size of what the engine downloads, where the package knows it."""
    facts = shipped_facts(model)
    return facts.weights_bytes if facts is not None else None


def wait_for_gateway(runtime: Runtime, workspace: Workspace, plan: Plan, state: UnitState) -> Operation[GatewayStatus]:
    """Returns what the gateway says once it answers its control socket and knows the engine's models."""
    yield PhaseStarted("gateway-ready", "Waiting for the gateway")
    began = time.monotonic()
    watcher = LogWatcher(runtime, state)
    while True:
        status = gateway_status(workspace)
        if status is not None and status.backend.ready and set(plan.served_names) <= set(status.backend.models):
            break
        current = runtime.state(state.id)
        if current is None or not current.alive or current.restart_count > state.restart_count:
            raise GatewayStartFailed(
                "the gateway ended before it answered",
                cure="Mend what its first lines name, then run `pmpctl up` again.",
                details=first_errors_of(runtime, state),
            )
        if time.monotonic() - began > GATEWAY_SECONDS:
            raise GatewayStartFailed(
                f"the gateway did not reach the engine within {GATEWAY_SECONDS:.0f} s",
                cure="Read `pmpctl logs gateway`.",
                details=first_errors_of(runtime, state),
            )
        watcher.wait(POLL_SECONDS)
    yield PhaseFinished("gateway-ready", time.monotonic() - began)
    return status


def let_requests_in(workspace: Workspace, plan: Plan, status: GatewayStatus) -> Operation[None]:
    """Open the gateway to the plan's engine, which has been verified, whatever an earlier command left it doing.

    The caller holds the workspace's lock, so nobody else's hold can still be meant.
    """
    open_gateway(workspace, policy=plan.requests, models=plan.served_names, force=True)
    if status.phase is not Phase.OPEN:
        why = f" ({status.door.reason})" if status.door.reason is not None else ""
        yield Notice("info", f"the gateway was left {status.phase}{why}; it is open again")


def _require_alive(runtime: Runtime, plan: Plan, state: UnitState) -> None:
    current = runtime.state(state.id)
    if current is not None and current.alive and current.restart_count <= state.restart_count:
        return
    if current is not None:
        # The restart policy would try the same again and again; its log stays for `pmpctl logs`.
        runtime.stop(current, timeout_seconds=5)
    raise EngineStartFailed(
        f"the engine of {plan.profile!r} ended before it answered{_how(current)}",
        cure="The first error lines above name the cause; `pmpctl logs engine` has the rest.",
        details=first_errors_of(runtime, state),
    )


def _how(state: UnitState | None) -> str:
    if state is None:
        return ": somebody removed it"
    if state.oom_killed:
        return ": the host's memory ran out (OOM)"
    return f" (exit status {state.exit_code})" if state.exit_code is not None else ""


def _verify(engine: EngineApi, plan: Plan) -> None:
    models = engine.models() or ()
    missing = set(plan.served_names) - {model.id for model in models}
    if missing:
        raise WrongModelServed(
            f"the engine on {plan.engine_url} serves {', '.join(model.id for model in models) or 'nothing'}, "
            f"not {', '.join(sorted(missing))}",
            cure="Another server may hold that port: see `pmpctl status`, then run `pmpctl up` again.",
        )
    if (said := engine.generates(plan.served_names[0], FIRST_TOKEN_SECONDS)) is not None:
        raise WrongModelServed(
            f"the engine answers, but gave no token: {said}",
            cure="Read `pmpctl logs engine`: the model loads but cannot generate.",
        )


class _Novelty:
    """Tells new output from a line that is printed again and again while nothing moves."""

    def __init__(self) -> None:
        self._seen: set[str] = set()

    def is_new(self, line: str) -> bool:
        stage = read_stage(line)
        key = line if stage is not None and stage.percent is not None else re.sub(r"\d+", "#", line)
        if key in self._seen:
            return False
        self._seen.add(key)
        return True
