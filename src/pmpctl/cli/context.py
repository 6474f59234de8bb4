"""What the global options say, handed to every command as `ctx.obj`."""

import os
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from pmpctl.ui.console import Ui
from pmpctl.workspace import Workspace

if TYPE_CHECKING:
    from pmpctl.operations.environment import Environment

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

    @property
    def environment(self) -> "Environment":
        """What operations work on; loads the heavy modules that completion and help do without."""
        from pmpctl.operations.environment import Environment
        from pmpctl.ui.library_logs import adopt_library_logs

        adopt_library_logs(self.ui.err, self.ui.debug)
        return Environment(self.workspace, self.config, self.runtime.value, os.environ)


def find_workspace(named: Path | None) -> Workspace:
    if named is not None:
        return Workspace(named.resolve())
    here = Path.cwd()
    for folder in (here, *here.parents):
        if any((folder / marker).exists() for marker in _MARKERS):
            return Workspace(folder)
    return Workspace(here)
