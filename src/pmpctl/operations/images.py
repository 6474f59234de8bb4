"""What a unit runs from, pulled or built, with its progress told."""

import time

from pmpctl.operations.events import Operation, PhaseFinished, PhaseProgress, PhaseStarted
from pmpctl.planning.plan import Unit
from pmpctl.runtime.base import Runtime


def prepare_image(runtime: Runtime, unit: Unit) -> Operation[None]:
    phase = f"{unit.role}-image"
    began = time.monotonic()
    started = False
    for progress in runtime.prepare(unit):
        if not started:
            yield PhaseStarted(phase, f"Preparing the {unit.role}'s image")
            started = True
        yield PhaseProgress(phase, progress.message, progress.done, progress.total, progress.unit)
    if started:
        yield PhaseFinished(phase, time.monotonic() - began)
