"""Who works on a workspace, as others see it."""

import json
import os

import pytest

from pmpctl.operations.locking import lock_holder, take_lock
from pmpctl.workspace import Workspace
from tests.support import result_of


@pytest.fixture(autouse=True)
def state_folder(workspace: Workspace) -> None:
    workspace.state_dir.mkdir()


def test_whoever_holds_the_lock_is_named_while_he_does(workspace: Workspace) -> None:
    lock, _ = result_of(take_lock(workspace, "switch chat"))
    with lock:
        holder = lock_holder(workspace)
        assert holder is not None
        assert (holder.pid, holder.command) == (os.getpid(), "switch chat")

    assert lock_holder(workspace) is None


def test_a_killed_command_is_not_taken_for_a_later_process_with_its_id(workspace: Workspace) -> None:
    lock, _ = result_of(take_lock(workspace, "switch chat"))
    file = workspace.state_dir / "lock.json"
    with lock:
        left = json.loads(file.read_text())
    file.write_text(json.dumps(left | {"start_ticks": left["start_ticks"] - 1}))

    assert lock_holder(workspace) is None


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"pid": 1, "command": "up", "since": 0}'])
def test_what_nobody_of_this_version_wrote_names_nobody(workspace: Workspace, text: str) -> None:
    (workspace.state_dir / "lock.json").write_text(text)

    assert lock_holder(workspace) is None
