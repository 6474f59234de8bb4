"""Follows a unit's log beside the work, so that whoever waits for the unit can look at what is new."""

import queue
import threading
import time
from collections.abc import Sequence

from pmpctl.errors import PmpctlError
from pmpctl.runtime.base import LogQuery, Runtime, UnitState


class LogWatcher:
    """Reads in a thread of its own; the thread ends with the unit or with the command."""

    def __init__(self, runtime: Runtime, state: UnitState) -> None:
        self._runtime = runtime
        self._state = state
        self._queue: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._follow, name=f"log-{state.role}", daemon=True).start()

    def wait(self, seconds: float) -> Sequence[str]:
        """The lines that came since the last call; waits for the first at most `seconds`."""
        found: list[str] = []
        deadline = time.monotonic() + seconds
        try:
            found.append(self._queue.get(timeout=seconds))
            while time.monotonic() < deadline:
                found.append(self._queue.get_nowait())
        except queue.Empty:
            pass
        return found

    def _follow(self) -> None:
        try:
            for line in self._runtime.logs(self._state, LogQuery(follow=True)):
                self._queue.put(line.text)
        except PmpctlError:
            # The unit is gone or the runtime went away: whoever waits learns that from the unit's state.
            return
