"""What scripts may read of the gateway's control socket and of `status --json`: keys may be added, none goes."""

import json
from pathlib import Path
from typing import Any

import jsonschema

from pmp_gateway.control_schema import (
    VERBS,
    AuthStatus,
    BackendStatus,
    DoorStatus,
    GatewayStatus,
    Phase,
    PhaseAnswer,
    Reason,
    Refusal,
)
from tests.cli import pmpctl

GUIDE = Path(__file__).parents[2] / "docs" / "gateway.md"

TEXT, COUNT, FLAG = {"type": "string"}, {"type": "integer", "minimum": 0}, {"type": "boolean"}
MAYBE_TEXT, MAYBE_NUMBER = {"type": ["string", "null"]}, {"type": ["number", "null"]}
MAYBE_COUNT, MAYBE_FLAG = {"type": ["integer", "null"]}, {"type": ["boolean", "null"]}
PHASE = {"enum": ["closed", "opening", "open", "holding", "draining"]}


def table(**properties: object) -> dict[str, Any]:
    return {"type": "object", "required": list(properties), "properties": properties}


DOOR = table(
    since={"type": "number"},
    reason={
        "enum": [
            None,
            "switch",
            "start",
            "maintenance",
            "stop",
            "switch_failed",
            "engine_failed",
            "hold_expired",
            "state_unreadable",
        ]
    },
    hold_id=MAYBE_TEXT,
    deadline=MAYBE_NUMBER,
    held_bytes=COUNT,
    held_oldest_seconds=MAYBE_NUMBER,
    engine_away_since=MAYBE_NUMBER,
    counts=table(held=COUNT, released=COUNT, refused=COUNT, left=COUNT, finished=COUNT, cancelled=COUNT),
)
ANSWER = table(
    schema={"const": 1},
    ok=FLAG,
    message=TEXT,
    refusal={
        "enum": [
            None,
            "wrong_phase",
            "held_by_another",
            "engine_away",
            "wrong_models",
            "drain_ended_early",
            "stopping",
            "invalid",
        ]
    },
    phase=PHASE,
    in_flight=COUNT,
    held=COUNT,
    door=DOOR,
)
GATEWAY_STATUS = table(
    schema={"const": 1},
    version=TEXT,
    phase=PHASE,
    in_flight=COUNT,
    held=COUNT,
    requests_total=COUNT,
    backend=table(url=TEXT, ready=FLAG, models={"type": "array", "items": TEXT}),
    auth=table(enabled=FLAG, tokens=COUNT),
    uptime_seconds={"type": "number"},
    door=DOOR,
)
STATUS = table(
    phase={"enum": ["down", "starting", "ready", "holding", "closed", "no-gateway", "engine-away", "failed"]},
    explanation=TEXT,
    profile=MAYBE_TEXT,
    models={"type": "array", "items": TEXT},
    max_model_len=MAYBE_COUNT,
    in_flight=MAYBE_COUNT,
    held=MAYBE_COUNT,
    gateway_phase={"enum": [None, *PHASE["enum"]]},
    auth=MAYBE_FLAG,
    door={"anyOf": [{"type": "null"}, DOOR]},
    listen=TEXT,
    engine_port=COUNT,
    versions={"type": "object"},
    runtime={"type": "object"},
    runtime_why=TEXT,
    units={"type": "array"},
)
CLOSED_DOOR = DoorStatus(since=1.5, reason=Reason.STOP)
HELD_DOOR = DoorStatus(
    since=1.5,
    reason=Reason.SWITCH,
    hold_id="switch-1",
    deadline=2.5,
    held_bytes=10,
    held_oldest_seconds=0.5,
    engine_away_since=1.0,
)


def as_json(data: object) -> Any:
    return json.loads(json.dumps(data))


def test_a_verbs_answer_keeps_its_keys_and_its_words() -> None:
    for refusal in (None, *Refusal):
        for door in (HELD_DOOR, CLOSED_DOOR):
            answer = PhaseAnswer(refusal is None, "said", refusal, Phase.HOLDING, 1, 2, door)
            jsonschema.validate(as_json(answer.as_data()), ANSWER)
            assert PhaseAnswer.from_data({**as_json(answer.as_data()), "added_later": 1}) == answer


def test_the_gateways_status_keeps_its_keys_and_its_words() -> None:
    for phase in Phase:
        backend, auth = BackendStatus("http://engine", True, ("llm",)), AuthStatus(True, 1)
        status = GatewayStatus("1", phase, 1, 2, 3, backend, auth, 1.5, HELD_DOOR)
        jsonschema.validate(as_json(status.as_data()), GATEWAY_STATUS)


def test_every_word_that_the_socket_may_say_is_known_here() -> None:
    assert set(DOOR["properties"]["reason"]["enum"]) == {None, *Reason}
    assert set(ANSWER["properties"]["refusal"]["enum"]) == {None, *Refusal}
    assert set(PHASE["enum"]) == set(Phase)


def test_the_status_of_a_workspace_keeps_its_keys(tmp_path: Path) -> None:
    done = pmpctl("--workspace", str(tmp_path), "--runtime", "process", "status", "--json", cwd=tmp_path)
    envelope = json.loads(done.stdout)

    assert envelope["ok"], envelope["errors"]
    jsonschema.validate(envelope["data"], STATUS)


def test_the_guide_names_every_phase_verb_and_reason() -> None:
    guide = GUIDE.read_text()

    assert [word for word in (*Phase, *Reason, *VERBS) if f"`{word}`" not in guide] == []
