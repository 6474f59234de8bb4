"""How long commands take to start, beside a bare Python and `docker ps`, measured in turns in the same run.

python bench/cli_startup.py [--rounds N] [--markdown FILE]
"""

import argparse
import os
import platform
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
    docker = Candidate("docker ps", ["docker", "ps"])
    return [*known, docker] if works(docker) else known


def works(candidate: Candidate) -> bool:
    try:
        return subprocess.run(candidate.argv, capture_output=True, timeout=10, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def run(candidate: Candidate, folder: str) -> tuple[float, int]:
    """Wall time in milliseconds, and the exit status."""
    environment = os.environ | candidate.environment
    began = time.perf_counter()
    done = subprocess.run(
        candidate.argv,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
    )
    return (time.perf_counter() - began) * 1000, done.returncode


def measure(chosen: Sequence[Candidate], rounds: int) -> tuple[dict[str, list[float]], dict[str, int]]:
    """Times by name, the first round left out as it warms the caches; and each one's last exit status."""
    times: dict[str, list[float]] = {candidate.name: [] for candidate in chosen}
    statuses: dict[str, int] = {}
    with tempfile.TemporaryDirectory(prefix="pmpctl-bench-") as folder:
        for number in range(rounds + 1):
            for candidate in chosen:
                milliseconds, statuses[candidate.name] = run(candidate, folder)
                if number:
                    times[candidate.name].append(milliseconds)
    return times, statuses


def report(times: Mapping[str, Sequence[float]], statuses: Mapping[str, int]) -> list[str]:
    """A Markdown table: least, median and 90th percentile in milliseconds, and the median over the baseline's."""
    bare = statistics.median(times[BASELINE])
    docker = statistics.median(times["docker ps"]) if "docker ps" in times else None
    lines = ["| command | min ms | median ms | p90 ms | x bare Python | x `docker ps` |", "|---|---|---|---|---|---|"]
    for name, samples in times.items():
        median = statistics.median(samples)
        p90 = statistics.quantiles(samples, n=10)[-1] if len(samples) > 1 else median
        label = f"`{name}`" + (f" (exit {statuses[name]})" if statuses[name] else "")
        ratios = f"{median / bare:.2f} | {f'{median / docker:.1f}' if docker else '-'}"
        lines.append(f"| {label} | {min(samples):.1f} | {median:.1f} | {p90:.1f} | {ratios} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=30, help="measured runs of each command (default: 30)")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="also write the table to this file")
    arguments = parser.parse_args()
    times, statuses = measure(candidates(), max(arguments.rounds, 1))
    lines = [
        f"Python {platform.python_version()}, {os.cpu_count()} cores, {arguments.rounds} rounds in turns, medians:",
        "",
        *report(times, statuses),
    ]
    print("\n".join(lines))
    if arguments.markdown:
        arguments.markdown.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
