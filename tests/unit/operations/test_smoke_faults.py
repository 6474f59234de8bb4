"""A whole run of the checks tells each fault once: by the check that names it, and by no other."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pmpctl.operations.api_target import KnownApi
from pmpctl.operations.smoke import SmokeReport, Wanted, smoke
from pmpctl.smoke.check import Group, Verdict
from pmpctl.smoke.target import Target
from tests.support import result_of
from tests.unit.smoke.zoo import faults_of_service as service
from tests.unit.smoke.zoo import faults_of_streams as streams
from tests.unit.smoke.zoo import faults_of_tools as of_tools
from tests.unit.smoke.zoo import raw
from tests.unit.smoke.zoo.api import TOKEN, Refusal, WellBehaved
from tests.unit.smoke.zoo.certificates import certificate
from tests.unit.smoke.zoo.exchange import Exchange
from tests.unit.smoke.zoo.serving import served

TIMEOUT_SECONDS = 20


def run(url: str, *, tools: bool = True, soak_minutes: float | None = None) -> SmokeReport:
    target = Target(url, TOKEN, auth=True, tool_call_parser="hermes", timeout_seconds=TIMEOUT_SECONDS)
    return result_of(smoke(KnownApi(target), Wanted(model="llm", tools=tools, soak_minutes=soak_minutes)))[0]


def told(report: SmokeReport) -> dict[str, str]:
    return {check.name: check.detail for check in report.checks if check.verdict in (Verdict.WARN, Verdict.FAIL)}


@pytest.mark.parametrize(
    ("server", "check", "words"),
    [
        (streams.LumpedStream, "stream", "one lump"),
        (streams.NoDone, "stream-end", "[DONE]"),
        (streams.EmptyAbort, "answer", "abort"),
        (service.NoTokenAccepted, "auth-no-token", "HTTP 200 without a token"),
        (service.WrongModel, "models", "somebody-elses-model"),
        (service.ChatIsHtml, "answer", "HTTP 504 with an HTML page"),
        (service.LoginPage, "health", "HTML page ('Sign in')"),
        (service.BadGateway, "health", "HTTP 502 with an HTML page"),
        (service.RedirectsToLogin, "health", "a redirect to https://sso.example/login"),
        (service.TextInsteadOfJson, "auth-no-token", "not JSON: 'It works!'"),
        (of_tools.LongIdsRefused, "tool-ids-long", "Tool call id"),
        (of_tools.ResultsDropped, "tool-round", "does not use the tool's result"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_fault_is_told_once(server: Callable[[], WellBehaved], check: str, words: str) -> None:
    with served(server()) as url:
        found = told(run(url))
    assert found.keys() == {check}, found
    assert words in found[check]


def test_a_slow_first_token_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pmpctl.smoke.quick_streams._SLOW_FIRST_TOKEN_SECONDS", 0.5)
    monkeypatch.setattr(streams.SlowFirstToken, "seconds", 0.6)
    with served(streams.SlowFirstToken()) as url:
        assert told(run(url, tools=False)).keys() == {"first-token"}


def test_a_bad_certificate_is_told_once(tmp_path: Path) -> None:
    with served(WellBehaved(), certificate=certificate(tmp_path, name="127.0.0.1", days=2)) as url:
        report = run(url)
    assert "self-signed" in told(report)["health"]
    assert [check.verdict for check in report.checks].count(Verdict.FAIL) == 1
    assert report.checks[-1].detail == "the API does not answer"


def test_an_api_that_hangs_altogether_is_given_up_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first question and the first check have waited by then."""
    monkeypatch.setattr("pmpctl.operations.smoke.PROBE_SECONDS", 1.0)

    with raw.listening(raw.says_nothing) as url:
        report = run(url)
    assert "no answer within 1 s" in told(report)["health"]
    assert report.counts["fail"] == 1
    assert report.seconds < TIMEOUT_SECONDS


class _DiesOfLongPrompts(WellBehaved):
    is_dead = False

    async def route(self, exchange: Exchange) -> None:
        if self.is_dead:
            await exchange.answer_bytes(502, b"", {"content-type": "text/plain"})
        else:
            await super().route(exchange)

    def too_long(self, tokens: int) -> None:
        self.is_dead = True
        raise Refusal(500, "EngineDeadError", "InternalServerError")


@pytest.mark.parametrize(
    ("server", "why"),
    [
        (_DiesOfLongPrompts, "the API does not answer any more since too-long"),
        (streams.EmptyAbort, "the API gives no short answer"),
    ],
)
def test_an_api_that_gives_no_answer_is_not_soaked_and_the_report_says_why(
    server: Callable[[], WellBehaved], why: str
) -> None:
    with served(server()) as url:
        report = run(url, tools=False, soak_minutes=60)

    soaked = [check for check in report.checks if check.group is Group.SOAK]
    assert [(check.verdict, check.detail) for check in soaked] == [(Verdict.SKIPPED, why)]
    assert report.refusal() is not None


def test_an_api_with_a_fault_that_answers_still_is_soaked() -> None:
    with served(streams.NoDone()) as url:
        report = run(url, tools=False, soak_minutes=0.02)

    verdicts = {check.name: check.verdict for check in report.checks}
    assert verdicts["stream-end"] is Verdict.FAIL
    assert verdicts["soak-errors"] is not Verdict.SKIPPED
