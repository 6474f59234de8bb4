"""Reads the next model's weights into the page cache while the old one serves, which shortens the gap."""

import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from pmpctl.errors import PmpctlError
from pmpctl.hub.weight_files import weights_to_load
from pmpctl.operations.card_use import gib
from pmpctl.operations.environment import Environment
from pmpctl.operations.events import Notice, Operation, PhaseFinished, PhaseProgress, PhaseStarted
from pmpctl.operations.weights import weights_folder
from pmpctl.planning.plan import Plan
from pmpctl.profiles.model import ProfileFile
from pmpctl.runtime.base import Runtime
from pmpctl.runtime.helpers import helper

PHASE = "page-cache"
BYTES_PER_SECOND = 2 << 30
LISTEN_SECONDS = 0.5
MARGIN_BYTES = 4 << 30
MARGIN_SHARE = 0.1
"""Of the host's memory: what the next engine itself needs, beside the serving one and everything else."""


@dataclass(frozen=True, slots=True)
class Warmed:
    """`bytes_cached` of `bytes_total` are in the page cache now; `why_not` says why it is not all of them."""

    bytes_cached: int
    bytes_total: int
    seconds: float
    why_not: str = ""


def warm_page_cache(environment: Environment, file: ProfileFile, runtime: Runtime, plan: Plan) -> Operation[Warmed]:
    """Never fails; closing the operation ends the reading at once."""
    began = time.monotonic()
    if not file.host.warm_page_cache:
        return Warmed(0, 0, 0.0, "`warm_page_cache` of [host] is off")
    if not runtime.on_this_machine:
        return Warmed(0, 0, 0.0, "the engine runs on another machine")
    try:
        paths = weight_paths(environment, file, plan)
        sizes = [path.stat().st_size for path in paths]
    except (PmpctlError, OSError) as error:
        return Warmed(0, 0, 0.0, f"the weights cannot be read: {error}")
    total = sum(sizes)
    limit = min(total, room_bytes())
    if limit <= 0:
        why_not = "the host has no memory to spare" if total else "no weights are on this machine"
        return Warmed(0, total, 0.0, why_not)
    yield PhaseStarted(PHASE, "Reading the weights into memory")
    order = {"paths": [str(path) for path in paths], "limit_bytes": limit, "bytes_per_second": BYTES_PER_SECOND}
    done, read = 0, None
    with helper("pmpctl.host.page_cache", order) as reader:
        while not reader.ended:
            for said in reader.listen(LISTEN_SECONDS):
                done, read = said.get("done_bytes", done), said.get("read_bytes", read)
            yield PhaseProgress(PHASE, plan.model, done=done, total=total)
        why_not = "" if read is not None else f"the reader ended early: {' '.join(reader.last_words()[-1:])}"
    if not why_not and limit < total:
        why_not = f"the host has memory to spare for {gib(limit)} only"
    if why_not:
        yield Notice("info", f"{gib(done)} of {gib(total)} of the weights are in memory: {why_not}")
    seconds = time.monotonic() - began
    yield PhaseFinished(PHASE, seconds, f"{gib(done)}, {gib(read or 0)} of it from the disk")
    return Warmed(done, total, seconds, why_not)


def weight_paths(environment: Environment, file: ProfileFile, plan: Plan) -> tuple[Path, ...]:
    """The files that the engine will read, in the order of their names."""
    profile = file.profile(plan.profile)
    folder = weights_folder(environment, file, profile)
    if folder is None:
        return ()
    return tuple(folder.path / name for name in sorted(weights_to_load(folder.names, profile.load_format)))


def room_bytes() -> int:
    """What the page cache may grow to without taking memory from anybody."""
    memory = psutil.virtual_memory()
    return int(memory.available - max(MARGIN_BYTES, MARGIN_SHARE * memory.total))
