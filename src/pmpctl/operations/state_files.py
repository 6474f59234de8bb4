"""The JSON files in `.pmpctl` that must outlive the command that writes them: private, atomic, through a power cut."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pmpctl.host.files import hand_over, make_folder, save
from pmpctl.operations.environment import owner_of, prepare_state_folder
from pmpctl.workspace import Workspace


def keep_state(workspace: Workspace, path: Path, data: Mapping[str, Any]) -> None:
    """Raises what a user can mend."""
    prepare_state_folder(workspace)
    uid, gid = owner_of(workspace)
    make_folder(path.parent, uid=uid, gid=gid, mode=0o700)
    save(path, json.dumps(data, indent=1))
    hand_over(path, uid=uid, gid=gid)


def read_state(path: Path) -> Any:
    """None where there is none; raises ValueError that says why it cannot be read."""
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ValueError(error.strerror) from error
    except (ValueError, RecursionError) as error:
        raise ValueError("it is no JSON") from error
