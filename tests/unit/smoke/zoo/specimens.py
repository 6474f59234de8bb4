"""What is to be told of a server of the zoo, and what the checks do tell."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from pmpctl.smoke.api import Api
from pmpctl.smoke.check import Check, CheckResult, Verdict, make_check
from pmpctl.smoke.target import Target
from tests.unit.smoke.zoo.api import TOKEN, WellBehaved
from tests.unit.smoke.zoo.faults_of_service import Gzipped, JsonNamedText

GOOD_SERVERS = (WellBehaved, JsonNamedText, Gzipped)


@dataclass(frozen=True, slots=True)
class Specimen:
    """`words` stand in what each of the checks says, `cure` in what it advises."""

    server: Callable[[], WellBehaved]
    caught_by: frozenset[str]
    words: str
    cure: str = "."

    @property
    def name(self) -> str:
        return getattr(self.server, "__name__", "server")

    def is_told_by(self, result: CheckResult) -> bool:
        return bool(re.search(self.words, result.detail) and re.search(self.cure, result.cure))


def caught(server: Callable[[], WellBehaved], by: str, words: str, cure: str = ".") -> Specimen:
    return Specimen(server, frozenset(by.split()), words, cure)


def target(url: str) -> Target:
    return Target(url, TOKEN, auth=True, max_model_len=4096, tool_call_parser="hermes", timeout_seconds=20)


def results_of(checks: Iterable[Check], wanted: Target) -> dict[str, CheckResult]:
    with Api(wanted) as api:
        return {check.name: make_check(check, api) for check in checks}


def not_passed(checks: Iterable[Check], wanted: Target) -> dict[str, CheckResult]:
    """Those that warn or fail; what is skipped says nothing against the server."""
    found = results_of(checks, wanted)
    return {name: result for name, result in found.items() if result.verdict in (Verdict.WARN, Verdict.FAIL)}
