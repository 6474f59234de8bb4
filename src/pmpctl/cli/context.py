"""What the global options say, handed to every command as `ctx.obj`."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from pmpctl.ui.console import Ui
from pmpctl.workspace import Workspace

_MARKERS = ("profiles.toml", ".pmpctl", "config/models.json")


class RuntimeChoice(StrEnum):
    AUTO = "auto"
    DOCKER = "docker"
    PROCESS = "process"


@dataclass(frozen=True, slots=True)
class Globals:
    ui: Ui
    config: Path | None
    workspace_path: Path | None
    runtime: RuntimeChoice

    @property
    def workspace(self) -> Workspace:
        """The folder named by --workspace, or the nearest one above that looks like a workspace, or this one."""
        return find_workspace(self.workspace_path)


def find_workspace(named: Path | None) -> Workspace:
    if named is not None:
        return Workspace(named.resolve())
    here = Path.cwd()
    for folder in (here, *here.parents):
        if any((folder / marker).exists() for marker in _MARKERS):
            return Workspace(folder)
    return Workspace(here)
