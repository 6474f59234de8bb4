"""What a check is: a small function with a name, that is handed the API and says what it found."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pmpctl.smoke.api import Api


class Verdict(StrEnum):
    PASS = "pass"  # noqa: S105
    WARN = "warn"
    FAIL = "fail"
    SKIPPED = "skipped"


class Group(StrEnum):
    QUICK = "quick"
    TOOLS = "tools"
    APIS = "apis"
    LONG = "long"
    SOAK = "soak"
    CLIENTS = "clients"


@dataclass(frozen=True, slots=True)
class Passed:
    """`detail` is a few words for the table; `figures` are named with their unit, as `first_token_ms`."""

    detail: str = ""
    figures: Mapping[str, float] = field(default_factory=dict)


class NotPassed(Exception):
    """Raised by a check; `what` says what came back, `cure` what to do about it."""

    verdict: Verdict

    def __init__(self, what: str, cure: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.cure = cure


class Failed(NotPassed):
    """`status` is the HTTP status that is the fault, if it is one."""

    verdict = Verdict.FAIL

    def __init__(self, what: str, cure: str = "", status: int | None = None) -> None:
        super().__init__(what, cure)
        self.status = status


class Warned(NotPassed):
    """Clients will work, but the user should know."""

    verdict = Verdict.WARN


class Skipped(NotPassed):
    """`what` is the reason; the cure, if any, says how to have the check made."""

    verdict = Verdict.SKIPPED


@dataclass(frozen=True, slots=True)
class Check:
    """`name` is a stable word for machines, such as `auth-wrong-token`; `title` the words for people."""

    name: str
    group: Group
    title: str
    run: "Callable[[Api], Passed]"


@dataclass(frozen=True, slots=True)
class CheckResult:
    name: str
    group: Group
    title: str
    verdict: Verdict
    seconds: float
    detail: str
    cure: str = ""
    figures: Mapping[str, float] = field(default_factory=dict)


def make_check(check: Check, api: "Api") -> CheckResult:
    """Run it, whatever it raises on purpose; the API's own faults are those of `smoke.api`, which are `Failed` too."""
    began = time.monotonic()
    try:
        passed = check.run(api)
    except NotPassed as found:
        verdict, detail, cure, figures = found.verdict, found.what, found.cure, {}
    else:
        verdict, detail, cure, figures = Verdict.PASS, passed.detail, "", dict(passed.figures)
    return CheckResult(check.name, check.group, check.title, verdict, time.monotonic() - began, detail, cure, figures)
