"""A soak of seconds against small servers: errors, restarts and growth are told, and Ctrl-C leaves a report."""

import itertools
import time
from collections.abc import Callable

from pmpctl.smoke.check import Verdict
from pmpctl.smoke.soak import GROWTH_BYTES, SoakProgress, SoakReport, UnitVitals, Vitals, soak
from pmpctl.smoke.target import Target
from tests.unit.smoke.zoo.api import TOKEN, Refusal, WellBehaved
from tests.unit.smoke.zoo.exchange import Exchange
from tests.unit.smoke.zoo.serving import served

MINUTES = 0.04
LONG_MINUTES = 10


class FailsEveryFifth(WellBehaved):
    def __init__(self) -> None:
        super().__init__()
        self.numbers = itertools.count(1)

    async def chat(self, exchange: Exchange) -> None:
        if next(self.numbers) % 5 == 0:
            raise Refusal(503, "The engine is away.", "server_error")
        await super().chat(exchange)


def run(
    server: WellBehaved,
    read_vitals: Callable[[], Vitals] | None = None,
    *,
    interrupt: Callable[[SoakProgress], bool] | None = None,
) -> tuple[SoakReport, dict[str, Verdict]]:
    """A short soak to its end, or a long one that is interrupted as soon as enough was seen."""
    with served(server) as url:
        target = Target(url, token=TOKEN, tool_call_parser="hermes", timeout_seconds=60)
        soaking = soak(target, LONG_MINUTES if interrupt else MINUTES, 3, read_vitals)
        try:
            told = next(soaking)
            while interrupt is None or not interrupt(told):
                told = next(soaking)
            soaking.throw(KeyboardInterrupt())
        except StopIteration as stop:
            report: SoakReport = stop.value
    return report, {result.name: result.verdict for result in report.results}


def test_a_good_api_passes_with_its_latencies() -> None:
    report, verdicts = run(WellBehaved())

    assert verdicts["soak-errors"] is Verdict.PASS, report
    assert verdicts["soak-restarts"] is verdicts["soak-memory"] is Verdict.SKIPPED
    figures = report.results[1].figures
    assert 0 < figures["first_token_p50_ms"] <= figures["first_token_p99_ms"] <= figures["answer_p99_ms"]


def test_errors_are_counted_and_the_first_is_quoted() -> None:
    report, verdicts = run(FailsEveryFifth(), interrupt=lambda told: 0 < told.errors < told.requests)

    assert verdicts["soak-errors"] is Verdict.FAIL
    assert "HTTP 503: The engine is away." in report.results[0].detail
    assert 0 < report.results[0].figures["errors"] < report.results[0].figures["requests"]


def test_a_restart_fails_and_growth_warns() -> None:
    starts = itertools.count()

    def vitals() -> Vitals:
        number = next(starts)
        grown = UnitVitals(True, (0, 1.0), GROWTH_BYTES * 2 * number)
        return {"engine": UnitVitals(True, (min(number, 1), 1.0), 1), "gateway": grown}

    report, verdicts = run(WellBehaved(), vitals)

    assert verdicts["soak-restarts"] is Verdict.FAIL
    assert report.results[2].detail.endswith("engine")
    assert verdicts["soak-memory"] is Verdict.WARN
    assert "gateway" in report.results[3].detail


def test_what_dies_in_the_last_moment_has_not_kept_running() -> None:
    began = time.monotonic()

    def vitals() -> Vitals:
        alive = time.monotonic() - began < MINUTES * 60
        return {"engine": UnitVitals(alive, (0, 1.0), 1)}

    _, verdicts = run(WellBehaved(), vitals)

    assert verdicts["soak-restarts"] is Verdict.FAIL


def test_units_that_are_out_of_sight_are_no_proof_that_they_keep_running() -> None:
    numbers = itertools.count()
    unit = UnitVitals(True, (0, 1.0), 1)

    _, lost = run(WellBehaved(), lambda: {"engine": unit} if next(numbers) == 0 else {})
    _, never_seen = run(WellBehaved(), dict)

    assert (lost["soak-restarts"], lost["soak-memory"]) == (Verdict.FAIL, Verdict.SKIPPED)
    assert never_seen["soak-restarts"] is never_seen["soak-memory"] is Verdict.SKIPPED


def test_an_interruption_leaves_a_report_of_what_was_seen() -> None:
    report, verdicts = run(WellBehaved(), interrupt=lambda told: told.requests > 0)

    assert report.interrupted
    assert report.results[0].figures["requests"] > 0
    assert verdicts["soak-errors"] is Verdict.PASS, report
