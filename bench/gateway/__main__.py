"""Our gateway beside its peers: in turns on one core, the load and the engine's stand-in on another.

python -m bench.gateway [--quick] [--peers nginx,vllm-router,...] [--rounds N] [--write]
python -m bench.gateway --profile requests|chunks
"""

import argparse
import contextlib
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from bench.gateway import ours, proxies, routers
from bench.gateway.measures import FULL, IN_TURNS, QUICK, VISITS, Bench, Effort, Figures, Measure, warm_up
from bench.gateway.native import Load, LoadFailed, Upstream, compile_programs
from bench.gateway.profiling import LOADS, profile
from bench.gateway.report import tables
from bench.gateway.results import DIRECT, with_added
from bench.gateway.server import Candidate, StartFailed, running
from bench.results import Results, Round
from bench.tables import PERFORMANCE_DOCUMENT, machine, write_between_markers

PEERS = {
    ours.INTERPRETED: ours.interpreted,
    "nginx": proxies.nginx,
    "haproxy": proxies.haproxy,
    "vllm-router": routers.vllm_router,
    "sglang-router": routers.sglang_router,
    "litellm": routers.litellm,
}
_SERVER_CORE, _LOAD_CORE = 0, 1


@dataclass(frozen=True, slots=True)
class Options:
    peers: Sequence[str]
    rounds: int
    effort: Effort
    cache: Path
    write: bool
    profile: str | None


def main() -> int:
    options = _options()
    if len(os.sched_getaffinity(0)) < 2:
        sys.stderr.write("two cores are needed: one for the server under test, one for the load\n")
        return 1
    # As an exception, so that the servers are stopped: they are in sessions of their own.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    options.cache.mkdir(parents=True, exist_ok=True)
    if options.profile:
        return _profile(options.profile, options.cache)
    candidates, versions = _installed(options)
    with tempfile.TemporaryDirectory(prefix="pmpctl-bench-") as folder:
        compile_programs(Path(folder))
        # Only now: compiling and installing may use the whole machine.
        os.sched_setaffinity(0, {_LOAD_CORE})
        results, load_averages = _measure(options, candidates, Path(folder))
    text = f"{_heading(options, versions, load_averages)}\n\n{tables(results, ours.NAME, list(versions))}"
    print(text)
    if options.write:
        write_between_markers(PERFORMANCE_DOCUMENT, "bench/gateway", text)
    return 0


def _profile(load: str, cache: Path) -> int:
    with tempfile.TemporaryDirectory(prefix="pmpctl-bench-") as folder:
        compile_programs(Path(folder))
        candidate = ours.gateway(cache)
        candidate.install()
        os.sched_setaffinity(0, {_LOAD_CORE})
        site = Path(folder) / "server"
        site.mkdir()
        with (
            Upstream(Path(folder)) as upstream,
            running(candidate, site, upstream.port, _SERVER_CORE) as server,
        ):
            bench = Bench(server, upstream, Load(Path(folder)), FULL)
            print(profile(bench, load, cache / f"profile-{load}.txt"))
    return 0


def _options() -> Options:
    parser = argparse.ArgumentParser(
        prog="python -m bench.gateway", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="2 rounds of 3 turns beside nginx: about 3 minutes")
    parser.add_argument("--peers", metavar="A,B", help=f"which of {', '.join(PEERS)} (default: all; --quick: nginx)")
    parser.add_argument("--rounds", type=int, help="how often all is measured (default: 3; --quick: 2)")
    parser.add_argument(
        "--cache", type=Path, default=Path.home() / ".cache" / "pmpctl-bench", help="where all of them are installed"
    )
    parser.add_argument("--profile", choices=LOADS, help="run our gateway alone under py-spy, and say where time goes")
    parser.add_argument("--write", action="store_true", help=f"put the tables into {PERFORMANCE_DOCUMENT.name}")
    given = parser.parse_args()
    peers = [peer for peer in given.peers.split(",") if peer] if given.peers is not None else None
    for peer in peers or ():
        if peer not in PEERS:
            parser.error(f"no peer is called {peer}; there are {', '.join(PEERS)}")
    if peers is None:
        peers = ["nginx"] if given.quick else list(PEERS)
    rounds = given.rounds or (2 if given.quick else 3)
    return Options(peers, rounds, QUICK if given.quick else FULL, given.cache.absolute(), given.write, given.profile)


def _installed(options: Options) -> tuple[list[Candidate], dict[str, str]]:
    """Those that can be measured, with their versions; a peer that cannot be installed is left out."""
    direct = Candidate(DIRECT, lambda: "", None)
    candidates, versions = [], {}
    for candidate in [direct, ours.gateway(options.cache), *(PEERS[peer](options.cache) for peer in options.peers)]:
        try:
            versions[candidate.name] = candidate.install()
        except (proxies.NotInstalled, subprocess.CalledProcessError) as error:
            _say(f"{candidate.name} is left out: {error}")
        else:
            candidates.append(candidate)
    return candidates, versions


def _measure(options: Options, candidates: Sequence[Candidate], folder: Path) -> tuple[Results, list[float]]:
    """The results, and how busy the machine was meanwhile."""
    rounds: list[Round] = []
    load_averages = []
    ids = count(1)
    servers = [candidate for candidate in candidates if candidate.launch]
    with Upstream(folder) as upstream:
        for number in range(1, options.rounds + 1):
            figures: dict[str, Figures] = {}
            for candidate in servers:
                began = time.monotonic()
                load_averages.append(os.getloadavg()[0])
                figures[candidate.name] = {}
                for measures in VISITS:
                    figures[candidate.name] |= _visit(candidate, measures, options.effort, folder, upstream, ids)
                _say(f"round {number} of {options.rounds}: {candidate.name} took {time.monotonic() - began:.0f} s")
            rounds.append(figures)
        for turn in _in_turns(options, candidates, folder, upstream):
            load_averages.append(os.getloadavg()[0])
            rounds.append(turn)
    return Results(rounds), load_averages


def _in_turns(options: Options, candidates: Sequence[Candidate], folder: Path, upstream: Upstream) -> Iterator[Round]:
    """All servers run, and all but the one whose turn it is are stopped for that long."""
    count_of_turns = options.rounds * options.effort.turns
    with contextlib.ExitStack() as stack:
        benches: dict[str, Bench] = {}
        for candidate in candidates:
            bench = _started(stack, candidate, options.effort, folder, upstream, count(1))
            if bench is not None:
                stack.callback(bench.server.resume)
                _taken(candidate.name, warm_up, bench)
                bench.server.pause()
                benches[candidate.name] = bench
        for number in range(1, count_of_turns + 1):
            began = time.monotonic()
            figures: dict[str, Figures] = {name: {} for name in benches}
            for measure in IN_TURNS:
                for name, bench in benches.items():
                    bench.server.resume()
                    figures[name] |= _taken(name, measure, bench)
                    bench.server.pause()
            _say(f"turn {number} of {count_of_turns} of all took {time.monotonic() - began:.0f} s")
            yield with_added(figures)


def _visit(
    candidate: Candidate,
    measures: Sequence[Measure],
    effort: Effort,
    folder: Path,
    upstream: Upstream,
    ids: Iterator[int],
) -> Figures:
    """One life of a server."""
    figures: Figures = {}
    with contextlib.ExitStack() as stack:
        bench = _started(stack, candidate, effort, folder, upstream, ids)
        if bench is not None:
            for measure in measures:
                figures |= _taken(candidate.name, measure, bench)
    return figures


def _started(
    stack: contextlib.ExitStack,
    candidate: Candidate,
    effort: Effort,
    folder: Path,
    upstream: Upstream,
    ids: Iterator[int],
) -> Bench | None:
    """Its server runs until the stack is closed; None, and why is said, if it does not start."""
    site = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=folder)))
    try:
        server = stack.enter_context(running(candidate, site, upstream.port, _SERVER_CORE))
    except StartFailed as error:
        _say(f"{candidate.name} did not start: {error}")
        return None
    return Bench(server, upstream, Load(folder), effort, candidate.idle_limit, candidate.paced_limit, ids)


def _taken(name: str, measure: Measure, bench: Bench) -> Figures:
    """What fails is said, and is no reason to leave out the rest."""
    try:
        return measure(bench)
    except (LoadFailed, OSError, subprocess.SubprocessError) as error:
        _say(f"{name}: {measure.__name__} failed: {error}")
        return {}


def _heading(options: Options, versions: dict[str, str], load_averages: Sequence[float]) -> str:
    named = ", ".join(f"{name} {version}" for name, version in versions.items() if version)
    times = f"{options.rounds} round(s), {options.rounds * options.effort.turns} turns"
    return f"{machine()}, load {statistics.median(load_averages):.1f}, {times}; {named}:"


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")


if __name__ == "__main__":
    sys.exit(main())
