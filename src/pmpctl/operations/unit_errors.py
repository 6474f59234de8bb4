"""The first error lines of a unit, read from its log."""

from pmpctl.diagnosis.first_error import first_error_lines
from pmpctl.errors import PmpctlError
from pmpctl.runtime.base import LogQuery, Runtime, UnitState


def first_errors_of(runtime: Runtime, state: UnitState) -> tuple[str, ...]:
    """Of the last run of a unit that has ended, else of all its runs.

    Nothing when the log cannot be read: whoever asks already has a failure of its own to tell.
    """
    try:
        if not state.alive and (found := _errors_since(runtime, state, state.started_at)):
            return found
        # Docker may have noted the start only after a program that ends at once had said why.
        return _errors_since(runtime, state, None)
    except PmpctlError:
        return ()


def _errors_since(runtime: Runtime, state: UnitState, since: float | None) -> tuple[str, ...]:
    return first_error_lines(line.text for line in runtime.logs(state, LogQuery(since=since)))
