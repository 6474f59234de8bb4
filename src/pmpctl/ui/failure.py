"""An exception as the problems, exit status and words that a user gets."""

from dataclasses import dataclass, replace

from pmpctl.errors import ExitStatus, PmpctlError, Problem


@dataclass(frozen=True, slots=True)
class Failure:
    exit_status: ExitStatus
    problems: tuple[Problem, ...]


def failure(error: BaseException, debug: bool) -> Failure:
    trace = tuple(_traceback(error)) if debug else ()
    if isinstance(error, PmpctlError):
        *others, last = error.problems
        return Failure(error.exit_status, (*others, replace(last, details=(*last.details, *trace))))
    if isinstance(error, KeyboardInterrupt):
        cure = "Nothing is lost: `pmpctl status` says what runs; run the same command again, or `pmpctl down`."
        return Failure(ExitStatus.INTERRUPTED, (Problem("interrupted", "Interrupted.", cure),))
    message = f"This is a bug in pmpctl: {type(error).__name__}: {error}".rstrip(": ")
    cure = "Report it with the lines above." if debug else "Run it again with --debug to see where, and report it."
    return Failure(ExitStatus.BUG, (Problem("bug", message, cure, trace),))


def _traceback(error: BaseException) -> list[str]:
    import traceback

    return "".join(traceback.format_exception(error)).rstrip().splitlines()
