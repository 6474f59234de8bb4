"""What reports of benchmarks have in common: tables in Markdown, figures with their spread, a place in docs/."""

import os
import platform
from collections.abc import Sequence
from pathlib import Path

from bench.results import Spread

PERFORMANCE_DOCUMENT = Path(__file__).parents[1] / "docs" / "performance.md"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join([_row(head), "|" + "---|" * len(head), *map(_row, rows)])


def number(value: float) -> str:
    magnitude = abs(value)
    if magnitude >= 1000:
        return f"{value:,.0f}"
    return f"{value:.0f}" if magnitude >= 100 else f"{value:.1f}" if magnitude >= 10 else f"{value:.2f}"


def median_and_spread(spread: Spread | None, unit: str = "") -> str:
    """The median, and from where to where the rounds went."""
    if spread is None:
        return "-"
    if spread.least == spread.most:
        return f"{number(spread.median)}{unit}"
    return f"{number(spread.median)}{unit} ({number(spread.least)} to {number(spread.most)})"


def machine() -> str:
    return f"Python {platform.python_version()}, {os.cpu_count()} cores, Linux {platform.release().split('-')[0]}"


def write_between_markers(document: Path, name: str, text: str) -> None:
    """Into the place of the benchmark `name`, such as bench/gateway."""
    begin_line, end_line = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, begin, rest = document.read_text().partition(begin_line)
    _, end, after = rest.partition(end_line)
    if not begin or not end:
        raise ValueError(f"{document} has no lines {begin_line} and {end_line}")
    document.write_text(f"{before}{begin_line}\n{text}\n{end_line}{after}")


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
