"""What people see of the checks: a row for each, what to do about those that did not pass, and the figures."""

from typing import TYPE_CHECKING

from pmpctl.ui.text import human_seconds

if TYPE_CHECKING:
    from pmpctl.operations.smoke import SmokeReport
    from pmpctl.ui.terminal import Writer

_STYLES = {"fail": "error", "warn": "warning"}
_FIGURES = (("first_token_ms", "first token", "ms"), ("tokens_per_second", "output", "tokens/s"))


def smoke_view(writer: "Writer", report: "SmokeReport") -> None:
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
    for check in report.checks:
        if check.verdict in _STYLES:
            writer.line("")
            writer.labelled(check.verdict.upper(), f"{check.title} ({check.name})", _STYLES[check.verdict])
            writer.line(f"  {check.detail}")
            if check.cure:
                writer.labelled("  cure", check.cure, "cure")
    figures: dict[str, float] = {}
    for check in report.checks:
        # The first of its name: later groups measure prompts of other lengths.
        figures = {**check.figures, **figures}
    found = [f"{words} {figures[name]:.0f} {unit}" for name, words, unit in _FIGURES if name in figures]
    counts = ", ".join(f"{count} {verdict}" for verdict, count in report.counts.items() if count)
    writer.line("")
    writer.line(", ".join([counts, *found, f"in {human_seconds(report.seconds)}"]))
