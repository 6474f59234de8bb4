"""`pmpctl switch` beside the same change by hand, in turns, with trivial engines in containers.

python -m bench.switch [--rounds N] [--write]

Needs the Docker engine and the images of the tests: tests/world/up.sh makes them.
"""

import argparse
import itertools
import os
import signal
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from bench.results import Results
from bench.switch.by_hand import ByHand
from bench.switch.report import BY_HAND, OURS, tables, with_overhead
from bench.switch.site import Site, site
from bench.tables import PERFORMANCE_DOCUMENT, machine, write_between_markers

from tests.needs import Missing


@dataclass(frozen=True, slots=True)
class Options:
    rounds: int
    write: bool


def main() -> int:
    options = _options()
    # As an exception, so that the containers are removed.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        with site() as there:
            version = there.docker_version()
            results, load_averages = _measure(there, options.rounds)
    except Missing as missing:
        sys.stderr.write(f"{missing}\n")
        return 1
    text = f"{_heading(options, version, load_averages)}\n\n{tables(results)}"
    print(text)
    if options.write:
        write_between_markers(PERFORMANCE_DOCUMENT, "bench/switch", text)
    return 0


def _options() -> Options:
    parser = argparse.ArgumentParser(
        prog="python -m bench.switch", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3, help="how often each changes the model (default: 3)")
    parser.add_argument("--write", action="store_true", help=f"put the tables into {PERFORMANCE_DOCUMENT.name}")
    given = parser.parse_args()
    if given.rounds < 1:
        parser.error("at least one round is needed")
    return Options(given.rounds, given.write)


def _measure(there: Site, rounds: int) -> tuple[Results, list[float]]:
    """The results, and how busy the machine was meanwhile.

    What is done once only is done before: the first switch to a model has its arguments read by the engine's vLLM.
    """
    there.start("coding")
    for profile in ("chat", "coding"):
        there.switch(profile)
    measured, load_averages = [], []
    with ByHand(there.docker_host, there.engines()) as by_hand:
        by_hand.start("coding")
        for index, profile in zip(range(rounds), itertools.cycle(["chat", "coding"]), strict=False):
            load_averages.append(os.getloadavg()[0])
            turns = [(OURS, there.switch), (BY_HAND, by_hand.change)]
            # Who comes second finds what the first one has warmed.
            figures = {name: change(profile) for name, change in (turns if index % 2 == 0 else reversed(turns))}
            measured.append(with_overhead(figures))
            sys.stderr.write(f"round {index + 1} of {rounds}: {_gaps(figures)}\n")
    return Results(measured), load_averages


def _gaps(figures: dict[str, dict[str, float]]) -> str:
    return ", ".join(f"{name} {figures[name]['gap']:.2f} s" for name in (OURS, BY_HAND))


def _heading(options: Options, docker_version: str, load_averages: Sequence[float]) -> str:
    load = statistics.median(load_averages)
    return f"{machine()}, Docker {docker_version}, load {load:.1f}, {options.rounds} round(s) in turns:"


if __name__ == "__main__":
    sys.exit(main())
