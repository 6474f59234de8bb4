"""After a start: what the engine says of its memory becomes a record."""

import time
from pathlib import Path

from pmpctl.diagnosis.figures import read_figures
from pmpctl.errors import PmpctlError
from pmpctl.operations.calibration import StartRecord, keep, program_identity, start_of
from pmpctl.operations.environment import Environment
from pmpctl.operations.events import Notice, Operation
from pmpctl.operations.fit_inputs import FitOptions, gather_inputs
from pmpctl.planning.plan import Plan
from pmpctl.profiles.model import ProfileFile
from pmpctl.runtime.base import LogQuery, Runtime, UnitState


def learn(
    environment: Environment, file: ProfileFile, runtime: Runtime, plan: Plan, engine: UnitState
) -> Operation[None]:
    """Keep the figures of an engine that has just started, if it tells any; never fails, as it serves already."""
    try:
        figures = read_figures(line.text for line in runtime.logs(engine, LogQuery()))
        if figures.kv_gib is None:
            return
        # By now the engine has downloaded the model, so that the facts lie on this machine.
        inputs = gather_inputs(environment, file, plan.profile, FitOptions(offline=True), runtime)
        identity = plan.engine.image or program_identity(Path(plan.engine.argv[0]))
        start = start_of(inputs.profile, identity, inputs.chosen.card, inputs.settings)
        record = StartRecord(start=start, profile=plan.profile, recorded_at=time.time(), figures=figures)
        keep(environment.workspace, record)
    except PmpctlError as error:
        yield Notice("info", f"what the engine measured is not kept: {error.message}")
