"""What scripts may read of `smoke --json` and `bench --json`: keys may be added, none is renamed or removed."""

import json
from pathlib import Path
from typing import Any

import jsonschema

from pmpctl.smoke.check import Group, Verdict
from pmpctl.smoke.quick import QUICK
from tests.cli import pmpctl
from tests.unit.load.paced_server import Pace, paced_server
from tests.unit.smoke.zoo.api import TOKEN, WellBehaved
from tests.unit.smoke.zoo.serving import served

TEXT, NUMBER, COUNT, FLAG = {"type": "string"}, {"type": "number"}, {"type": "integer"}, {"type": "boolean"}
MAYBE_TEXT, MAYBE_NUMBER, MAYBE_COUNT = ({"type": [kind, "null"]} for kind in ("string", "number", "integer"))
VERDICT = {"enum": ["pass", "warn", "fail", "skipped"]}
GROUP = {"enum": ["quick", "tools", "apis", "clients", "long", "soak"]}
FIGURES = {"type": "object", "additionalProperties": NUMBER}


def table(**properties: object) -> dict[str, Any]:
    return {"type": "object", "required": list(properties), "properties": properties}


def rows(**properties: object) -> dict[str, Any]:
    return {"type": "array", "minItems": 1, "items": table(**properties)}


def maybe(schema: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [{"type": "null"}, schema]}


SMOKE = table(
    url=TEXT,
    model=TEXT,
    profile=MAYBE_TEXT,
    ok=FLAG,
    counts={"type": "object", "required": VERDICT["enum"], "additionalProperties": COUNT},
    checks=rows(
        name=TEXT, group=GROUP, title=TEXT, verdict=VERDICT, seconds=NUMBER, detail=TEXT, cure=TEXT, figures=FIGURES
    ),
    seconds=NUMBER,
    interrupted=FLAG,
)
CHECK_MADE = table(event={"const": "check_made"}, name=TEXT, group=GROUP, title=TEXT, verdict=VERDICT, seconds=NUMBER)

LEVEL = {"concurrency": COUNT, "prompt_tokens": COUNT, "output_tokens": COUNT}
SPREAD = maybe(table(mean_ms=NUMBER, p50_ms=NUMBER, p95_ms=NUMBER, p99_ms=NUMBER, max_ms=NUMBER))
RANGE = maybe(table(least=COUNT, most=COUNT))
BENCH = table(
    dry_run={"const": False},
    url=TEXT,
    model=TEXT,
    model_id=TEXT,
    max_model_len=MAYBE_COUNT,
    profile=MAYBE_TEXT,
    engine=MAYBE_TEXT,
    gpus={"type": "array", "items": TEXT},
    pmpctl=TEXT,
    began_at=TEXT,
    seconds=NUMBER,
    shared_prefix=FLAG,
    exact_output=FLAG,
    levels=rows(
        level=table(**LEVEL),
        complete=FLAG,
        seconds=NUMBER,
        answered=COUNT,
        errors={"type": "object", "additionalProperties": COUNT},
        error_examples={"type": "object", "additionalProperties": TEXT},
        first_token=SPREAD,
        inter_token=SPREAD,
        chunk_gap=SPREAD,
        whole=SPREAD,
        requests_per_second=NUMBER,
        prompt_tokens_per_second=MAYBE_NUMBER,
        output_tokens_per_second=MAYBE_NUMBER,
        prompt_tokens=RANGE,
        output_tokens=RANGE,
        tokens_per_chunk=MAYBE_NUMBER,
        client=maybe(table(cpu=NUMBER, lag_p99_ms=NUMBER)),
    ),
    notes={"type": "array", "items": TEXT},
    interrupted=FLAG,
)


def test_the_checks_keep_their_form_and_one_event_tells_of_each() -> None:
    with served(WellBehaved()) as url:
        done = pmpctl("smoke", "--json", "--no-tools", "--url", url, PMPCTL_TOKEN=TOKEN)
    *events, result = [json.loads(line) for line in done.stdout.splitlines()]
    jsonschema.validate(result["data"], SMOKE)
    told = [event for event in events if event["event"] == "check_made"]
    for event in told:
        jsonschema.validate(event, CHECK_MADE)
    assert [event["name"] for event in told] == [check["name"] for check in result["data"]["checks"]]


def test_verdicts_and_groups_keep_their_words() -> None:
    assert [str(verdict) for verdict in Verdict] == VERDICT["enum"]
    assert {str(group) for group in Group} == set(GROUP["enum"])


def test_the_quick_checks_keep_their_names() -> None:
    assert {check.name for check in QUICK} >= {
        "health", "health-silent", "auth-no-token", "auth-wrong-token", "auth-empty-token", "engine-hidden", "models",
        "unknown-route", "context", "answer", "stream", "first-token", "stream-end", "stream-usage", "max-tokens",
        "stop", "too-long", "cancel",
    }  # fmt: skip


def test_a_measurement_keeps_its_form(tmp_path: Path) -> None:
    sizes = ("--prompt-tokens", "64", "--output-tokens", "8", "--concurrency", "1", "--requests", "2")
    with paced_server(Pace(), 8) as url:
        done = pmpctl("bench", "--json", "--url", url, *sizes, "--output", "bench.json", cwd=tmp_path)
    data = json.loads(done.stdout.splitlines()[-1])["data"]
    jsonschema.validate(data, BENCH)
    assert json.loads((tmp_path / "bench.json").read_text()) == data
