"""What is measured of one server in one round; each measure is a call that returns figures by name."""

import socket
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import count

from bench.gateway import wire
from bench.gateway.native import Load, LoadFailed, Upstream
from bench.gateway.server import Server

Figures = dict[str, float]

# What does not end within it is counted as if it had ended then.
ABORT_LIMIT_MS = 3000.0
_ANSWER_LIMIT_SECONDS = 10.0
# Streams end, since some servers go on reading them when their clients have left.
_PACED_SLACK_MS = 2000
_BUSY_CHUNKS, _BUSY_PACE_US = 2500, 2000
_STALLED_CHUNKS = 70_000_000 // 236
_STALLED_SECONDS = 2.5
_STALLED_LEAST_BYTES = 100_000
_SETTLE_SECONDS = 0.5
_MB = 1e6


@dataclass(frozen=True, slots=True)
class Effort:
    """How long each measure takes, and how many turns a round has: ratios settle with turns, not with long ones."""

    loop_ms: int
    paced_ms: int
    fair_ms: int
    aborts: int
    turns: int
    warm_ms: int = 300
    paced_streams: int = 256
    idle_streams: int = 1000
    fair_streams: int = 1000


FULL = Effort(loop_ms=1000, paced_ms=1500, fair_ms=2000, aborts=10, turns=4)
QUICK = Effort(loop_ms=1000, paced_ms=1500, fair_ms=1000, aborts=5, turns=3)


@dataclass(frozen=True, slots=True)
class Bench:
    """One server under load, with as many streams as it can take."""

    server: Server
    upstream: Upstream
    load: Load
    effort: Effort
    idle_limit: int = 1000
    paced_limit: int = 1000
    ids: Iterator[int] = field(default_factory=lambda: count(1))

    def loop(self, request: bytes, connections: int, window_ms: int) -> dict[str, float]:
        return self._run("loop", request, connections, window_ms)

    def paced(self, streams: int, window_ms: int) -> dict[str, float]:
        together = min(streams, self.paced_limit)
        request = wire.paced(together, self.effort.warm_ms + window_ms + _PACED_SLACK_MS)
        return self._run("streams", request, together, window_ms)

    def _run(self, mode: str, request: bytes, connections: int, window_ms: int) -> dict[str, float]:
        pids = self.server.pids()
        return self.load.run(mode, self.server.port, request, connections, window_ms, pids, self.effort.warm_ms)

    def send(self, request: bytes) -> socket.socket:
        client = socket.create_connection(("127.0.0.1", self.server.port), timeout=_ANSWER_LIMIT_SECONDS)
        client.sendall(request)
        return client


Measure = Callable[[Bench], Figures]


def warm_up(bench: Bench) -> Figures:
    for request in (wire.PLAIN, wire.TWO_CHUNKS):
        bench.loop(request, 8, bench.effort.warm_ms)
    return {}


def latency(bench: Bench) -> Figures:
    seen = bench.loop(wire.PLAIN, 1, bench.effort.loop_ms)
    return {"latency_us": seen["latency_p50_us"], "latency_p99_us": seen["latency_p99_us"]}


def throughput(bench: Bench) -> Figures:
    seen = bench.loop(wire.PLAIN, 64, bench.effort.loop_ms)
    figures = {"requests_per_second": seen["requests"] / seen["seconds"]}
    if bench.server.root:
        figures["cpu_per_request_us"] = seen["cpu_seconds"] / seen["requests"] * 1e6
        figures["busy_percent"] = seen["cpu_seconds"] / seen["seconds"] * 100
    return figures


def paced_streams(bench: Bench) -> Figures:
    seen = bench.paced(bench.effort.paced_streams, bench.effort.paced_ms)
    figures = {"chunk_delay_us": seen["delay_p50_us"], "chunk_delay_p99_us": seen["delay_p99_us"]}
    if bench.server.root:
        figures["cpu_per_chunk_us"] = seen["cpu_seconds"] / seen["chunks"] * 1e6
    return figures


def first_byte(bench: Bench) -> Figures:
    return {"first_byte_us": bench.loop(wire.TWO_CHUNKS, 1, bench.effort.loop_ms // 2)["first_byte_p50_us"]}


def fairness(bench: Bench) -> Figures:
    """More chunks than most servers can take one by one: how far the slowest stream came beside the middle one."""
    seen = bench.paced(bench.effort.fair_streams, bench.effort.fair_ms)
    if not seen["bytes_median"]:
        raise LoadFailed("most streams came to a halt")
    return {"fairness_slowest": seen["bytes_slowest"] / seen["bytes_median"], "fairness_jain": seen["jain"]}


def idle_memory(bench: Bench) -> Figures:
    streams = min(bench.effort.idle_streams, bench.idle_limit)
    before = bench.server.rss_bytes()
    with ExitStack() as stack:
        for _ in range(streams):
            client = stack.enter_context(bench.send(wire.QUIET))
            _await_chunks(client, 1)
        time.sleep(_SETTLE_SECONDS)
        grown = bench.server.rss_bytes() - before
    return {"idle_mb_per_1000": grown / _MB * 1000 / streams, "base_mb": before / _MB}


def stalled_reader(bench: Bench) -> Figures:
    request_id = next(bench.ids)
    request = wire.chat(f"mode=stream id={request_id} chunks={_STALLED_CHUNKS} pace=0", stream=True)
    before = highest = bench.server.rss_bytes()
    with bench.send(request):
        deadline = time.monotonic() + _STALLED_SECONDS
        while time.monotonic() < deadline:
            highest = max(highest, bench.server.rss_bytes())
            time.sleep(0.02)
    closed = bench.upstream.event("close", request_id, ABORT_LIMIT_MS / 1000)
    if closed and closed[1] < _STALLED_LEAST_BYTES:
        raise LoadFailed(f"the server took {closed[1]} bytes only of a stream that nobody read")
    return {"stalled_growth_mb": (highest - before) / _MB}


def abort_busy(bench: Bench) -> Figures:
    return _aborts(bench, "busy", f"mode=stream chunks={_BUSY_CHUNKS} pace={_BUSY_PACE_US}", chunks=3)


def abort_quiet(bench: Bench) -> Figures:
    return _aborts(bench, "quiet", "mode=quiet", chunks=1)


def abort_pending(bench: Bench) -> Figures:
    return _aborts(bench, "pending", "mode=silent", chunks=0)


def _aborts(bench: Bench, case: str, spec: str, *, chunks: int) -> Figures:
    """From the client's leaving to the upstream's noticing; it leaves once the engine works on its request."""
    taken_ms: list[float] = []
    for _ in range(bench.effort.aborts):
        request_id = next(bench.ids)
        with bench.send(wire.chat(f"{spec} id={request_id}", stream=chunks > 0)) as client:
            if bench.upstream.event("open", request_id, _ANSWER_LIMIT_SECONDS) is None:
                raise LoadFailed("a request did not reach the upstream")
            _await_chunks(client, chunks)
            left_at_ns = time.monotonic_ns()
        closed = bench.upstream.event("close", request_id, ABORT_LIMIT_MS / 1000)
        taken_ms.append((closed[0] - left_at_ns) / 1e6 if closed else ABORT_LIMIT_MS)
        if closed is None:
            break
    return {f"abort_{case}_ms": statistics.median(taken_ms), f"abort_{case}_worst_ms": max(taken_ms)}


def _await_chunks(client: socket.socket, chunks: int) -> None:
    seen = b""
    while seen.count(wire.STAMP_MARK) < chunks:
        read = client.recv(65536)
        if not read:
            raise LoadFailed(f"a stream ended early: {seen[:200]!r}")
        seen += read


# Of each server by itself. Memory comes first and in processes of their own: what was freed earlier is used again and
# hides growth.
VISITS: tuple[tuple[Measure, ...], ...] = (
    (warm_up, stalled_reader),
    (warm_up, idle_memory, fairness, abort_busy, abort_quiet, abort_pending),
)
# Of all servers in turns of a second or two, as what else the machine's host does changes faster than a visit lasts.
IN_TURNS: tuple[Measure, ...] = (latency, throughput, paced_streams, first_byte)
