"""Where the time of our gateway goes under load, sampled by py-spy with what is native in it."""

import shutil
import subprocess
from collections import Counter
from pathlib import Path

from bench.gateway import wire
from bench.gateway.measures import Bench

LOADS = ("requests", "chunks")

_SECONDS = 8
# The load goes on for a little longer than the sampling at both ends.
_WINDOW_MS = (_SECONDS + 2) * 1000
_SAMPLES_PER_SECOND = 100
_SHOWN = 30
_PY_SPY_OPTIONS = ("--native", "--function", "--format=raw")
# Threads that wait are sampled too.
_WAITS = ";Condition.wait (threading.py"


def profile(bench: Bench, load: str, stacks: Path) -> str:
    """A table of functions; all stacks go to the file, in the form that flame graph tools read."""
    if not shutil.which("py-spy"):
        return "py-spy is needed: pip install py-spy"
    [pid, *_] = bench.server.pids()
    sampling = [f"--pid={pid}", f"--duration={_SECONDS}", f"--rate={_SAMPLES_PER_SECOND}", f"--output={stacks}"]
    with subprocess.Popen(["py-spy", "record", *sampling, *_PY_SPY_OPTIONS], stdout=subprocess.DEVNULL):
        if load == "requests":
            bench.loop(wire.PLAIN, 64, _WINDOW_MS)
        else:
            bench.paced(bench.effort.paced_streams, _WINDOW_MS)
    return f"{hottest(stacks.read_text())}\n\nall stacks: {stacks}"


def hottest(collapsed: str) -> str:
    """From lines of `frame;frame;... COUNT`: the functions most often running, and most often on the stack."""
    itself: Counter[str] = Counter()
    below: Counter[str] = Counter()
    total = 0
    for line in collapsed.splitlines():
        stack, _, number = line.rpartition(" ")
        if _WAITS in stack:
            continue
        frames = stack.split(";")
        total += int(number)
        itself[frames[-1]] += int(number)
        for frame in set(frames):
            below[frame] += int(number)
    rows = [f"{'itself %':>8}  {'with calls %':>12}  function"]
    for frame, seen in itself.most_common(_SHOWN):
        rows.append(f"{seen * 100 / total:8.1f}  {below[frame] * 100 / total:12.1f}  {frame}")
    return "\n".join(rows)
