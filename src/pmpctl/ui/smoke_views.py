"""What people see of the checks: a row for each, what to do about those that did not pass, and the figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pmpctl.ui.text import human_seconds

if TYPE_CHECKING:
    from pmpctl.operations.smoke import SmokeReport
    from pmpctl.ui.terminal import Writer

_COUNTED = {"fail": "failed", "warn": "warned", "skipped": "skipped"}
_STYLES = {"fail": "error", "warn": "warning"}
_FIGURES = (("first_token_ms", "first token", "ms"), ("tokens_per_second", "", "tokens/s"))


def smoke_view(writer: Writer, report: SmokeReport) -> None:
    writer.line(f"{report.model} at {report.url}" + (f", profile {report.profile}" if report.profile else ""))
    writer.line("")
    writer.table(
        ("CHECK", "RESULT", "TIME", "WHAT"),
        [
            (
                check.title,
                check.verdict.upper() if check.verdict in _STYLES else check.verdict,
                human_seconds(check.seconds),
                "see below" if check.verdict in _STYLES else check.detail,
            )
            for check in report.checks
        ],
    )
    problems_of_checks(writer, report)
    writer.line("")
    writer.line(smoke_row(report))


def problems_of_checks(writer: Writer, report: SmokeReport) -> None:
    """What came back, and what to do."""
    for check in report.checks:
        if check.verdict in _STYLES:
            writer.line("")
            writer.labelled(check.verdict.upper(), f"{check.title} ({check.name})", _STYLES[check.verdict])
            writer.line(f"  {check.detail}")
            if check.cure:
                writer.labelled("  cure", check.cure, "cure")


def smoke_row(report: SmokeReport) -> str:
    """`17 of 18 checks passed, 1 skipped in 2.1 s (first token 40 ms, 52 tokens/s)`."""
    figures: dict[str, float] = {}
    for check in report.checks:
        # The first of its name: later groups measure prompts of other lengths.
        figures = {**check.figures, **figures}
    measured = [f"{words} {figures[name]:.0f} {unit}".lstrip() for name, words, unit in _FIGURES if name in figures]
    counts = [f"{report.counts['pass']} of {len(report.checks)} checks passed"]
    counts += [f"{report.counts[verdict]} {word}" for verdict, word in _COUNTED.items() if report.counts[verdict]]
    in_words = f"{', '.join(counts)} in {human_seconds(report.seconds)}"
    return f"{in_words} ({', '.join(measured)})" if measured else in_words
