"""What scripts may read of the checks at the end of `up --json` and `switch --json`: keys may be added, none goes."""

from collections.abc import Iterator
from pathlib import Path

import jsonschema
import pytest

from pmpctl.workspace import Workspace
from tests.contract.test_smoke_json import SMOKE
from tests.stack import Stack


@pytest.fixture
def stack(workspace: Workspace, stub_vllm: Path) -> Iterator[Stack]:
    stack = Stack(workspace, stub_vllm, smoke=True)
    stack.write()
    yield stack
    stack.run("down")


def test_the_result_holds_the_checks_as_smoke_tells_them_and_null_without_them(stack: Stack) -> None:
    checked = [stack.json(command, "coding")["data"]["smoke"] for command in ("switch", "up")]
    unchecked = [stack.json(command, "coding", "--no-smoke")["data"]["smoke"] for command in ("switch", "up")]

    for smoke in checked:
        jsonschema.validate(smoke, SMOKE)
        assert {check["group"] for check in smoke["checks"]} == {"quick"}
    assert unchecked == [None, None]
