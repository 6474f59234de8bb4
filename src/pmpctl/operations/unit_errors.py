"""The first error lines of a unit, read from its log."""

from pmpctl.diagnosis.first_error import first_error_lines
from pmpctl.errors import PmpctlError
from pmpctl.runtime.base import LogQuery, Runtime, UnitState


def first_errors_of(runtime: Runtime, state: UnitState) -> tuple[str, ...]:
    """Nothing when the log cannot be read: whoever asks already has a failure of its own to tell."""
    try:
        return first_error_lines(line.text for line in runtime.logs(state, LogQuery()))
    except PmpctlError:
        return ()
