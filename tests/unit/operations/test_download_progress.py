"""The weights that the engine downloads show as progress: bytes on disk, of how many where that is known."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from pmpctl.workspace import Workspace
from tests.stack import Stack
from tests.support import eventually

MODEL = "mistralai/Mistral-7B-Instruct-v0.2"
PIECE = 8 * 1024 * 1024


@pytest.fixture
def stack(workspace: Workspace, stub_vllm: Path) -> Iterator[Stack]:
    stack = Stack(workspace, stub_vllm)
    stack.write(more=f'[profiles.hub]\nmodel = "{MODEL}"\ndevice = "cpu"\nstart_timeout = 60')
    yield stack
    stack.run("down")


def test_bytes_on_disk_count_as_progress_of_a_known_total(stack: Stack) -> None:
    stack.fault(STUB_NEVER_READY=1)
    blobs = stack.workspace.root / "models" / "hub" / "models--mistralai--Mistral-7B-Instruct-v0.2" / "blobs"
    blobs.mkdir(parents=True)
    with stack.running("up", "hub", "--json") as command:
        eventually(lambda: any(unit["role"] == "engine" for unit in stack.status()["units"]), 30)
        (blobs / "abc.incomplete").write_bytes(b"x" * PIECE)
        assert command.stdout is not None
        events = (json.loads(line) for line in command.stdout)
        progress = next(event for event in events if event.get("phase") == "weights" and event.get("done", 0) >= PIECE)

    assert progress["total"] > 14_000_000_000
    assert progress["unit"] == "bytes"
