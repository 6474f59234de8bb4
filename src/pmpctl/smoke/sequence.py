"""One check after the other, so that one fault fails one check: what cannot be judged after it is skipped."""

from collections.abc import Iterable, Iterator

from pmpctl.smoke.api import Api
from pmpctl.smoke.check import Check, CheckResult, Verdict, make_check

# Without a model that is there and answers, all that follows would fail of the same.
_GATES = ("models", "answer")


def make_checks(api: Api, checks: Iterable[Check], *, is_silent: bool = False) -> Iterator[CheckResult]:
    """`is_silent`: the API has been asked and did not answer, so the first check that fails speaks for all."""
    reason: str | None = None
    for check in checks:
        if reason is not None:
            yield CheckResult(check.name, check.group, check.title, Verdict.SKIPPED, 0, reason)
            continue
        result = make_check(check, api)
        if result.verdict is Verdict.FAIL and (is_silent or check.name in _GATES):
            reason = "the API does not answer" if is_silent else f"since {check.name} failed"
        yield result
