"""What bench/switch makes of its figures."""

import pytest
from bench.results import Results
from bench.switch.report import BY_HAND, OURS, tables, with_overhead


def results(*gaps: tuple[float, float]) -> Results:
    """Rounds with these gaps, ours first; the whole command takes us two seconds more."""
    return Results(
        [
            with_overhead({OURS: {"gap": ours, "whole": ours + 2}, BY_HAND: {"gap": by_hand, "whole": by_hand}})
            for ours, by_hand in gaps
        ]
    )


def test_the_overhead_is_the_difference_within_a_round_and_not_that_of_the_medians() -> None:
    text = tables(results((1.5, 1.0), (3.0, 2.0), (4.25, 4.0)))

    assert "| gap | 3.00 (1.50 to 4.25) | 2.00 (1.00 to 4.00) | 0.50 (0.25 to 1.00) | 1.50x (1.06 to 1.50) |" in text
    assert "| whole command | 5.00 (3.50 to 6.25) | 2.00 (1.00 to 4.00) | 2.50 (2.25 to 3.00) |" in text


@pytest.mark.parametrize(("gap", "verdict"), [(1.9, "met"), (2.1, "**not met**")])
def test_the_goal_is_one_second_beyond_the_change_by_hand(gap: float, verdict: str) -> None:
    assert tables(results((gap, 1.0))).splitlines()[-1].endswith(f"| {verdict} |")
