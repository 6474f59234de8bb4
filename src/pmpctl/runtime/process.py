"""The process runtime: the units of a plan as detached processes of this machine, without Docker."""

import contextlib
import platform
import signal
import socket
import subprocess
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import psutil

from pmpctl.errors import NameConflict, NothingRuns, RuntimeFailed, WorkspaceNotWritable
from pmpctl.files import write_atomically
from pmpctl.planning.plan import GpuMethod, Role, RuntimeKind, Unit
from pmpctl.runtime.base import LogLine, LogQuery, Progress, RunningEngine, RuntimeInfo, TrialRun, UnitState, Usage
from pmpctl.runtime.neighbours import engines_in_processes
from pmpctl.runtime.process_check import check_port, check_program, check_writable
from pmpctl.runtime.process_launch import launch
from pmpctl.runtime.process_logs import LogFiles, read_log
from pmpctl.runtime.process_record import ROLES, BackOff, UnitRecord, record_path, stop_request_path
from pmpctl.runtime.process_state import lost_state, recorded_state, supervisor_of
from pmpctl.runtime.process_tree import ProcessId, end_all, environment, is_alive, marked, members, send, wait_until
from pmpctl.runtime.process_trial import run_trial, software_of
from pmpctl.workspace import Workspace

SUPERVISOR_SECONDS = 15.0
"""What a supervisor may need beyond the unit's own time, to end everything and to write it down."""


class ProcessRuntime:
    def __init__(self, workspace: Workspace, back_off: BackOff | None = None) -> None:
        self._workspace = workspace
        self._back_off = back_off or BackOff()

    @property
    def kind(self) -> RuntimeKind:
        return "process"

    @property
    def on_this_machine(self) -> bool:
        return True

    def info(self) -> RuntimeInfo:
        return RuntimeInfo(kind="process", version=f"Python {platform.python_version()}", endpoint=socket.gethostname())

    def gpu_methods(self) -> tuple[GpuMethod, ...]:
        """None: a process needs nobody to hand it the host's GPUs."""
        return ()

    def units(self) -> Sequence[UnitState]:
        running: dict[str, set[ProcessId]] = defaultdict(set)
        for process, marker in marked(f"{self._workspace.id}/").items():
            running[marker].add(process)
        records = [record for role in ROLES if (record := self._record(role))]
        states = [recorded_state(record, running.pop(record.marker, set())) for record in records]
        for marker, processes in sorted(running.items()):
            if state := lost_state(marker, processes):
                states.append(state)
        return states

    def check(self, unit: Unit) -> None:
        self._check_writable()
        check_program(unit, self._workspace)
        own_pids = {process.pid for process in members(f"{self._workspace.id}/{unit.role}/")}
        for port in unit.ports:
            check_port(port, own_pids)

    def prepare(self, unit: Unit) -> Iterator[Progress]:  # noqa: ARG002 (a process runs from what is installed)
        return iter(())

    def software(self, unit: Unit) -> str | None:
        return software_of(Path(unit.argv[0]))

    def try_python(self, unit: Unit, source: str, argv: Sequence[str], timeout_seconds: float) -> TrialRun | None:
        return run_trial(unit, source, argv, timeout_seconds)

    def start(self, unit: Unit) -> UnitState:
        self._check_writable()
        check_program(unit, self._workspace)
        for state in self.units():
            if state.role == unit.role and state.alive:
                raise NameConflict(f"the {unit.role} runs already", cure="Run `pmpctl down` first.")
            if state.role == unit.role:
                self.remove(state)
        path = record_path(self._workspace.process_dir, unit.role)
        record = launch(self._workspace, unit, path, self._back_off)
        return recorded_state(record, set())

    def stop(self, state: UnitState, timeout_seconds: float) -> None:
        record = self._record_of(state)
        marker = self._marker(state)
        supervisor = supervisor_of(record) if record else None
        grace_seconds = timeout_seconds
        if supervisor:
            path = record_path(self._workspace.process_dir, state.role)
            # On a full disk the supervisor takes the time that the unit was started with.
            with contextlib.suppress(OSError):
                write_atomically(stop_request_path(path), str(timeout_seconds))
            send([supervisor], signal.SIGTERM)
            ended = wait_until(lambda: not is_alive(supervisor), timeout_seconds + SUPERVISOR_SECONDS)
            grace_seconds = timeout_seconds if ended else 0.0
        left = end_all(lambda: members(marker), grace_seconds)
        if left:
            pids = ", ".join(str(process.pid) for process in sorted(left))
            raise RuntimeFailed(
                f"not even SIGKILL ended the {state.role}'s processes {pids}: they hang in the kernel",
                cure="Look at `dmesg` for the GPU driver's errors; restart the machine if that does not help.",
            )
        self._note_end(state)

    def remove(self, state: UnitState) -> None:
        self.stop(state, timeout_seconds=0.0)
        path = record_path(self._workspace.process_dir, state.role)
        if self._record_of(state):
            path.unlink(missing_ok=True)
            stop_request_path(path).unlink(missing_ok=True)

    def clean(self) -> Sequence[str]:
        removed: list[str] = []
        known = {record_path(self._workspace.process_dir, role) for role in ROLES if self._record(role)}
        for state in self.units():
            if not self._record_of(state):
                self.stop(state, timeout_seconds=0.0)
                removed.append(f"processes of the {state.role} that nothing kept a record of")
        folder = self._workspace.process_dir
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            # A hidden file may be what a supervisor is about to put in a record's place.
            if path not in known and not (known and path.name.startswith(".")):
                path.unlink()
                removed.append(str(path))
        return removed

    def state(self, unit_id: str) -> UnitState | None:
        return next((state for state in self.units() if unit_id in (state.id, state.name)), None)

    def processes(self, unit_id: str) -> frozenset[ProcessId]:
        own = f"{self._workspace.id}/"
        markers = {marker for marker in marked(own).values() if marker.endswith(f"/{unit_id}")}
        return frozenset(process for marker in markers for process in members(marker))

    def engines(self) -> Sequence[RunningEngine]:
        return engines_in_processes()

    def logs(self, state: UnitState, query: LogQuery) -> Iterator[LogLine]:
        if not self._record_of(state):
            return

        def grows() -> bool:
            record = self._record_of(state)
            return record is not None and supervisor_of(record) is not None

        yield from read_log(LogFiles(self._workspace.logs_dir / f"{state.role}.log"), query, grows)

    def usage(self, state: UnitState) -> Usage | None:
        record = self._record_of(state)
        supervisor = record.supervisor if record else None
        pids = [process.pid for process in members(self._marker(state)) if process != supervisor]
        sizes = [_memory_bytes(pid) for pid in pids]
        return Usage(memory_bytes=sum(sizes), pids=len(pids)) if pids else None

    def execute(self, state: UnitState, argv: Sequence[str]) -> tuple[int, str]:
        record = self._record_of(state)
        if not (record and record.child and is_alive(record.child)):
            raise NothingRuns(f"the {state.role} does not run", cure="Start it with `pmpctl up`.")
        pid = record.child.pid
        try:
            done = subprocess.run(
                argv,
                env=environment(pid),
                cwd=Path(f"/proc/{pid}/cwd").readlink(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                check=False,
            )
        except OSError as error:
            # The statuses that a shell gives.
            return (127 if isinstance(error, FileNotFoundError) else 126), str(error)
        return done.returncode, done.stdout.decode(errors="replace")

    def _check_writable(self) -> None:
        for folder in (self._workspace.process_dir, self._workspace.logs_dir):
            check_writable(folder)

    def _record(self, role: Role) -> UnitRecord | None:
        path = record_path(self._workspace.process_dir, role)
        try:
            record = UnitRecord.read(path)
            if record and not record.has_ended and supervisor_of(record) is None:
                # Its supervisor may have written the end and gone between the two looks.
                record = UnitRecord.read(path)
        except OSError as error:
            raise WorkspaceNotWritable(
                f"{path} cannot be read: {error.strerror}",
                cure="Run pmpctl as the user who started what runs here, or choose another --workspace.",
            ) from error
        # A copied workspace brings along records that are not its own.
        return record if record and record.workspace == self._workspace.id and record.role == role else None

    def _record_of(self, state: UnitState) -> UnitRecord | None:
        record = self._record(state.role)
        return record if record and record.start_id == state.id else None

    def _marker(self, state: UnitState) -> str:
        return f"{self._workspace.id}/{state.role}/{state.id}"

    def _note_end(self, state: UnitState) -> None:
        """Where the supervisor could not."""
        record = self._record_of(state)
        if record and not record.has_ended:
            ended = replace(record, phase="exited", finished_at=record.finished_at or time.time())
            with contextlib.suppress(OSError):
                ended.write(record_path(self._workspace.process_dir, state.role))


def _memory_bytes(pid: int) -> int:
    """What the process adds: pages that several share are counted in parts, where the kernel tells."""
    try:
        process = psutil.Process(pid)
        with contextlib.suppress(psutil.AccessDenied):
            return int(process.memory_full_info().pss)
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0
