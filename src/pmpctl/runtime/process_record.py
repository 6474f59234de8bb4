"""What the process runtime writes down about a unit, and what it hands to the unit's supervisor."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self, get_args

from pmpctl.files import write_atomically
from pmpctl.planning.plan import Role
from pmpctl.runtime.base import UnitPhase
from pmpctl.runtime.crash_loop import QUICK_FAILURES, QUICK_SECONDS
from pmpctl.runtime.process_tree import ProcessId

ROLES: tuple[Role, ...] = get_args(Role)


@dataclass(frozen=True, slots=True)
class BackOff:
    """How long to wait before another start, and when to give up."""

    first_seconds: float = 1.0
    longest_seconds: float = 30.0
    quick_seconds: float = QUICK_SECONDS
    quick_failures: int = QUICK_FAILURES

    def delay_seconds(self, failures: int) -> float:
        """Before the start that follows the given number of quick failures in a row."""
        return min(self.first_seconds * 2.0 ** max(failures - 1, 0), self.longest_seconds)


@dataclass(frozen=True, slots=True)
class UnitRecord:
    """`start_id` is new for every start of the unit; neither arguments nor environment are written down."""

    workspace: str
    role: Role
    name: str
    profile: str
    plan_hash: str
    program: str
    start_id: str
    boot_id: str
    phase: UnitPhase = "created"
    supervisor: ProcessId | None = None
    child: ProcessId | None = None
    exit_code: int | None = None
    oom_killed: bool = False
    restart_count: int = 0
    started_at: float | None = None
    finished_at: float | None = None
    error: str = ""

    @property
    def marker(self) -> str:
        return f"{self.workspace}/{self.role}/{self.start_id}"

    @property
    def has_ended(self) -> bool:
        return self.phase in ("exited", "dead")

    def write(self, path: Path) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomically(path, json.dumps(asdict(self), indent=1))

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """None for a record that is not there or that nobody of ours can have written; raises PermissionError."""
        try:
            return cls.from_data(json.loads(path.read_text()))
        except (FileNotFoundError, NotADirectoryError, ValueError, TypeError):
            return None

    @classmethod
    def from_data(cls, data: dict[str, Any]) -> Self:
        processes = {key: ProcessId(**data[key]) if data.get(key) else None for key in ("supervisor", "child")}
        return cls(**data | processes)


@dataclass(frozen=True, slots=True)
class Launch:
    """All that a supervisor needs; it goes through a pipe, because arguments and environment may hold secrets."""

    record: UnitRecord
    argv: tuple[str, ...]
    env: dict[str, str]
    working_dir: str
    restart: str
    stop_timeout_seconds: float
    log_path: str
    log_max_size_bytes: int
    log_max_files: int
    back_off: BackOff = field(default_factory=BackOff)

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        data = json.loads(text)
        data["record"] = UnitRecord.from_data(data["record"])
        data["back_off"] = BackOff(**data["back_off"])
        return cls(**data)


def record_path(folder: Path, role: Role) -> Path:
    return folder / f"{role}.json"


def stop_request_path(record: Path) -> Path:
    """Holds the seconds that whoever sends SIGTERM to the supervisor grants, instead of the unit's own."""
    return record.with_suffix(".stop")
