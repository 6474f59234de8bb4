"""What `bench` measured as curves over the concurrency: throughput, time to first token, time between tokens."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from pmpctl.ui.svg import MARGIN, WIDTH, heading, picture, text

if TYPE_CHECKING:
    from pmpctl.load.figures import LevelFigures
    from pmpctl.operations.bench import BenchReport

Value = Callable[["LevelFigures"], float | None]

PLOT_LEFT, PLOT_HEIGHT, PANEL_HEIGHT, PANELS_TOP = 92, 150, 232, 84
LEGEND_ROW = 22
# Told apart by those who see few colours, and dark enough on white.
COLOURS = ("#0072b2", "#d55e00", "#007a5a", "#9c3f7a", "#8a6d00", "#3b3b98")
DASH = "5 4"


@dataclass(frozen=True, slots=True)
class _Panel:
    """`dashed` is a second curve of the same colour."""

    title: str
    unit: str
    solid: Value
    dashed: Value | None = None


PANELS = (
    _Panel("Output tokens in all", "tokens/s", lambda each: each.output_tokens_per_second),
    _Panel(
        "Time to first token",
        "ms",
        lambda each: each.first_token.p50_ms if each.first_token else None,
        lambda each: each.first_token.p95_ms if each.first_token else None,
    ),
    _Panel(
        "Time between tokens",
        "ms",
        lambda each: each.inter_token.p50_ms if each.inter_token else None,
        lambda each: each.inter_token.p95_ms if each.inter_token else None,
    ),
)


@dataclass(frozen=True, slots=True)
class _Series:
    name: str
    colour: str
    levels: tuple["LevelFigures", ...]


def curves(report: "BenchReport") -> str:
    series = _series(report.levels)
    legend_top = PANELS_TOP + PANEL_HEIGHT * len(PANELS)
    height = legend_top + LEGEND_ROW * (len(series) + 1) + 12
    title = f"{report.model_id}{f' ({report.profile})' if report.profile else ''} under load"
    under = ", ".join(
        part for part in (report.engine, *report.gpus, report.began_at, f"pmpctl {report.pmpctl}") if part
    )
    lines = heading(title, under)
    ticks = sorted({each.level.concurrency for each in report.levels})
    for number, panel in enumerate(PANELS):
        lines += _panel(panel, series, ticks, PANELS_TOP + number * PANEL_HEIGHT)
    for number, each in enumerate(series):
        y = legend_top + LEGEND_ROW * number
        lines.append(_line(MARGIN, MARGIN + 28, y + 8, each.colour))
        lines.append(text(MARGIN + 36, y + 13, each.name))
    y = legend_top + LEGEND_ROW * len(series)
    lines.append(
        text(MARGIN, y + 13, "Solid: half of the requests are better (p50). Dashed: all but 5 % are (p95).", size=12)
    )
    return picture(height, title, _told(report.levels), lines)


def _panel(panel: _Panel, series: Sequence[_Series], ticks: Sequence[int], top: float) -> list[str]:
    values = [
        value
        for each in series
        for level in each.levels
        for pick in (panel.solid, panel.dashed)
        if pick is not None and (value := pick(level)) is not None
    ]
    step = _step(max(values, default=1.0))
    steps = max(1, math.ceil(max(values, default=1.0) / step - 1e-9))
    bottom = top + 24 + PLOT_HEIGHT
    right = WIDTH - MARGIN

    def x_of(concurrency: int) -> float:
        place = ticks.index(concurrency) / (len(ticks) - 1) if len(ticks) > 1 else 0.5
        return PLOT_LEFT + 24 + place * (right - PLOT_LEFT - 48)

    def y_of(value: float) -> float:
        return bottom - PLOT_HEIGHT * value / (step * steps)

    lines = [text(MARGIN, top + 10, f"{panel.title} ({panel.unit})", bold=True)]
    for number in range(steps + 1):
        y = y_of(number * step)
        stroke = "#dddddd" if number else "#222222"
        lines.append(f'<line x1="{PLOT_LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}" stroke="{stroke}"/>')
        lines.append(text(PLOT_LEFT - 8, y + 4, f"{number * step:g}", size=12, anchor="end"))
    lines += [text(x_of(tick), bottom + 18, str(tick), size=12, anchor="middle") for tick in ticks]
    lines.append(
        text((PLOT_LEFT + right) / 2, bottom + 36, "requests at a time", size=12, anchor="middle", fill="#555555")
    )
    for each in series:
        for pick, dashed in ((panel.solid, False), (panel.dashed, True)):
            if pick is not None:
                lines += _curve(panel, each, pick, x_of, y_of, dashed=dashed)
    return lines


def _curve(
    panel: _Panel,
    series: _Series,
    pick: Value,
    x_of: Callable[[int], float],
    y_of: Callable[[float], float],
    *,
    dashed: bool,
) -> list[str]:
    found = [(each.level.concurrency, value) for each in series.levels if (value := pick(each)) is not None]
    points = " ".join(f"{x_of(concurrency):.1f},{y_of(value):.1f}" for concurrency, value in found)
    dash = f' stroke-dasharray="{DASH}"' if dashed else ""
    lines = [f'<polyline points="{points}" fill="none" stroke="{series.colour}" stroke-width="2"{dash}/>']
    for concurrency, value in found:
        label = escape(f"{series.name}, {concurrency} at a time: {value:.4g} {panel.unit}{' (p95)' if dashed else ''}")
        lines.append(
            f'<circle cx="{x_of(concurrency):.1f}" cy="{y_of(value):.1f}" r="{3 if dashed else 4}" '
            f'fill="{series.colour}"><title>{label}</title></circle>'
        )
    return lines


def _series(levels: Sequence["LevelFigures"]) -> list[_Series]:
    """The levels of the same lengths are one curve."""
    of_lengths: dict[tuple[int, int], list[LevelFigures]] = {}
    for each in sorted(levels, key=lambda each: each.level.concurrency):
        of_lengths.setdefault((each.level.prompt_tokens, each.level.output_tokens), []).append(each)
    return [
        _Series(f"prompt {prompt} + answer {answer} tokens", COLOURS[number % len(COLOURS)], tuple(found))
        for number, ((prompt, answer), found) in enumerate(of_lengths.items())
    ]


def _told(levels: Sequence["LevelFigures"]) -> str:
    return "; ".join(
        f"{each.level.concurrency} at a time, {each.level.prompt_tokens} + {each.level.output_tokens} tokens: "
        + ", ".join(
            f"{panel.title.lower()} {value:.4g} {panel.unit}"
            for panel in PANELS
            if (value := panel.solid(each)) is not None
        )
        for each in levels
    )


def _step(most: float) -> float:
    """A round distance between lines, so that there are two to five of them."""
    if most <= 0:
        return 1.0
    magnitude = 10.0 ** math.floor(math.log10(most))
    return next(step * magnitude for step in (0.2, 0.5, 1, 2, 5) if most / (step * magnitude) <= 5)


def _line(left: float, right: float, y: float, colour: str) -> str:
    return f'<line x1="{left}" x2="{right}" y1="{y}" y2="{y}" stroke="{colour}" stroke-width="3"/>'
