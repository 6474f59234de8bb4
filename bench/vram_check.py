"""How long the check of each shipped profile takes once pmpctl has started: the first time, and the median after it.

python bench/vram_check.py [--rounds N]
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

from pmpctl.operations.environment import Environment
from pmpctl.operations.fit import assess
from pmpctl.operations.fit_inputs import FitOptions
from pmpctl.vram.shipped import shipped_facts
from pmpctl.workspace import Workspace


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    rounds: int = parser.parse_args().rounds
    print("| profile | first ms | median ms | slowest ms |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory(prefix="pmpctl-bench-") as folder:
        environment = Environment(Workspace(Path(folder)), None, "auto", {})
        file = environment.profile_file()
        for name in file.profiles:
            first, *later = [milliseconds(environment, name) for _ in range(rounds + 1)]
            print(f"| {name} | {first:.1f} | {statistics.median(later):.1f} | {max(later):.1f} |")


def milliseconds(environment: Environment, profile: str) -> float:
    """On a card on which most do not fit well, so that advice is computed too; facts are read anew."""
    file = environment.profile_file()
    shipped_facts.cache_clear()
    began = time.perf_counter()
    assess(environment, file, profile, FitOptions(gpu="RTX 3090", context=32768, offline=True))
    return (time.perf_counter() - began) * 1000


if __name__ == "__main__":
    main()
