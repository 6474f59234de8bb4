"""Processes of pmpctl's own that do long work beside it: at a low priority, and never longer than it lives."""

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import IO, Any, cast

from pmpctl.runtime.process_tree import wait_until

KEPT_VARIABLES = ("PATH", "HOME", "LANG", "LC_ALL", "PYTHONPATH")
READ_BYTES = 64 * 1024
LAST_WORDS = 20
PATIENCE_SECONDS = 2.0
"""For a helper that is told to end."""


@dataclass(slots=True)
class Helper:
    """One at work on its order."""

    _answers: IO[bytes]
    _errors: IO[bytes]
    _rest: bytes = b""
    _ended: bool = False

    def listen(self, seconds: float) -> Iterator[dict[str, Any]]:
        """What it tells within that time, or until it ends."""
        deadline = time.monotonic() + seconds
        with selectors.DefaultSelector() as selector:
            selector.register(self._answers, selectors.EVENT_READ)
            while not self._ended and selector.select(max(0.0, deadline - time.monotonic())):
                data = os.read(self._answers.fileno(), READ_BYTES)
                self._ended = not data
                *lines, self._rest = (self._rest + data).split(b"\n")
                for line in lines:
                    yield json.loads(line)

    @property
    def ended(self) -> bool:
        return self._ended

    def last_words(self) -> tuple[str, ...]:
        """The end of its error output; for a helper that failed without saying why."""
        self._errors.seek(0)
        return tuple(self._errors.read().decode(errors="replace").splitlines()[-LAST_WORDS:])


@contextlib.contextmanager
def helper(module: str, order: Mapping[str, Any], variables: Mapping[str, str] | None = None) -> Iterator[Helper]:
    """Run a module of ours that calls `pmpctl.helper.serve`. What is secret goes into the order, which takes a pipe."""
    kept = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=kept | dict(variables or {}),
            cwd="/",
            start_new_session=True,
        )
        order_pipe, answers = cast("IO[bytes]", process.stdin), cast("IO[bytes]", process.stdout)
        try:
            with contextlib.suppress(BrokenPipeError):
                order_pipe.write(json.dumps(order).encode() + b"\n")
                order_pipe.flush()
            yield Helper(answers, errors)
        finally:
            # To the helper this means that nobody waits for it any more.
            with contextlib.suppress(BrokenPipeError):
                order_pipe.close()
            wait_until(lambda: process.poll() is not None, PATIENCE_SECONDS)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            answers.close()
