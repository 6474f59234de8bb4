"""An exception as the problems, exit status and words that a user gets."""

from dataclasses import dataclass

from pmpctl.errors import ExitStatus, PmpctlError, Problem


@dataclass(frozen=True, slots=True)
class Failure:
    exit_status: ExitStatus
    problems: tuple[Problem, ...]


def failure(error: BaseException, debug: bool) -> Failure:
    if isinstance(error, PmpctlError):
        trace = tuple(_traceback(error)) if debug else ()
        problems = error.problems
        if trace:
            last = problems[-1]
            problems = (*problems[:-1], Problem(last.code, last.message, last.cure, (*last.details, *trace)))
        return Failure(error.exit_status, problems)
    if isinstance(error, KeyboardInterrupt):
        cure = "Nothing is lost: `pmpctl status` says what runs; run the same command again, or `pmpctl down`."
        return Failure(ExitStatus.INTERRUPTED, (Problem("interrupted", "Interrupted.", cure),))
    message = f"This is a bug in pmpctl: {type(error).__name__}: {error}".rstrip(": ")
    if debug:
        cure = "Report it with the lines above."
        return Failure(ExitStatus.BUG, (Problem("bug", message, cure, tuple(_traceback(error))),))
    return Failure(ExitStatus.BUG, (Problem("bug", message, "Run it again with --debug to see where, and report it."),))


def _traceback(error: BaseException) -> list[str]:
    import traceback

    return "".join(traceback.format_exception(error)).rstrip().splitlines()
