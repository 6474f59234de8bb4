"""A workspace whose engine and gateway are processes; what a test started in it is stopped."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pmpctl.workspace import Workspace
from tests.stack import Stack


@pytest.fixture
def stack(workspace: Workspace, stub_vllm: Path) -> Iterator[Stack]:
    stack = Stack(workspace, stub_vllm)
    stack.write()
    yield stack
    stack.run("down")
