"""The way back of a switch that failed: what ran before runs again, or the gateway says that nothing does."""

import contextlib
from collections.abc import Sequence
from dataclasses import replace
from typing import NoReturn

from pmpctl.errors import GatewayRefused, PmpctlError, Problem, SwitchFailed, SwitchNotUndone
from pmpctl.host.files import save
from pmpctl.operations.events import Notice, Operation, Setback
from pmpctl.operations.history import note_served
from pmpctl.operations.journal import Step
from pmpctl.operations.switch_steps import Steps
from pmpctl.planning.recorded import RecordedPlan
from pmpctl.runtime.base import LogQuery, Runtime, UnitState
from pmpctl.workspace import Workspace

FAILED_ENGINE_LOG = "failed-engine.log"
_KEPT_LINES = 5000


def undo(
    steps: Steps, source: RecordedPlan | None, target: RecordedPlan, error: BaseException, *, rollback: bool
) -> Operation[NoReturn]:
    """Raises how it ended: SwitchFailed, SwitchNotUndone, or `error` itself where there was nothing to go back to."""
    step = steps.journal.journal.step
    back = steps.back(str(error) if isinstance(error, PmpctlError) else type(error).__name__)
    yield Setback(_setback(error))
    try:
        if step.number < Step.STOP.number and (yield from _reopen(back, source)):
            pass
        elif source is None or not rollback:
            yield from _give_up(back)
            raise error
        else:
            yield from _restore(back, source)
    except PmpctlError as second:
        if second is error:
            raise
        yield from _give_up(back)
        raise SwitchNotUndone(
            f"the switch to {target.profile} failed, and so did the way back: no model serves",
            cure=f"Mend what the next lines name, then run `pmpctl up {target.profile}` or another profile.",
            causes=(*_problems_of(error, steps.workspace), *second.problems),
        ) from second
    steps.journal.settled()
    serving = source.profile if source is not None else "the model that ran"
    yield Notice("warning", f"{serving} serves again")
    if not isinstance(error, Exception):
        raise error
    raise SwitchFailed(
        f"the switch to {target.profile} failed; {serving} serves again",
        cure="Mend what the next lines name, and switch again.",
        causes=_problems_of(error, steps.workspace),
    ) from error


def silently(way_back: Operation[NoReturn]) -> None:
    """For a command whose reader has gone: what must be done is done, and told to nobody."""
    with contextlib.suppress(PmpctlError, GeneratorExit):
        for _ in way_back:
            pass


def _reopen(back: Steps, source: RecordedPlan | None) -> Operation[bool]:
    """Whether the engine that was never stopped serves again."""
    try:
        if source is not None:
            yield from back.open(source)
        else:
            back.gateway.open_to_any()
    except GatewayRefused as error:
        yield Notice("warning", error.message)
        return False
    return True


def _restore(back: Steps, source: RecordedPlan) -> Operation[None]:
    failed = [state for state in back.runtime.units() if state.role == "engine"]
    yield from _keep_logs(back.workspace, back.runtime, failed)
    yield from back.stop(failed, source.plan.engine.stop_timeout_seconds)
    yield from back.remove(failed)
    yield from back.prove_free(source, insist=False)
    engine = yield from back.start(source)
    yield from back.wait(source, engine)
    yield from back.verify(source, engine)
    yield from back.open(source)
    note_served(back.workspace, source)


def _give_up(back: Steps) -> Operation[None]:
    """The engine that failed stays, stopped, for `status` and `logs` to tell of."""
    yield from back.close()
    try:
        for state in back.runtime.units():
            if state.role == "engine":
                back.runtime.stop(state, 5)
    except PmpctlError as error:
        # A runtime that does not answer must not hide why the switch failed.
        yield Notice("warning", f"{error.message}; the engine that failed is left as it is")


def _keep_logs(workspace: Workspace, runtime: Runtime, engines: Sequence[UnitState]) -> Operation[None]:
    try:
        lines = [line.text for engine in engines for line in runtime.logs(engine, LogQuery(tail=_KEPT_LINES))]
        if lines:
            path = workspace.logs_dir / FAILED_ENGINE_LOG
            save(path, "\n".join([*lines, ""]))
            yield Notice("info", f"the failed engine's log is kept in {path}")
    except PmpctlError as error:
        yield Notice("info", f"the failed engine's log is not kept: {error.message}")


def _setback(error: BaseException) -> str:
    if isinstance(error, KeyboardInterrupt):
        return "interrupted: undoing the switch; Ctrl-C again leaves that to the next command"
    return error.message if isinstance(error, PmpctlError) else f"{type(error).__name__}: {error}"


def _problems_of(error: BaseException, workspace: Workspace) -> tuple[Problem, ...]:
    if isinstance(error, PmpctlError):
        # By now `logs` would tell of another engine.
        path = workspace.logs_dir / FAILED_ENGINE_LOG
        return tuple(
            replace(each, cure=each.cure.replace("`pmpctl logs engine`", str(path))) for each in error.problems
        )
    if isinstance(error, KeyboardInterrupt):
        return (Problem("interrupted", "It was interrupted.", "Run the same command again."),)
    message = f"This is a bug in pmpctl: {type(error).__name__}: {error}".rstrip(": ")
    return (Problem("bug", message, "Run it again with --debug to see where, and report it."),)
