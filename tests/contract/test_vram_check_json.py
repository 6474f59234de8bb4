"""What scripts may read of `vram-check --json`: keys may be added, none is renamed or removed."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.cli import pmpctl

NUMBER, TEXT, COUNT = {"type": "number"}, {"type": "string"}, {"type": "integer", "minimum": 0}
VERDICT = {"enum": ["fits", "tight", "does not fit"]}


def table(**properties: object) -> dict[str, Any]:
    return {"type": "object", "required": list(properties), "properties": properties}


def rows(**properties: object) -> dict[str, Any]:
    return {"type": "array", "items": table(**properties)}


ASSESSMENT = table(
    profile=TEXT,
    model=TEXT,
    revision={"type": ["string", "null"]},
    facts_source=TEXT,
    architecture=TEXT,
    architecture_known={"type": "boolean"},
    card=table(name=TEXT, total_gib=NUMBER),
    card_why=TEXT,
    free_gib={"type": ["number", "null"]},
    settings=table(max_model_len=COUNT, gpu_memory_utilization=NUMBER, kv_cache_dtype=TEXT),
    what_if={"type": "object"},
    verdict=VERDICT,
    reasons={"type": "array", "items": TEXT},
    margin_gib=NUMBER,
    band_gib=NUMBER,
    basis={"enum": ["estimated", "corrected", "measured"]},
    evidence=TEXT,
    by_formulas=table(weights_gib=NUMBER, kv_available_gib=NUMBER, verdict=VERDICT, safe_context=COUNT),
    lines=rows(
        kind={"enum": ["card", "budget", "share", "outside", "available", "needed", "left"]},
        name=TEXT,
        gib=NUMBER,
        formula=TEXT,
        source=TEXT,
    ),
    budget_gib=NUMBER,
    kv_available_gib=NUMBER,
    kv_needed_gib=NUMBER,
    largest_context=COUNT,
    safe_context=COUNT,
    model_context={"type": ["integer", "null"]},
    concurrency=rows(tokens=COUNT, requests={"type": ["number", "null"]}),
    advice=rows(change=TEXT, gained_gib=NUMBER, verdict=VERDICT, safe_context=COUNT),
    notes={"type": "array", "items": TEXT},
)
NOT_ASSESSED = table(profile=TEXT, problem=table(code=TEXT, message=TEXT, cure=TEXT))


@pytest.mark.parametrize(
    ("argv", "schema"),
    [
        (("coding-v2",), ASSESSMENT),
        (("coding-v2", "--context", "32768"), ASSESSMENT),
        (("coding-v2", "--fit"), table(toml=TEXT, assessment=ASSESSMENT)),
        (("--all",), table(profiles={"type": "array", "items": {"anyOf": [ASSESSMENT, NOT_ASSESSED]}})),
    ],
    ids=["one", "one that does not fit", "fit", "all"],
)
def test_the_data_keep_their_shape(argv: tuple[str, ...], schema: dict[str, Any], tmp_path: Path) -> None:
    done = pmpctl("vram-check", *argv, "--gpu", "A30", "--json", cwd=tmp_path)

    jsonschema.validate(json.loads(done.stdout)["data"], schema)
