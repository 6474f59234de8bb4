"""`switch`: another model behind the same address, without losing a request, and back if it does not come up."""

import time
from dataclasses import dataclass

from pmpctl.operations.environment import Environment, prepare_state_folder
from pmpctl.operations.events import Notice, Operation
from pmpctl.operations.gateway_hold import GatewayHold
from pmpctl.operations.journal import journaled
from pmpctl.operations.learning import learn
from pmpctl.operations.locking import take_lock
from pmpctl.operations.mending import mend, no_request_waits_in_vain, settle
from pmpctl.operations.page_cache import warm_page_cache
from pmpctl.operations.preflight import plan_preflight, preflight
from pmpctl.operations.rollback import silently, undo
from pmpctl.operations.switch_result import PlannedSwitch, SwitchResult, switch_result
from pmpctl.operations.switch_scene import Scene, look, running_plan, warnings
from pmpctl.operations.switch_steps import Steps, Timing, steps_in_words
from pmpctl.operations.unit_records import fit_figures
from pmpctl.operations.up import up
from pmpctl.planning.recorded import RecordedPlan

_STOP_SECONDS = 30.0
"""For an engine of which nobody knows how long it may take."""


@dataclass(frozen=True, slots=True)
class SwitchOptions:
    """`restart` also if the plan runs already; `force` starts what does not fit."""

    drain_seconds: float = 30.0
    restart: bool = False
    force: bool = False
    rollback: bool = True


def switch(
    environment: Environment, name: str, options: SwitchOptions, *, wait: bool = False
) -> Operation[SwitchResult]:
    """Put a profile's model (`-`: that of the one before) in the place of what runs; `wait` lets another pmpctl finish.

    What fails before requests are held is raised as it is, and nothing was touched. After that SwitchFailed says that
    the old model serves again, and SwitchNotUndone that none does.
    """
    began = time.monotonic()
    prepare_state_folder(environment.workspace)
    with (yield from take_lock(environment.workspace, f"switch {name}", wait=wait)):
        scene = yield from look(environment, name, restart=options.restart)
        if scene.is_served and not options.restart:
            return switch_result(scene, "kept", time.monotonic() - began)
        if not scene.instead_up:
            return (yield from _replace(scene, options, began))
    profile = scene.plan.profile
    yield Notice("info", f"{scene.instead_up}: doing what `pmpctl up {profile}` does")
    result = yield from up(environment, profile, restart=options.restart, force=options.force, wait=wait)
    return switch_result(scene, "started", result.seconds)


def plan_switch(environment: Environment, name: str, options: SwitchOptions) -> Operation[PlannedSwitch]:
    """What `switch` would do, and what its checks say; nothing is touched."""
    scene = yield from look(environment, name, restart=options.restart)
    plan, engine = scene.plan, scene.engine
    previous = engine.profile if engine is not None else None
    if scene.is_served and not options.restart:
        return PlannedSwitch(plan, previous, "kept", (), None)
    checks = yield from plan_preflight(environment, scene.file, scene.runtime, plan)
    if scene.instead_up or engine is None:
        return PlannedSwitch(plan, previous, "started", (f"{scene.instead_up}: as `pmpctl up`",), checks)
    source = yield from running_plan(scene, engine)
    yield from warnings(scene, source, rollback=options.rollback)
    words = steps_in_words(engine.profile, plan, options.drain_seconds, scene.file.host.card_timeout)
    return PlannedSwitch(plan, previous, "switched", words, checks)


def _replace(scene: Scene, options: SwitchOptions, began: float) -> Operation[SwitchResult]:
    environment, file, runtime, plan = scene.environment, scene.file, scene.runtime, scene.plan
    workspace, timing = environment.workspace, Timing()
    with no_request_waits_in_vain(workspace, runtime):
        mended = yield from mend(environment, file, scene.chosen, "switch", plan)
        engines = [state for state in runtime.units() if state.role == "engine"]
        source = mended.decision.rollback_to
        if source is None and engines:
            source = yield from running_plan(scene, engines[0])
        yield from warnings(scene, source, rollback=options.rollback)
        with timing.measured("checks"):
            checks = yield from preflight(environment, file, runtime, plan, (plan.engine,), force=options.force)
        with timing.measured("page-cache"):
            yield from warm_page_cache(environment, file, runtime, plan)
    target = RecordedPlan(plan=plan, fit=fit_figures(checks.fit))
    command = f"switch {plan.profile}"
    with (
        journaled(workspace, command, source=source, target=target, resumed=mended.journal) as journal,
        GatewayHold(workspace, journal.journal.id) as gateway,
    ):
        models_dir = workspace.root / file.host.models_dir
        steps = Steps(workspace, runtime, models_dir, file.host.card_timeout, gateway, journal, timing)
        try:
            yield from steps.hold(options.drain_seconds)
            drained = yield from steps.drain(options.drain_seconds)
            yield from steps.stop(engines, source.plan.engine.stop_timeout_seconds if source else _STOP_SECONDS)
            yield from steps.remove(engines)
            yield from steps.prove_free(target, insist=not options.force)
            engine = yield from steps.start(target)
            yield from steps.wait(target, engine)
            yield from steps.verify(target, engine)
            yield from steps.open(target)
        except GeneratorExit as error:
            silently(undo(steps, source, target, error, rollback=options.rollback))
            raise
        except BaseException as error:  # noqa: BLE001 (all of it is undone, and raised again)
            yield from undo(steps, source, target, error, rollback=options.rollback)
        settle(workspace, target)
    counts = steps.counts(drained)
    yield from learn(environment, file, runtime, plan, engine)
    return switch_result(scene, "switched", time.monotonic() - began, counts, timing)
