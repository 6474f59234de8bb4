"""`smoke`: make the checks of a running API one after the other, and tell what each found."""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from pmpctl.errors import ApiFailed, Interrupted, PmpctlError, SmokeFailed
from pmpctl.operations.api_target import KnownApi
from pmpctl.operations.events import CheckMade, Operation, PhaseFinished, PhaseProgress, PhaseStarted
from pmpctl.operations.vitals import vitals_reader
from pmpctl.smoke.api import Api
from pmpctl.smoke.apis import APIS
from pmpctl.smoke.check import Check, CheckResult, Failed, Verdict
from pmpctl.smoke.clients import CLIENTS
from pmpctl.smoke.long import LONG
from pmpctl.smoke.models import model_names
from pmpctl.smoke.quick import QUICK
from pmpctl.smoke.sequence import PROBE_SECONDS, answers_still, make_checks
from pmpctl.smoke.soak import SoakReport, Vitals, no_soak, soak
from pmpctl.smoke.target import Target
from pmpctl.smoke.tools import TOOLS


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """`tools` is None where it depends on whether the profile has a tool parser."""

    model: str | None = None
    tools: bool | None = None
    apis: bool = True
    clients: bool = False
    long: bool = False
    soak_minutes: float | None = None

    def checks(self, target: Target) -> tuple[Check, ...]:
        has_tools = target.tool_call_parser is not None if self.tools is None else self.tools
        return (
            *QUICK,
            *(TOOLS if has_tools else ()),
            *(APIS if self.apis else ()),
            *(CLIENTS if self.clients else ()),
            *(LONG if self.long else ()),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SmokeReport:
    url: str
    model: str
    profile: str | None
    ok: bool
    counts: Mapping[str, int]
    """How many checks came to each verdict."""
    checks: tuple[CheckResult, ...]
    seconds: float
    interrupted: bool

    def refusal(self) -> PmpctlError | None:
        """What the outcome amounts to where it is a bad one."""
        failed = [check.name for check in self.checks if check.verdict is Verdict.FAIL]
        if failed:
            return SmokeFailed(
                f"{len(failed)} of {len(self.checks)} checks failed: {', '.join(failed)}",
                cure="Do what stands under each of them; `pmpctl smoke` makes the checks again.",
            )
        if self.interrupted:
            return Interrupted("interrupted; the checks until then stand above", cure="Run the same command again.")
        return None


def smoke(known: KnownApi, wanted: Wanted) -> Operation[SmokeReport]:
    """Raises ApiFailed where the environment lets nothing be asked; all else is a check's to tell."""
    began = time.monotonic()
    results: list[CheckResult] = []
    yield PhaseStarted("smoke", f"Checking {known.target.url}")
    try:
        target, silence = _choose_model(known.target, wanted.model)
        checks = wanted.checks(target)
        # The check that speaks for all need not wait as long as one for an answer that is long.
        with Api(_impatient(target) if silence else target) as api:
            for result in make_checks(api, checks, silence=silence):
                results.append(result)
                yield _made(result)
                yield PhaseProgress("smoke", result.title, len(results), len(checks), "steps")
    except Failed as failed:
        raise ApiFailed(failed.what, cure=failed.cure) from failed
    yield PhaseFinished("smoke", time.monotonic() - began, _summary(_count(results)))
    interrupted = False
    if wanted.soak_minutes is not None:
        if (why := _why_no_soak(target, results)) is not None:
            soaked = no_soak(why)
            yield from map(_made, soaked.results)
        else:
            read_vitals = vitals_reader(known.environment) if known.environment is not None else None
            soaked = yield from _soak(target, wanted.soak_minutes, read_vitals)
        results += soaked.results
        interrupted = soaked.interrupted
    return SmokeReport(
        url=target.url,
        model=target.model,
        profile=known.profile,
        ok=not interrupted and all(result.verdict is not Verdict.FAIL for result in results),
        counts=_count(results),
        checks=tuple(results),
        seconds=time.monotonic() - began,
        interrupted=interrupted,
    )


def _choose_model(target: Target, wanted: str | None) -> tuple[Target, str | None]:
    """As told, else the only one there is; and why there is no API to speak of, if so."""
    if wanted is not None:
        target = replace(target, model=wanted)
    with Api(_impatient(target)) as api:
        try:
            answer = api.request("GET", "/v1/models")
        except Failed:
            return target, "the API does not answer"
    if not answer.is_json and (answer.is_html or answer.status < 500):
        return target, f"{'a web page' if answer.is_html else 'something else'} answers, not the API"
    try:
        names = model_names(answer)
    except Failed:
        return target, None
    if wanted is None and len(names) == 1:
        target = replace(target, model=names[0])
    return target, None


def _impatient(target: Target) -> Target:
    return replace(target, timeout_seconds=min(PROBE_SECONDS, target.timeout_seconds))


def _why_no_soak(target: Target, results: Sequence[CheckResult]) -> str | None:
    """Where an API gives no answer by now, a load on it would tell nothing new."""
    if not any(result.name == "answer" and result.verdict is Verdict.PASS for result in results):
        return "the API gives no short answer"
    failed = [result.name for result in results if result.verdict is Verdict.FAIL]
    if not failed:
        return None
    with Api(target) as api:
        return None if answers_still(api) else f"the API does not answer any more since {failed[-1]}"


def _soak(target: Target, minutes: float, read_vitals: Callable[[], Vitals] | None) -> Operation[SoakReport]:
    yield PhaseStarted("soak", f"Keeping {target.url} at work for {minutes:g} min")
    running = soak(target, minutes, read_vitals=read_vitals)
    interrupt: KeyboardInterrupt | None = None
    while True:
        try:
            told = next(running) if interrupt is None else running.throw(interrupt)
        except StopIteration as stop:
            report: SoakReport = stop.value
            break
        interrupt = None
        percent = round(100 * told.seconds / told.total_seconds)
        try:
            yield PhaseProgress("soak", f"{told.requests} requests, {told.errors} failed", percent, 100, "percent")
        except KeyboardInterrupt as error:
            interrupt = error
    for result in report.results:
        yield _made(result)
    yield PhaseFinished("soak", report.results[0].seconds, _summary(_count(report.results)))
    return report


def _made(result: CheckResult) -> CheckMade:
    return CheckMade(result.name, result.group, result.title, result.verdict, result.seconds, result.detail)


def _count(results: Sequence[CheckResult]) -> dict[str, int]:
    found = Counter(result.verdict for result in results)
    return {str(verdict): found[verdict] for verdict in Verdict}


def _summary(counts: Mapping[str, int]) -> str:
    words = {"pass": "passed", "warn": "warned", "fail": "failed", "skipped": "skipped"}
    return ", ".join(f"{count} {words[verdict]}" for verdict, count in counts.items() if count)
