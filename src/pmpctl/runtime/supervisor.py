"""Stands beside one unit for as long as it runs: starts it, writes its log, restarts it, and ends all of it.

`python -m pmpctl.runtime.supervisor RECORD` reads a Launch from its standard input, and writes one line of JSON to its
standard output: whether the program was executed. It imports little, because one of these runs for every unit.
"""

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

from pmpctl.planning.plan import UNLESS_CRASH_LOOP
from pmpctl.runtime.base import UnitPhase
from pmpctl.runtime.crash_loop import crash_loop
from pmpctl.runtime.process_logs import LogFiles, LogWriter, Stream
from pmpctl.runtime.process_record import Launch, stop_request_path
from pmpctl.runtime.process_spawn import become_subreaper, oom_kills, spawn
from pmpctl.runtime.process_tree import ProcessId, descendants, end_all, identify, members, send

LEFTOVER_SECONDS = 10.0
STOP_POLL_SECONDS = 0.1
READ_BYTES = 64 * 1024
STREAMS: tuple[Stream, Stream] = ("stdout", "stderr")


class Supervisor:
    """One thread, one loop: it waits for output, for signals, and for the next moment at which something is due.

    The child runs, or has ended and its leftovers are being ended until `_kill_at`, or is started again at `_start_at`.
    """

    def __init__(self, path: Path, launch: Launch) -> None:
        self._path = path
        self._launch = launch
        self._record = replace(launch.record, supervisor=identify(os.getpid()))
        self._log_files = LogFiles(Path(launch.log_path))
        self._log = LogWriter(self._log_files, launch.log_max_size_bytes, launch.log_max_files)
        self._selector = selectors.DefaultSelector()
        self._readers: dict[int, Stream] = {}
        self._writers = [self._pipe(stream) for stream in STREAMS]
        self._wakeup = self._catch_signals()
        self._child: subprocess.Popen[bytes] | None = None
        self._child_started = 0.0
        self._oom_kills = 0
        self._quick_failures = 0
        self._stop_asked = False
        self._stopping = False
        self._next_phase: UnitPhase = "exited"
        self._start_at: float | None = None
        self._kill_at: float | None = None
        self._finished = False

    def start(self) -> None:
        """Raises OSError when the program cannot be executed, or the record not written."""
        stop_request_path(self._path).unlink(missing_ok=True)
        self._spawn()
        self._log_files.begin()
        self._record.write(self._path)

    def run(self) -> None:
        try:
            while not self._finished:
                self._selector.select(self._seconds_to_wait())
                self._read_output()
                self._collect()
                if self._stop_asked:
                    self._stop_asked = False
                    self._stop()
                self._do_what_is_due()
        except BaseException as error:
            self.end_everything()
            self._save(phase="dead", error=f"the supervisor of this unit failed: {error!r}")
            raise

    def end_everything(self) -> Collection[ProcessId]:
        """Returns what could not be ended; afterwards the log is complete."""
        left = end_all(self._all, grace_seconds=0)
        self._read_output()
        self._log.finish()
        return left

    def _pipe(self, stream: Stream) -> int:
        """The writing end stays open for every start of the child, so that no line is lost between two of them."""
        reader, writer = os.pipe()
        os.set_blocking(reader, False)
        self._selector.register(reader, selectors.EVENT_READ)
        self._readers[reader] = stream
        return writer

    def _catch_signals(self) -> int:
        """Returns a pipe's reading end, which every signal makes readable."""
        reader, writer = os.pipe()
        for end in (reader, writer):
            os.set_blocking(end, False)
        self._selector.register(reader, selectors.EVENT_READ)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGINT, self._ask_to_stop)
        signal.signal(signal.SIGTERM, self._ask_to_stop)
        return reader

    def _ask_to_stop(self, *_: object) -> None:
        self._stop_asked = True

    def _seconds_to_wait(self) -> float | None:
        if self._kill_at is not None:
            return STOP_POLL_SECONDS
        if self._start_at is not None:
            return max(0.0, self._start_at - time.monotonic())
        return None

    def _read_output(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._wakeup, READ_BYTES)
        for reader, stream in self._readers.items():
            with contextlib.suppress(BlockingIOError):
                # Bounded, so that a program that floods its log can still be stopped.
                for _ in range(64):
                    self._log.feed(stream, os.read(reader, READ_BYTES))

    def _spawn(self) -> None:
        self._oom_kills = oom_kills()
        self._child = spawn(self._launch, *self._writers)
        self._child_started = time.monotonic()
        self._record = replace(
            self._record,
            phase="running",
            child=identify(self._child.pid),
            exit_code=None,
            oom_killed=False,
            started_at=time.time(),
            finished_at=None,
            error="",
        )

    def _stop(self) -> None:
        seconds = self._launch.stop_timeout_seconds
        with contextlib.suppress(OSError, ValueError):
            seconds = float(stop_request_path(self._path).read_text())
        self._kill_by(time.monotonic() + seconds)
        self._start_at = None
        self._next_phase = "exited"
        if not self._stopping and self._child:
            # Only the main process, as Docker does it: an engine's workers must live until it has drained.
            os.kill(self._child.pid, signal.SIGTERM)
        self._stopping = True

    def _kill_by(self, moment: float) -> None:
        """Of several deadlines the earliest holds."""
        self._kill_at = moment if self._kill_at is None else min(moment, self._kill_at)

    def _collect(self) -> None:
        """The child, and the orphans that came to us because we are a subreaper."""
        with contextlib.suppress(ChildProcessError):
            while ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                if self._child and ended.si_pid == self._child.pid:
                    status = self._child.wait()
                    self._child = None
                    self._child_ended(status)
                else:
                    os.waitpid(ended.si_pid, 0)

    def _child_ended(self, status: int) -> None:
        exit_code = 128 - status if status < 0 else status
        self._next_phase, error = self._judge(exit_code)
        self._save(
            phase="restarting" if self._next_phase == "restarting" else self._record.phase,
            exit_code=exit_code,
            oom_killed=status == -signal.SIGKILL and not self._stopping and oom_kills() > self._oom_kills,
            finished_at=time.time(),
            error=error,
        )
        send(self._all(), signal.SIGTERM)
        self._kill_by(time.monotonic() + LEFTOVER_SECONDS)

    def _judge(self, exit_code: int) -> tuple[UnitPhase, str]:
        """Where the end of the child leads, and what to say about it."""
        policy, back_off = self._launch.restart, self._launch.back_off
        again = policy in ("always", "unless-stopped", UNLESS_CRASH_LOOP) or (policy == "on-failure" and exit_code != 0)
        if self._stopping or not again:
            return "exited", ""
        quick = time.monotonic() - self._child_started < back_off.quick_seconds
        self._quick_failures = self._quick_failures + 1 if quick else 0
        if self._quick_failures < back_off.quick_failures:
            return "restarting", ""
        said = crash_loop(self._quick_failures, back_off.quick_seconds)
        return "dead", f"{said}, the last time with exit status {exit_code}"

    def _do_what_is_due(self) -> None:
        now = time.monotonic()
        if self._child:
            if self._kill_at is not None and now >= self._kill_at:
                os.kill(self._child.pid, signal.SIGKILL)
        elif self._start_at is not None:
            if now >= self._start_at:
                self._restart()
        elif self._kill_at is None or now >= self._kill_at or not self._all():
            self._everything_ended(self.end_everything())

    def _everything_ended(self, unkillable: Collection[ProcessId]) -> None:
        self._kill_at = None
        if unkillable:
            pids = ", ".join(str(process.pid) for process in sorted(unkillable))
            self._finish("dead", f"not even SIGKILL ended {pids}: they hang in the kernel")
        elif self._next_phase == "restarting":
            delay_seconds = self._launch.back_off.delay_seconds(self._quick_failures)
            self._start_at = time.monotonic() + delay_seconds
        else:
            self._finish(self._next_phase, self._record.error)

    def _restart(self) -> None:
        self._start_at = None
        try:
            self._spawn()
        except (OSError, subprocess.SubprocessError) as error:
            self._finish("dead", f"it could not be started again: {error}")
        else:
            self._save(restart_count=self._record.restart_count + 1)

    def _finish(self, phase: UnitPhase, error: str) -> None:
        self._save(phase=phase, error=error)
        self._finished = True

    def _all(self) -> set[ProcessId]:
        own_pid = os.getpid()
        return {process for process in descendants([own_pid]) | members(self._record.marker) if process.pid != own_pid}

    def _save(self, **changes: Any) -> None:
        self._record = replace(self._record, **changes)
        # A full disk must not end the unit.
        with contextlib.suppress(OSError):
            self._record.write(self._path)


def main(path: Path) -> None:
    launch = Launch.from_json(sys.stdin.read())
    if os.fork():
        # The starter waits for this process only, and what remains belongs to nobody's terminal or shell.
        os._exit(0)
    become_subreaper()
    supervisor = Supervisor(path, launch)
    try:
        supervisor.start()
    except (OSError, subprocess.SubprocessError) as error:
        supervisor.end_everything()
        _answer({"started": False, "error": str(error), "errno": getattr(error, "errno", None)})
    else:
        _answer({"started": True})
        supervisor.run()


def _answer(answer: dict[str, object]) -> None:
    with contextlib.suppress(BrokenPipeError):
        os.write(1, json.dumps(answer).encode())
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nothing, descriptor)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
