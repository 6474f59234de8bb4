"""The arithmetic and the tables of bench/gateway, on figures that were never measured."""

import pytest
from bench.gateway.goals import GOALS
from bench.gateway.report import tables
from bench.gateway.results import DIRECT, with_added
from bench.goals import Goal, Verdict
from bench.results import Results, Spread


def test_a_ratio_compares_figures_of_the_same_round() -> None:
    results = Results(
        [
            {"ours": {"requests_per_second": 20.0}, "peer": {"requests_per_second": 10.0}},
            {"ours": {"requests_per_second": 4.0}, "peer": {"requests_per_second": 4.0}},
            {"ours": {"requests_per_second": 900.0}, "peer": {"requests_per_second": 300.0}},
        ]
    )
    assert results.ratio("ours", "peer", "requests_per_second") == Spread(median=2.0, least=1.0, most=3.0)


def test_a_round_in_which_one_of_the_two_is_missing_gives_no_ratio() -> None:
    results = Results([{"ours": {"latency_us": 5.0}, "peer": {}}, {"ours": {"latency_us": 6.0}}])
    assert results.ratio("ours", "peer", "latency_us") is None
    assert results.figure("ours", "latency_us") == Spread(median=5.5, least=5.0, most=6.0)
    assert results.figure("peer", "latency_us") is None


def test_a_peer_that_cost_nothing_measurable_gives_no_ratio() -> None:
    assert Results([{"ours": {"x": 1.0}, "peer": {"x": 0.0}}]).ratio("ours", "peer", "x") is None


def test_what_a_server_adds_is_its_latency_less_that_of_the_direct_connection() -> None:
    added = with_added(
        {DIRECT: {"latency_us": 20.0, "first_byte_us": 40.0}, "ours": {"latency_us": 150.0, "first_byte_us": 340.0}}
    )
    assert added["ours"]["added_latency_us"] == 130.0
    assert added["ours"]["added_first_byte_us"] == 300.0
    assert added[DIRECT] == {"latency_us": 20.0, "first_byte_us": 40.0}


def test_nothing_is_added_to_a_direct_connection_that_was_not_measured() -> None:
    assert with_added({DIRECT: {}, "ours": {"latency_us": 150.0}})["ours"] == {"latency_us": 150.0}


@pytest.mark.parametrize(
    ("goal", "ours", "verdict"),
    [
        pytest.param(Goal("x", 0.65, peer="peer"), 65.0, Verdict.MET, id="just at most"),
        pytest.param(Goal("x", 0.65, peer="peer"), 66.0, Verdict.NOT_MET, id="more than at most"),
        pytest.param(Goal("x", 1.3, at_most=False, peer="peer"), 130.0, Verdict.MET, id="just at least"),
        pytest.param(Goal("x", 1.3, at_most=False, peer="peer"), 129.0, Verdict.NOT_MET, id="less than at least"),
        pytest.param(Goal("x", 5), 5.0, Verdict.MET, id="of itself, just at most"),
        pytest.param(Goal("x", 5), 5.1, Verdict.NOT_MET, id="of itself, more than at most"),
        pytest.param(Goal("x", 1, peer="absent"), 1.0, Verdict.UNKNOWN, id="beside a peer that was not measured"),
    ],
)
def test_a_goal_is_met_up_to_its_limit(goal: Goal, ours: float, verdict: Verdict) -> None:
    assert goal.verdict(Results([{"ours": {"x": ours}, "peer": {"x": 100.0}}]), "ours") is verdict


def test_one_bad_round_of_three_does_not_miss_a_goal() -> None:
    results = Results([{"ours": {"x": value}} for value in (1.0, 2.0, 900.0)])
    assert Goal("x", 5).verdict(results, "ours") is Verdict.MET


def test_the_tables_show_medians_ratios_and_goals_of_what_was_measured() -> None:
    rounds = [
        {
            "ours": {"requests_per_second": ours, "abort_busy_ms": 0.4, "abort_busy_worst_ms": 0.9},
            "nginx": {"requests_per_second": 40_000.0, "abort_busy_ms": 3000.0},
        }
        for ours in (30_000.0, 32_000.0, 36_000.0)
    ]
    lines = tables(Results(rounds), "ours", ["ours", "nginx"]).splitlines()
    assert "| requests/s, 64 connections | 32,000 | 40,000 |" in lines
    assert "| client leaves a busy stream: engine sees it, ms | 0.40 | over 3,000 |" in lines
    assert "| requests/s | 0.80x (0.75 to 0.90) |" in lines
    assert "| requests/s, over nginx's | at least 0.7x | 0.80x (0.75 to 0.90) | met |" in lines
    assert "| abort, busy stream, worst of a round, ms | at most 5 | 0.90 | met |" in lines
    assert "| requests/s, over litellm's | at least 100x | - | not measured |" in lines
    assert not [line for line in lines if line.startswith("| CPU per request, us")]


def test_every_goal_has_a_line_of_its_own() -> None:
    rows = [line for line in tables(Results([{"ours": {}}]), "ours", ["ours"]).splitlines() if "not measured" in line]
    assert len(set(rows)) == len(GOALS)
