"""What people see of a measurement: a row for each level, and what they need to read it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pmpctl.ui.text import human_seconds

if TYPE_CHECKING:
    from pmpctl.load.figures import LevelFigures, Range, Spread
    from pmpctl.load.sample import Level
    from pmpctl.operations.bench import BenchReport
    from pmpctl.ui.terminal import Writer

_LATENCIES = (
    ("time to first token", "first_token"),
    ("time between tokens", "inter_token"),
    ("gap between chunks", "chunk_gap"),
    ("whole answer", "whole"),
)


def report_view(writer: "Writer", report: "BenchReport") -> None:
    writer.line(f"{report.model_id} at {report.url}, {report.began_at}")
    rows = [
        ("profile", report.profile),
        ("engine", report.engine),
        ("GPU", ", ".join(report.gpus)),
        ("context", f"{report.max_model_len} tokens" if report.max_model_len else None),
    ]
    for name, value in rows:
        if value:
            writer.line(f"  {name:<9} {value}")
    writer.line("")
    writer.line("Throughput", "heading")
    writer.table(
        ("AT A TIME", "PROMPT", "ANSWER", "REQUESTS", "FAILED", "REQUESTS/S", "PROMPT TOK/S", "OUTPUT TOK/S", "TIME"),
        [_throughput(each) for each in report.levels],
    )
    writer.line("")
    writer.line("Latency in ms", "heading")
    writer.table(
        ("AT A TIME", "PROMPT", "ANSWER", "WHAT", "MEAN", "P50", "P95", "P99", "MAX"),
        [row for each in report.levels for row in _latencies(each)],
    )
    failures = [(each, kind) for each in report.levels for kind in each.errors]
    if failures:
        writer.line("")
        writer.line("Failures", "heading")
        writer.table(
            ("AT A TIME", "COUNT", "KIND", "FOR EXAMPLE"),
            [
                (each.level.concurrency, each.errors[kind], kind, each.error_examples.get(kind, ""))
                for each, kind in failures
            ],
        )
    if notes := [*report.notes, *_notes(report.levels)]:
        writer.line("")
        for note in notes:
            writer.line(f"Note: {note}.")


def levels_view(writer: "Writer", levels: Sequence["Level"]) -> None:
    """What would be measured."""
    writer.table(
        ("AT A TIME", "PROMPT", "ANSWER", "REQUESTS"),
        [
            (
                level.concurrency,
                level.prompt_tokens,
                level.output_tokens,
                str(level.requests) if level.requests is not None else f"for {human_seconds(level.seconds or 0)}",
            )
            for level in levels
        ],
    )


def _throughput(each: "LevelFigures") -> tuple[str, ...]:
    return (
        *_level(each),
        str(each.answered),
        str(sum(each.errors.values())),
        f"{each.requests_per_second:.2f}",
        _number(each.prompt_tokens_per_second),
        _number(each.output_tokens_per_second),
        human_seconds(each.seconds) + ("" if each.complete else ", cut short"),
    )


def _latencies(each: "LevelFigures") -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    for name, attribute in _LATENCIES:
        spread: Spread | None = getattr(each, attribute)
        if spread is not None:
            values = (spread.mean_ms, spread.p50_ms, spread.p95_ms, spread.p99_ms, spread.max_ms)
            found.append((*(_level(each) if not found else ("", "", "")), name, *(_number(value) for value in values)))
    return found


def _level(each: "LevelFigures") -> tuple[str, str, str]:
    return (
        str(each.level.concurrency),
        _measured(each.level.prompt_tokens, each.prompt_tokens),
        _measured(each.level.output_tokens, each.output_tokens),
    )


def _measured(wanted: int, counted: "Range | None") -> str:
    """As counted; as wanted where nobody counted."""
    if counted is None:
        return str(wanted)
    return str(counted.least) if counted.least == counted.most else f"{counted.least}-{counted.most}"


def _notes(levels: Sequence["LevelFigures"]) -> list[str]:
    notes = []
    if any(each.answered and each.output_tokens is None for each in levels):
        notes.append("the API does not tell how many tokens an answer has: a chunk is taken for a token")
    if any(each.tokens_per_chunk is not None and each.tokens_per_chunk > 1.5 for each in levels):
        notes.append("the chunks carry several tokens, which arrive together; the time between tokens is their average")
    if any(0 < each.answered < 100 for each in levels):
        notes.append("p99 of less than 100 requests is hardly more than the slowest one; --requests gives more")
    return notes


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}"
