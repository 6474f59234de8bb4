"""The real console script, as a user's shell runs it."""

import os
import subprocess
import sys
from pathlib import Path

PMPCTL = Path(sys.executable).with_name("pmpctl")


def pmpctl(
    *argv: str, cwd: Path | None = None, timeout_seconds: float = 60, **environment: str
) -> "subprocess.CompletedProcess[str]":
    """Run pmpctl in a pipe; the environment's own settings for it do not leak in."""
    kept = {key: value for key, value in os.environ.items() if key not in ("CONFIG_PATH", "MODEL_PROFILE", "NO_COLOR")}
    return subprocess.run(
        [PMPCTL, *argv],
        cwd=cwd,
        env=kept | environment,
        capture_output=True,
        text=True,
        timeout=timeout_seconds,
        check=False,
    )
