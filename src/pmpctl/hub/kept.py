"""Facts that the hub gave once, kept in the workspace: a commit never changes, so they stay true."""

import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from pydantic import TypeAdapter

from pmpctl.files import write_atomically
from pmpctl.vram.facts import ModelFacts

FRESH_SECONDS = 24 * 3600.0
"""How long a branch is taken to be the commit that it was."""


@dataclass(frozen=True, slots=True)
class KeptFacts:
    folder: Path

    def load(self, model: str, commit: str) -> ModelFacts | None:
        """None also for a file that is damaged, or that another release wrote in another shape."""
        try:
            return _adapter().validate_json(self._file(model, commit, "json").read_bytes())
        except (OSError, ValueError):
            return None

    def save(self, facts: ModelFacts, revision: str) -> None:
        """Keep facts that were found for a revision; raises OSError or ValueError where they cannot be written."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        commit = facts.revision or revision
        write_atomically(self._file(facts.model, commit, "json"), _adapter().dump_json(facts).decode())
        if commit != revision:
            write_atomically(self._file(facts.model, revision, "commit"), commit)

    def commit(self, model: str, revision: str, *, fresh: bool) -> str:
        """The commit that a branch or tag was when it was last looked up; the revision itself where nobody knows."""
        file = self._file(model, revision, "commit")
        try:
            if not fresh or time.time() - file.stat().st_mtime < FRESH_SECONDS:
                return file.read_text().strip()
        except (OSError, ValueError):
            pass
        return revision

    def _file(self, model: str, revision: str, kind: str) -> Path:
        return self.folder / f"{model.replace('/', '--')}@{quote(revision, safe='')}.{kind}"


def _adapter() -> TypeAdapter[ModelFacts]:
    return TypeAdapter(ModelFacts)
