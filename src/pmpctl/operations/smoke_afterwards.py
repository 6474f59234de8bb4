"""The quick checks at the end of `up` and `switch`, with the workspace's lock free: what runs stays in any case."""

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from pmpctl.errors import Interrupted, PmpctlError, SmokeFailed
from pmpctl.operations.api_target import local_api_without_token
from pmpctl.operations.environment import Environment
from pmpctl.operations.events import Operation, Setback
from pmpctl.operations.smoke import SmokeReport, Wanted, smoke
from pmpctl.operations.smoke_token import smoke_with_passing_token
from pmpctl.operations.switch_result import SwitchResult
from pmpctl.operations.up import UpResult

_TIMEOUT_SECONDS = 60

Result = TypeVar("Result", UpResult, SwitchResult)


def with_smoke(
    operation: Operation[Result], environment: Environment, keep_secret: Callable[[str], None], *, wanted: bool
) -> Operation[tuple[Result, PmpctlError | None]]:
    """The operation, then the checks if wanted; beside its result stands what they amount to where that is bad.

    A switch that had nothing to do is not checked.
    """
    result = yield from operation
    if not wanted or _had_nothing_to_do(result):
        return result, None
    try:
        report = yield from _quick_smoke(environment, keep_secret)
    except KeyboardInterrupt:
        yield Setback("the checks were broken off")
        cure = "`pmpctl smoke` makes the checks, and `pmpctl down` ends what runs."
        return result, Interrupted(f"interrupted in the checks; {result.profile} stays up", cure=cure)
    except PmpctlError as error:
        yield Setback("the checks cannot be made")
        return result, SmokeFailed(
            f"the checks cannot be made: {error.message}", cure=error.cure, details=error.details
        )
    return replace(result, smoke=report), report.refusal()


def _had_nothing_to_do(result: UpResult | SwitchResult) -> bool:
    return isinstance(result, SwitchResult) and result.change == "kept"


def _quick_smoke(environment: Environment, keep_secret: Callable[[str], None]) -> Operation[SmokeReport]:
    known = local_api_without_token(environment, _TIMEOUT_SECONDS)
    wanted = Wanted(tools=False, apis=False)
    if known.target.auth:
        return (yield from smoke_with_passing_token(environment, known, wanted, keep_secret))
    return (yield from smoke(known, wanted))
