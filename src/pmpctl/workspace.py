"""The workspace: the folder whose profiles, weights and state one set of engine and gateway belongs to."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Workspace:
    root: Path

    @property
    def id(self) -> str:
        """Stable for a path, readable in `docker ps`, and valid in container, network and volume names."""
        base = re.sub(r"[^a-z0-9]+", "-", self.root.name.lower()).strip("-")[:24] or "root"
        return f"{base}-{hashlib.sha256(str(self.root).encode()).hexdigest()[:8]}"

    @property
    def state_dir(self) -> Path:
        return self.root / ".pmpctl"

    @property
    def control_dir(self) -> Path:
        """Holds the gateway's control socket and what it remembers; it is mounted into the gateway."""
        return self.state_dir / "control"

    @property
    def secrets_dir(self) -> Path:
        return self.state_dir / "secrets"

    @property
    def logs_dir(self) -> Path:
        return self.state_dir / "logs"

    @property
    def process_dir(self) -> Path:
        """Records of the process runtime: one JSON file per unit with pid and start time."""
        return self.state_dir / "process"

    @property
    def cache_dir(self) -> Path:
        return self.state_dir / "cache"

    @property
    def calibration_dir(self) -> Path:
        """What each start measured: one JSON file for every model, card, engine and set of settings."""
        return self.state_dir / "calibration"

    @property
    def plans_dir(self) -> Path:
        """What was started, exactly: one JSON file for each engine, by the hash in its label."""
        return self.state_dir / "plans"

    @property
    def files_dir(self) -> Path:
        """Copies of the templates and parsers that plans hand to their engines."""
        return self.state_dir / "files"

    @property
    def journal_file(self) -> Path:
        """The switch in progress, or the one that was interrupted."""
        return self.state_dir / "journal.json"

    @property
    def history_file(self) -> Path:
        """Which profiles served here."""
        return self.state_dir / "history.json"

    @property
    def lock_file(self) -> Path:
        return self.state_dir / "lock"

    @property
    def tokens_lock_file(self) -> Path:
        return self.state_dir / "tokens.lock"
