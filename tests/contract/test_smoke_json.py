"""What scripts may read of the checks at the end of `up` and `switch`: keys may be added, none goes."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from pmpctl.workspace import Workspace
from tests.stack import Stack

TEXT, NUMBER, COUNT = {"type": "string"}, {"type": "number"}, {"type": "integer", "minimum": 0}
VERDICTS = ("pass", "warn", "fail", "skipped")


def table(**properties: object) -> dict[str, Any]:
    return {"type": "object", "required": list(properties), "properties": properties}


CHECK = table(
    name={"type": "string", "pattern": "^[a-z]+(-[a-z]+)*$"},
    group={"const": "quick"},
    title=TEXT,
    verdict={"enum": [*VERDICTS]},
    seconds=NUMBER,
    detail=TEXT,
    cure=TEXT,
    figures={"type": "object", "additionalProperties": NUMBER},
)
SMOKE = table(
    url=TEXT,
    model=TEXT,
    profile=TEXT,
    ok={"type": "boolean"},
    counts=table(**dict.fromkeys(VERDICTS, COUNT)),
    checks={"type": "array", "items": CHECK, "minItems": 1},
    seconds=NUMBER,
    interrupted={"const": False},
)


@pytest.fixture
def stack(workspace: Workspace, stub_vllm: Path) -> Iterator[Stack]:
    stack = Stack(workspace, stub_vllm, smoke=True)
    stack.write()
    yield stack
    stack.run("down")


def test_the_result_holds_each_check_and_an_event_told_it_before(stack: Stack) -> None:
    *lines, last = stack.run("switch", "coding", "--json").stdout.splitlines()

    smoke = json.loads(last)["data"]["smoke"]
    jsonschema.validate(smoke, SMOKE)
    events = [event for event in map(json.loads, lines) if event["event"] == "check_made"]
    assert [event["name"] for event in events] == [check["name"] for check in smoke["checks"]]

    again = stack.json("up", "coding")["data"]["smoke"]
    jsonschema.validate(again, SMOKE)


def test_without_checks_the_field_is_null(stack: Stack) -> None:
    for command in ("up", "switch"):
        assert stack.json(command, "coding", "--no-smoke")["data"]["smoke"] is None
