"""Lines on their way to a descriptor: taken at once, written by a thread, and let go where nobody reads them."""

import atexit
import logging
import os
import select
import threading
from collections import deque

log = logging.getLogger(__name__)

# What comes within this time is one write.
_GATHER_SECONDS = 0.05
# Some 8 MB of access log: most of a second of full load, or minutes of a usual one.
_MOST_WAITING = 16384
_LAST_WORDS_SECONDS = 1.0


class LineWriter:
    """`put` never blocks. What waits when the process ends is still written, unless nobody reads."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        # One thread only appends and the other only takes away, so that neither needs a lock.
        self._waiting: deque[bytes] = deque()
        self._has_lines = threading.Event()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._refused = 0
        self._failed = 0
        self._told = 0
        self._line_is_open = False

    @property
    def dropped(self) -> int:
        """How many lines were lost so far."""
        return self._refused + self._failed

    def put(self, line: bytes) -> None:
        """Take a line that ends in a newline."""
        if len(self._waiting) >= _MOST_WAITING:
            self._refused += 1
            return
        self._waiting.append(line)
        if not self._has_lines.is_set():
            self._has_lines.set()
            if self._thread is None:
                self._start()

    def close(self) -> None:
        """Write what waits, within the time that a reader takes who reads at all."""
        atexit.unregister(self.close)
        self._closing.set()
        self._has_lines.set()
        if self._thread is not None:
            self._thread.join(_LAST_WORDS_SECONDS)

    def _start(self) -> None:
        # A daemon, because a pipe that nobody reads must not keep the process alive.
        self._thread = threading.Thread(target=self._run, name="log-writer", daemon=True)
        self._thread.start()
        atexit.register(self.close)

    def _run(self) -> None:
        while not self._closing.is_set() or self._waiting:
            self._has_lines.wait()
            self._closing.wait(_GATHER_SECONDS)
            # First, so that a line which comes while the others are taken sets it again.
            self._has_lines.clear()
            if lines := [self._waiting.popleft() for _ in range(len(self._waiting))]:
                self._write(lines)

    def _write(self, lines: list[bytes]) -> None:
        try:
            self._write_all(b"".join(lines))
        except OSError:
            self._failed += len(lines)
            return
        if self._told != self.dropped:
            lost, self._told = self.dropped - self._told, self.dropped
            log.warning("%d line(s) of the access log were lost: nobody took them from stdout", lost)

    def _write_all(self, text: bytes) -> None:
        rest = memoryview(b"\n" + text if self._line_is_open else text)
        while rest:
            try:
                written = os.write(self._descriptor, rest)
            except BlockingIOError:
                select.select((), (self._descriptor,), ())
                continue
            rest = rest[written:]
            self._line_is_open = bool(rest)
