"""One check after the other, so that one fault fails one check: what cannot be judged after it is skipped."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from pmpctl.smoke.api import CHAT, Api
from pmpctl.smoke.check import Check, CheckResult, Failed, Verdict, make_check
from pmpctl.smoke.prompts import SAY_OK, user

PROBE_SECONDS = 10.0
"""Within which an API answers at least something, where it is there."""

# Without a model that is there and answers, all that follows would fail of the same.
_GATES = ("models", "answer")
_MOST_WAITS_IN_VAIN = 2


def make_checks(api: Api, checks: Iterable[Check], *, silence: str | None = None) -> Iterator[CheckResult]:
    """`silence` is why there is no API to speak of, where that is known: the first check that fails tells of it."""
    reason: str | None = None
    answered = False
    waited: list[str] = []
    for check in checks:
        if reason is not None:
            yield CheckResult(check.name, check.group, check.title, Verdict.SKIPPED, 0, reason)
            continue
        result = make_check(check, api)
        yield result
        answered = answered or (check.name == "answer" and result.verdict is Verdict.PASS)
        if result.verdict is not Verdict.FAIL:
            continue
        if result.seconds >= api.target.timeout_seconds:
            waited.append(check.name)
        if silence is not None:
            reason = silence
        elif check.name in _GATES:
            reason = f"since {check.name} failed"
        elif answered and not answers_still(api):
            reason = f"the API does not answer any more since {check.name}"
        elif len(waited) == _MOST_WAITS_IN_VAIN:
            reason = f"since {' and '.join(waited)} got no answer in time"


def answers_still(api: Api) -> bool:
    """Whatever it says, unless it is that the engine is gone."""
    body = {"model": api.target.model, "messages": [user(SAY_OK)], "max_tokens": 5}
    seconds = min(PROBE_SECONDS, api.target.timeout_seconds)
    try:
        with Api(replace(api.target, timeout_seconds=seconds)) as probe:
            return probe.request("POST", CHAT, body).status < 500
    except Failed:
        return False
