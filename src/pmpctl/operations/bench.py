"""`bench`: ask the running API more and more at a time, and measure how it answers."""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import pmpctl
from pmpctl.errors import ApiFailed, Interrupted, PmpctlError
from pmpctl.load.figures import LevelFigures, figures_of
from pmpctl.load.sample import ClientShare, Level, Sample
from pmpctl.operations.api_target import KnownApi
from pmpctl.operations.bench_preparation import Prepared, Wanted, prepare
from pmpctl.operations.events import Notice, Operation, PhaseFinished, PhaseProgress, PhaseStarted, Setback
from pmpctl.planning.plan import as_data
from pmpctl.runtime.helpers import helper

LISTEN_SECONDS = 0.5
# What a helper is not given by itself, and a client of a server outside needs.
_CONNECTION_VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR")


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchReport:
    """`exact_output` is whether the API was told never to end an answer early, and took it."""

    url: str
    model: str
    model_id: str
    max_model_len: int | None
    profile: str | None
    engine: str | None
    gpus: tuple[str, ...]
    pmpctl: str
    began_at: str
    seconds: float
    shared_prefix: bool
    exact_output: bool
    levels: tuple[LevelFigures, ...]
    notes: tuple[str, ...]
    interrupted: bool

    def refusal(self) -> PmpctlError | None:
        """What the outcome amounts to where it is a bad one."""
        if self.interrupted:
            return Interrupted(
                "interrupted; the levels before are whole, and of the last one those requests count that were answered",
                cure="Run the same command again for all levels.",
            )
        last = self.levels[-1]
        if last.answered:
            return None
        kind = next(iter(last.errors), "no request was made")
        return ApiFailed(
            f"with {last.level.concurrency} at a time no request was answered: {kind}: "
            f"{last.error_examples.get(kind, '')}",
            cure="See `pmpctl status` and the engine's log; then run it again, with fewer at a time.",
        )


def bench(known: KnownApi, wanted: Wanted) -> Operation[BenchReport]:
    """Measure each level after the other, until all are done, none answers, or somebody interrupts.

    Raises ApiFailed for an API that cannot be measured, UsageError for lengths that it cannot have.
    """
    began, began_at = time.monotonic(), datetime.now(UTC)
    yield Notice("info", f"this puts load on {known.target.url}: its other users wait longer meanwhile")
    prepared = yield from prepare(known, wanted)
    notes = list(prepared.notes)
    measured: list[LevelFigures] = []
    interrupted = False
    for number, level in enumerate(wanted.levels(), start=1):
        figures, interrupted = yield from _measure(prepared, level, number)
        measured.append(figures)
        if figures.doubt is not None:
            notes.append(figures.doubt)
            yield Notice("warning", figures.doubt)
        if interrupted or not figures.answered:
            break
    return BenchReport(
        url=known.target.url,
        model=prepared.target.model,
        model_id=prepared.model_id,
        max_model_len=prepared.max_model_len,
        profile=known.profile,
        engine=known.engine or prepared.engine,
        gpus=known.gpus,
        pmpctl=pmpctl.__version__,
        began_at=began_at.isoformat(timespec="seconds"),
        seconds=time.monotonic() - began,
        shared_prefix=wanted.shared_prefix,
        exact_output=prepared.fields.exact,
        levels=tuple(measured),
        notes=tuple(notes),
        interrupted=interrupted,
    )


def _measure(prepared: Prepared, level: Level, number: int) -> Operation[tuple[LevelFigures, bool]]:
    """The figures of a level, and whether somebody interrupted it."""
    phase = f"level-{number}"
    title = f"{level.concurrency} at a time, {level.prompt_tokens} + {level.output_tokens} tokens"
    samples: list[Sample] = []
    seconds: float | None = None
    client: ClientShare | None = None
    began = time.monotonic()
    target = prepared.target
    order = {
        # The token takes the pipe: arguments and environment can be read by others.
        "target": {
            "url": target.url,
            "token": target.token,
            "model": target.model,
            "timeout_seconds": target.timeout_seconds,
        },
        "level": as_data(level),
        "filler": as_data(prepared.fillers[level.prompt_tokens]),
        "fields": as_data(prepared.fields),
    }
    names = (*_CONNECTION_VARIABLES, *(name.lower() for name in _CONNECTION_VARIABLES))
    variables = {name: os.environ[name] for name in names if name in os.environ}
    try:
        yield PhaseStarted(phase, title)
        with helper("pmpctl.load.worker", order, variables) as worker:
            while not worker.ended:
                for said in worker.listen(LISTEN_SECONDS):
                    if "sample" in said:
                        samples.append(Sample.from_data(said["sample"]))
                    elif "seconds" in said:
                        seconds, client = said["seconds"], ClientShare(said["cpu"], said["lag_p99_ms"])
                yield _progress(phase, level, samples, time.monotonic() - began)
            if seconds is None:
                raise RuntimeError("the load generator ended early: " + " ".join(worker.last_words()[-1:]))
    except KeyboardInterrupt:
        figures = figures_of(level, samples)
        yield Setback(f"interrupted with {figures.requests} requests of this level done")
        return figures, True
    figures = figures_of(level, samples, seconds, client)
    yield PhaseFinished(phase, time.monotonic() - began, _summary(figures))
    return figures, False


def _progress(phase: str, level: Level, samples: Sequence[Sample], seconds: float) -> PhaseProgress:
    failed = sum(sample.error is not None for sample in samples)
    message = f"{failed} failed" if failed else ""
    if level.requests is not None:
        return PhaseProgress(phase, message, done=len(samples), total=level.requests, unit="steps")
    share = min(100, round(100 * seconds / (level.seconds or seconds)))
    return PhaseProgress(phase, message, done=share, total=100, unit="percent")


def _summary(figures: LevelFigures) -> str:
    parts = [f"{figures.answered} answered"]
    if figures.first_token is not None:
        parts.append(f"first token {figures.first_token.p50_ms:.0f} ms")
    if figures.output_tokens_per_second is not None:
        parts.append(f"{figures.output_tokens_per_second:.0f} tokens/s")
    if figures.errors:
        parts.append(f"{sum(figures.errors.values())} failed")
    return ", ".join(parts)
