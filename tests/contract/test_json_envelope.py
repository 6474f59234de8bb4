"""What scripts rely on: a change here is a change of the schema's version."""

import json
from io import StringIO
from typing import Any

import jsonschema
import pytest

from pmpctl.errors import DockerNotAvailable, DoesNotFit, ExitStatus, Problem, ProfileFileInvalid
from pmpctl.ui.console import Ui

ENVELOPE = {
    "type": "object",
    "additionalProperties": False,
    "required": ["schema", "command", "ok", "exit_status", "data", "errors"],
    "properties": {
        "schema": {"const": 1},
        "command": {"type": "string"},
        "ok": {"type": "boolean"},
        "exit_status": {"enum": [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 130]},
        "data": {},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": ["code", "message", "cure", "details"],
                "properties": {
                    "code": {"type": "string", "pattern": "^[a-z]+(_[a-z]+)*$"},
                    "message": {"type": "string", "minLength": 1},
                    "cure": {"type": "string", "minLength": 1},
                    "details": {"type": "array", "items": {"type": "string"}},
                },
            },
        },
    },
}

TWO_PROBLEMS = (Problem("unknown_key", "a", "b"), Problem("wrong_type", "c", "d"))


def the_only_line(stream: StringIO) -> dict[str, Any]:
    (line,) = stream.getvalue().splitlines()
    document = json.loads(line)
    jsonschema.validate(document, ENVELOPE)
    assert isinstance(document, dict)
    return document


def test_exit_statuses_keep_their_numbers() -> None:
    assert {status.name: int(status) for status in ExitStatus} == {
        "DONE": 0,
        "BUG": 1,
        "INVALID": 2,
        "DOES_NOT_FIT": 3,
        "ENGINE_FAILED": 4,
        "SWITCH_ROLLED_BACK": 5,
        "SWITCH_FAILED": 6,
        "SMOKE_FAILED": 7,
        "HOST_NOT_READY": 8,
        "LOCKED": 9,
        "NETWORK": 10,
        "TIMED_OUT": 11,
        "INTERRUPTED": 130,
    }


def test_success_is_one_line_with_data_and_no_errors() -> None:
    out = StringIO()

    Ui(json_output=True, stdout=out).result("status", {"profile": "demo"}, "not shown")

    assert the_only_line(out) == {
        "schema": 1,
        "command": "status",
        "ok": True,
        "exit_status": 0,
        "data": {"profile": "demo"},
        "errors": [],
    }


def test_an_outcome_that_is_a_refusal_has_its_data_and_the_error_and_names_the_exit_status() -> None:
    out = StringIO()
    refusal = DoesNotFit("too large", cure="Take less.")

    assert Ui(json_output=True, stdout=out).result("vram-check", {"missing_gib": 1}, "not shown", refusal) == 3

    assert the_only_line(out) == {
        "schema": 1,
        "command": "vram-check",
        "ok": False,
        "exit_status": 3,
        "data": {"missing_gib": 1},
        "errors": [{"code": "does_not_fit", "message": "too large", "cure": "Take less.", "details": []}],
    }


@pytest.mark.parametrize(
    ("error", "status", "codes"),
    [
        (DockerNotAvailable("No engine.", cure="Start it.", details=["tried a socket"]), 8, ["docker_not_available"]),
        (ProfileFileInvalid(TWO_PROBLEMS), 2, ["unknown_key", "wrong_type"]),
        (KeyboardInterrupt(), 130, ["interrupted"]),
        (ZeroDivisionError("division by zero"), 1, ["bug"]),
        (ZeroDivisionError(), 1, ["bug"]),
    ],
    ids=["ours", "many problems", "interrupted", "bug", "bug without words"],
)
def test_failure_is_one_line_with_every_error_and_the_exit_status(
    error: BaseException, status: int, codes: list[str]
) -> None:
    out = StringIO()

    assert Ui(json_output=True, stdout=out).fail("up", error) == status

    document = the_only_line(out)
    assert document | {"errors": []} == {
        "schema": 1,
        "command": "up",
        "ok": False,
        "exit_status": status,
        "data": None,
        "errors": [],
    }
    assert [each["code"] for each in document["errors"]] == codes
