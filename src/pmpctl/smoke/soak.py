"""Keeps a bounded load on the API for a while, and tells errors, latencies, restarts and growth of memory."""

import math
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass

from pmpctl.smoke.api import Api
from pmpctl.smoke.check import CheckResult, Group, Verdict
from pmpctl.smoke.soak_load import Seen, work
from pmpctl.smoke.target import Target

CONCURRENCY = 4
MOST_CONCURRENCY = 64
# What a unit may grow by between the first fifth of the time and the end.
GROWTH_BYTES = 128 << 20
GROWTH_SHARE = 0.1

_NO_ERRORS = "No request fails"
_TELL_SECONDS = 1.0
_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class UnitVitals:
    """Of engine or gateway; `start` is another value after each start."""

    alive: bool
    start: tuple[int, float | None]
    memory_bytes: int | None


Vitals = Mapping[str, UnitVitals]


@dataclass(frozen=True, slots=True)
class SoakProgress:
    seconds: float
    total_seconds: float
    requests: int
    errors: int


@dataclass(frozen=True, slots=True)
class SoakReport:
    """`interrupted`: the results are of what was seen until then."""

    results: tuple[CheckResult, ...]
    interrupted: bool


def soak(
    target: Target,
    minutes: float,
    concurrency: int = CONCURRENCY,
    read_vitals: Callable[[], Vitals] | None = None,
) -> Generator[SoakProgress, None, SoakReport]:
    """`read_vitals` is None where the processes behind the API are not to be seen from here."""
    seen, stop, samples = Seen(), threading.Event(), list[Vitals]()
    began, total_seconds, interrupted = time.monotonic(), minutes * 60, False
    with Api(target) as api:
        workers = [
            threading.Thread(target=work, args=(api, seen, number, stop), daemon=True)
            for number in range(max(1, min(concurrency, MOST_CONCURRENCY)))
        ]
        try:
            if read_vitals is not None:
                samples.append(read_vitals())
            for worker in workers:
                worker.start()
            while (passed := time.monotonic() - began) < total_seconds:
                yield SoakProgress(passed, total_seconds, seen.requests, seen.errors.total())
                stop.wait(min(_TELL_SECONDS, total_seconds - passed))
                # Also at the end: a unit that dies in the last moment has not kept running.
                if read_vitals is not None:
                    samples.append(read_vitals())
        except KeyboardInterrupt:
            interrupted = True
        finally:
            stop.set()
        if not interrupted:
            for worker in workers:
                worker.join(target.timeout_seconds)
    seconds = time.monotonic() - began
    results = (_errors(seen, seconds), _latency(seen, seconds), _restarts(samples, seconds), _memory(samples, seconds))
    return SoakReport(results, interrupted)


def no_soak(why: str) -> SoakReport:
    """Of one that was not begun."""
    return SoakReport((_result("errors", _NO_ERRORS, Verdict.SKIPPED, 0, why),), interrupted=False)


def _errors(seen: Seen, seconds: float) -> CheckResult:
    figures = {"requests": seen.requests, "errors": seen.errors.total()}
    if seen.errors:
        kinds = ", ".join(f"{count} x {kind}" for kind, count in seen.errors.most_common())
        kind = next(iter(seen.examples))
        first = seen.examples[kind]
        what = f"{seen.errors.total()} of {seen.requests} requests failed ({kinds}); the first: {first.what}"
        return _result("errors", _NO_ERRORS, Verdict.FAIL, seconds, what, first.cure, figures)
    if not seen.requests:
        return _result("errors", _NO_ERRORS, Verdict.FAIL, seconds, "no request came to its end in time")
    detail = f"{seen.requests} requests, {seen.requests / seconds:.1f} a second"
    return _result("errors", _NO_ERRORS, Verdict.PASS, seconds, detail, figures=figures)


def _latency(seen: Seen, seconds: float) -> CheckResult:
    figures: dict[str, float] = {}
    words: list[str] = []
    for name, values in (("first_token", seen.first_token_seconds), ("answer", seen.whole_seconds)):
        if values:
            half, most, nearly_all = (round(_percentile(values, share) * 1000, 1) for share in (50, 95, 99))
            figures |= {f"{name}_p50_ms": half, f"{name}_p95_ms": most, f"{name}_p99_ms": nearly_all}
            words.append(f"{name.replace('_', ' ')} {half:.0f} ms (p95 {most:.0f}, p99 {nearly_all:.0f})")
    if not figures:
        return _result("latency", "Latencies", Verdict.SKIPPED, seconds, "no answer came")
    return _result("latency", "Latencies", Verdict.PASS, seconds, ", ".join(words), figures=figures)


def _restarts(samples: Sequence[Vitals], seconds: float) -> CheckResult:
    title = "Engine and gateway keep running"
    if not any(samples):
        return _unseen("restarts", title, seconds)
    bad = [
        unit
        for unit, first in next(filter(None, samples)).items()
        if any(unit not in later or not later[unit].alive or later[unit].start != first.start for later in samples)
    ]
    if bad:
        what = f"ended, was started again or was out of sight meanwhile: {', '.join(bad)}"
        cure = "`pmpctl status` shows its first error lines, `pmpctl logs` the rest."
        return _result("restarts", title, Verdict.FAIL, seconds, what, cure)
    return _result("restarts", title, Verdict.PASS, seconds, "no restart")


def _memory(samples: Sequence[Vitals], seconds: float) -> CheckResult:
    title = "Memory does not grow"
    if not any(samples):
        return _unseen("memory", title, seconds)
    early, late = samples[len(samples) // 5], samples[-1]
    figures: dict[str, float] = {}
    grown: list[str] = []
    too_much: list[str] = []
    for unit, before in early.items():
        after = late.get(unit)
        if before.memory_bytes is None or after is None or after.memory_bytes is None:
            continue
        growth = after.memory_bytes - before.memory_bytes
        figures[f"{unit}_growth_mib"] = round(growth / _MIB, 1)
        grown.append(f"{unit} {growth / _MIB:+.0f} MiB")
        if growth > GROWTH_BYTES + GROWTH_SHARE * before.memory_bytes:
            too_much.append(f"{unit} by {growth / _MIB:.0f} MiB")
    if not grown:
        return _unseen("memory", title, seconds)
    if too_much:
        what = f"grew: {', '.join(too_much)} (more than {GROWTH_BYTES // _MIB} MiB and a tenth of what it had)"
        cure = "Soak for longer: if it goes on growing, update what grows, and report it with `pmpctl status --json`."
        return _result("memory", title, Verdict.WARN, seconds, what, cure, figures)
    return _result("memory", title, Verdict.PASS, seconds, ", ".join(grown), figures=figures)


def _unseen(name: str, title: str, seconds: float) -> CheckResult:
    what = "the processes behind this API cannot be seen from here"
    return _result(name, title, Verdict.SKIPPED, seconds, what, "Run it in the workspace that serves the API.")


def _result(
    name: str,
    title: str,
    verdict: Verdict,
    seconds: float,
    detail: str,
    cure: str = "",
    figures: Mapping[str, float] | None = None,
) -> CheckResult:
    return CheckResult(f"soak-{name}", Group.SOAK, title, verdict, seconds, detail, cure, dict(figures or {}))


def _percentile(values: Sequence[float], share: int) -> float:
    """The smallest value that `share` per cent of all do not exceed."""
    return sorted(values)[max(0, math.ceil(len(values) * share / 100) - 1)]
