"""What the warm page cache saves of a switch's gap: reading weights from the disk, and again after they were warmed.

    python bench/page_cache.py --gib 2 --rounds 3            # a file of its own, where the weights would lie
    python bench/page_cache.py --file model.safetensors      # weights that are there

Each round drops the file from the page cache, reads it (cold), drops it, has pmpctl's own reader warm it, and reads it
again (warm).
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pmpctl.operations.page_cache import BYTES_PER_SECOND
from pmpctl.runtime.helpers import helper

GIB = 1 << 30
CHUNK_BYTES = 16 << 20


def drop(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def read_seconds(path: Path) -> float:
    buffer = bytearray(CHUNK_BYTES)
    began = time.perf_counter()
    with path.open("rb", buffering=0) as file:
        while file.readinto(buffer):
            pass
    return time.perf_counter() - began


def warm_seconds(path: Path) -> float:
    order = {"paths": [str(path)], "limit_bytes": path.stat().st_size, "bytes_per_second": BYTES_PER_SECOND}
    began = time.perf_counter()
    with helper("pmpctl.host.page_cache", order) as reader:
        told = list(reader.listen(3600))
    assert any("read_bytes" in said for said in told), reader.last_words()
    return time.perf_counter() - began


@contextmanager
def weights(file: Path | None, gib: float, folder: Path) -> Iterator[Path]:
    if file is not None:
        yield file
        return
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".page-cache-bench") as made:
        for _ in range(int(gib * GIB / CHUNK_BYTES)):
            made.write(os.urandom(CHUNK_BYTES))
        made.flush()
        yield Path(made.name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--file", type=Path)
    parser.add_argument("--gib", type=float, default=2)
    parser.add_argument("--folder", type=Path, default=Path.cwd())
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    figures: dict[str, list[float]] = {"cold read": [], "warming": [], "warm read": []}
    with weights(options.file, options.gib, options.folder) as path:
        size_gib = path.stat().st_size / GIB
        for _ in range(options.rounds):
            drop(path)
            figures["cold read"].append(read_seconds(path))
            drop(path)
            figures["warming"].append(warm_seconds(path))
            figures["warm read"].append(read_seconds(path))
    print(f"{size_gib:.2f} GiB, {options.rounds} rounds, load {os.getloadavg()[0]:.1f}\n")
    print("| | min s | median s | GiB/s at the median |\n|---|---|---|---|")
    for name, seconds in figures.items():
        middle = statistics.median(seconds)
        print(f"| {name} | {min(seconds):.2f} | {middle:.2f} | {size_gib / middle:.2f} |")


if __name__ == "__main__":
    main()
