"""The tables: figures of every server, ratios of ours to each peer, and the goals."""

from collections.abc import Mapping, Sequence

from bench.gateway.goals import GOALS
from bench.gateway.measures import ABORT_LIMIT_MS
from bench.gateway.results import DIRECT
from bench.goals import Goal
from bench.results import Results, Spread
from bench.tables import median_and_spread, number, table

_LABELS: Mapping[str, str] = {
    "latency_us": "median latency, 1 connection, us",
    "added_latency_us": "... added to a direct connection, us",
    "requests_per_second": "requests/s, 64 connections",
    "busy_percent": "... and how busy its core was, %",
    "cpu_per_request_us": "CPU per request, us",
    "cpu_per_chunk_us": "CPU per chunk, 256 paced streams, us",
    "chunk_delay_us": "... median delay of a chunk, us",
    "chunk_delay_p99_us": "... p99 delay of a chunk, us",
    "first_byte_us": "median time to first byte of a stream, us",
    "added_first_byte_us": "... added to a direct connection, us",
    "abort_busy_ms": "client leaves a busy stream: engine sees it, ms",
    "abort_busy_worst_ms": "... worst of a round, ms",
    "abort_quiet_ms": "client leaves a quiet stream, ms",
    "abort_quiet_worst_ms": "... worst of a round, ms",
    "abort_pending_ms": "client leaves before the answer, ms",
    "abort_pending_worst_ms": "... worst of a round, ms",
    "base_mb": "memory without streams, MB",
    "idle_mb_per_1000": "... added by 1,000 idle streams, MB",
    "stalled_growth_mb": "growth with a stalled reader of 70 MB, MB",
    "fairness_slowest": "1,000 streams of 50 chunks/s: slowest over median",
}
_GOAL_LABELS: Mapping[str, str] = {
    "idle_mb_per_1000": "memory of 1,000 idle streams, MB",
    "added_first_byte_us": "added time to first byte, median, us",
    "abort_busy_worst_ms": "abort, busy stream, worst of a round, ms",
    "abort_quiet_worst_ms": "abort, quiet stream, worst of a round, ms",
    "abort_pending_worst_ms": "abort, pending request, worst of a round, ms",
    "requests_per_second": "requests/s",
    "cpu_per_chunk_us": "CPU per paced chunk",
    "cpu_per_request_us": "CPU per request",
}
# The worst case of an abort and what says nothing by itself are left out of the ratios.
_COMPARED = (
    "latency_us",
    "requests_per_second",
    "cpu_per_request_us",
    "cpu_per_chunk_us",
    "chunk_delay_us",
    "chunk_delay_p99_us",
    "first_byte_us",
    "idle_mb_per_1000",
)


def tables(results: Results, ours: str, servers: Sequence[str]) -> str:
    peers = [server for server in servers if server not in (ours, DIRECT)]
    parts = [_figures(results, servers)]
    if ours in servers and peers:
        parts.append(_ratios(results, ours, peers))
    if ours in servers:
        parts.append(_goals(results, ours))
    return "\n\n".join(parts)


def _figures(results: Results, servers: Sequence[str]) -> str:
    rows = []
    for name, label in _LABELS.items():
        found = [results.figure(server, name) for server in servers]
        if any(found):
            rows.append([label, *(_median(name, each) for each in found)])
    return table(["median", *servers], rows)


def _ratios(results: Results, ours: str, peers: Sequence[str]) -> str:
    rows = []
    for name in _COMPARED:
        found = [results.ratio(ours, peer, name) for peer in peers]
        if any(found):
            rows.append([_LABELS[name].rsplit(",", 1)[0], *(median_and_spread(each, "x") for each in found)])
    return table([f"{ours} over", *peers], rows)


def _goals(results: Results, ours: str) -> str:
    rows = [
        [_goal_label(goal), _goal_limit(goal), _goal_value(goal, results, ours), goal.verdict(results, ours)]
        for goal in GOALS
    ]
    return table(["goal", "limit", "measured", ""], rows)


def _goal_label(goal: Goal) -> str:
    label = _GOAL_LABELS.get(goal.measure) or _LABELS[goal.measure]
    return f"{label}, over {goal.peer}'s" if goal.peer else label


def _goal_limit(goal: Goal) -> str:
    return f"{'at most' if goal.at_most else 'at least'} {goal.limit:g}{'x' if goal.peer else ''}"


def _goal_value(goal: Goal, results: Results, ours: str) -> str:
    return median_and_spread(goal.value(results, ours), "x" if goal.peer else "")


def _median(name: str, spread: Spread | None) -> str:
    if spread is None:
        return "-"
    if name.startswith("abort_") and spread.median >= ABORT_LIMIT_MS:
        return f"over {ABORT_LIMIT_MS:,.0f}"
    return number(spread.median)
