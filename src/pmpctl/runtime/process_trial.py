"""A few lines of Python, run by the interpreter that an engine's program belongs to, without a GPU."""

import os
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from pmpctl.planning.plan import Unit
from pmpctl.runtime.base import TrialRun
from pmpctl.runtime.process_launch import unit_environment
from pmpctl.runtime.process_tree import CARD_MARKER

NICENESS = 10


def software_of(program: Path) -> str | None:
    """Follows an upgrade, which leaves the path as it is."""
    try:
        installed = sorted(
            str(path) for path in _environment_of(program).glob("lib/python3*/site-packages/*.dist-info")
        )
        status = program.resolve().stat()
    except OSError:
        return None
    return f"{program} {status.st_size} {status.st_mtime_ns} {' '.join(installed)}"


def run_trial(unit: Unit, source: str, argv: Sequence[str], timeout_seconds: float) -> TrialRun | None:
    """None where the program has no interpreter beside it, or it did not end in time."""
    interpreter = _environment_of(Path(unit.argv[0])) / "bin" / "python"
    if not interpreter.exists():
        return None
    environment = unit_environment(unit, os.environ)
    environment.pop(CARD_MARKER, None)
    environment |= {"CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    process = subprocess.Popen(
        ["nice", "-n", str(NICENESS), interpreter, "-c", source, *argv],
        env=environment,
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        text=True,
        errors="replace",
    )
    with process:
        try:
            output = process.communicate(timeout=timeout_seconds)[0]
        except subprocess.TimeoutExpired:
            return None
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    return TrialRun(process.returncode, tuple(output.splitlines()))


def _environment_of(program: Path) -> Path:
    """The virtual environment, which has the program in its `bin`."""
    return program.resolve().parent.parent
