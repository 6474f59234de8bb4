"""The tables: both gaps, what ours is beyond the other's, where the time goes, and the goal."""

from collections.abc import Mapping

from bench.goals import Goal
from bench.results import Results, Round
from bench.tables import median_and_spread, table

OURS = "pmpctl switch"
BY_HAND = "by hand"
GOAL = Goal("gap_overhead", 1.0)

_LABELS: Mapping[str, str] = {"gap": "gap", "whole": "whole command"}
_IN_THE_GAP = ("hold", "drain", "stop", "remove", "prove", "start", "wait", "verify", "open")
_BEFORE_THE_GAP = ("checks", "page-cache")


def with_overhead(figures: Round) -> dict[str, dict[str, float]]:
    """The round with what ours took beyond the change by hand."""
    ours, by_hand = figures[OURS], figures[BY_HAND]
    overhead = {f"{name}_overhead": ours[name] - by_hand[name] for name in _LABELS}
    return {OURS: {**ours, **overhead}, BY_HAND: dict(by_hand)}


def tables(results: Results) -> str:
    return "\n\n".join([_times(results), _steps(results), _goal(results)])


def _times(results: Results) -> str:
    rows = [
        [
            label,
            median_and_spread(results.figure(OURS, name)),
            median_and_spread(results.figure(BY_HAND, name)),
            median_and_spread(results.figure(OURS, f"{name}_overhead")),
            median_and_spread(results.ratio(OURS, BY_HAND, name), "x"),
        ]
        for name, label in _LABELS.items()
    ]
    return table(["s, median (least to most)", OURS, BY_HAND, "overhead", "ratio"], rows)


def _steps(results: Results) -> str:
    rows = [
        [label, median_and_spread(results.figure(OURS, name)), median_and_spread(results.figure(BY_HAND, name))]
        for label, name in [
            *((f"{name}, before the gap", name) for name in _BEFORE_THE_GAP),
            *((name, name) for name in _IN_THE_GAP),
        ]
    ]
    return table(["step, s", OURS, BY_HAND], rows)


def _goal(results: Results) -> str:
    value = median_and_spread(GOAL.value(results, OURS))
    row = ["overhead of the gap, s", f"at most {GOAL.limit:g}", value, GOAL.verdict(results, OURS)]
    return table(["goal", "limit", "measured", ""], [row])
