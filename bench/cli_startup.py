"""How long commands take to start, beside a bare Python and `docker ps`, measured in turns in the same run.

python bench/cli_startup.py [--rounds N] [--markdown FILE]
"""

import argparse
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

PMPCTL = Path(sys.executable).with_name("pmpctl")
BASELINE = "python -c pass"
PEER = "docker ps"


@dataclass(frozen=True, slots=True)
class Candidate:
    name: str
    argv: Sequence[str | Path]
    environment: Mapping[str, str] = field(default_factory=dict)


def candidates() -> list[Candidate]:
    completion = {"_PMPCTL_COMPLETE": "complete_bash", "COMP_WORDS": "pmpctl up ", "COMP_CWORD": "2"}
    known = [
        Candidate(BASELINE, [sys.executable, "-c", "pass"]),
        Candidate("pmpctl --help", [PMPCTL, "--help"]),
        Candidate("pmpctl up <Tab>", [PMPCTL], completion),
        Candidate("pmpctl up --help", [PMPCTL, "up", "--help"]),
        Candidate("pmpctl status", [PMPCTL, "status"]),
    ]
    docker = Candidate(PEER, ["docker", "ps"])
    return [*known, docker] if works(docker) else known


def works(candidate: Candidate) -> bool:
    try:
        return subprocess.run(candidate.argv, capture_output=True, timeout=10, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


@dataclass(frozen=True, slots=True)
class Run:
    """`cpu_ms` is the command's own, without the Docker engine's; it suffers less from a busy machine."""

    wall_ms: float
    cpu_ms: float
    exit_status: int


def run(candidate: Candidate, folder: str) -> Run:
    environment = os.environ | candidate.environment
    cpu_before, began = children_cpu_seconds(), time.perf_counter()
    done = subprocess.run(
        candidate.argv,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
    )
    wall, cpu = time.perf_counter() - began, children_cpu_seconds() - cpu_before
    return Run(wall * 1000, cpu * 1000, done.returncode)


def children_cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def measure(chosen: Sequence[Candidate], rounds: int) -> dict[str, list[Run]]:
    """The runs by name; a first round, which warms the caches, is left out."""
    runs: dict[str, list[Run]] = {candidate.name: [] for candidate in chosen}
    with tempfile.TemporaryDirectory(prefix="pmpctl-bench-") as folder:
        for number in range(rounds + 1):
            for candidate in chosen:
                measured = run(candidate, folder)
                if number:
                    runs[candidate.name].append(measured)
    return runs


def report(runs: Mapping[str, Sequence[Run]]) -> list[str]:
    """A Markdown table, with each median over that of the bare Python and of `docker ps`."""
    wall = {name: [each.wall_ms for each in measured] for name, measured in runs.items()}
    medians = {name: statistics.median(samples) for name, samples in wall.items()}
    lines = [
        "| command | min ms | median ms | p90 ms | CPU ms | x bare Python | x `docker ps` |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, measured in runs.items():
        statuses = {each.exit_status for each in measured} - {0}
        label = f"`{name}`" + (f" (exit {', '.join(map(str, sorted(statuses)))})" if statuses else "")
        cells = [
            f"{min(wall[name]):.1f}",
            f"{medians[name]:.1f}",
            f"{percentile_90(wall[name]):.1f}",
            f"{statistics.median(each.cpu_ms for each in measured):.1f}",
            f"{medians[name] / medians[BASELINE]:.2f}",
            f"{medians[name] / medians[PEER]:.1f}" if PEER in medians else "-",
        ]
        lines.append(f"| {label} | {' | '.join(cells)} |")
    return lines


def percentile_90(samples: Sequence[float]) -> float:
    return statistics.quantiles(samples, n=10, method="inclusive")[-1] if len(samples) > 1 else samples[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=30, help="measured runs of each command (default: 30)")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="also write the table to this file")
    arguments = parser.parse_args()
    runs = measure(candidates(), max(arguments.rounds, 1))
    load = os.getloadavg()[0]
    machine = f"Python {platform.python_version()}, {os.cpu_count()} cores, load {load:.1f}"
    lines = [f"{machine}, {arguments.rounds} rounds in turns:", "", *report(runs)]
    print("\n".join(lines))
    if arguments.markdown:
        arguments.markdown.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
