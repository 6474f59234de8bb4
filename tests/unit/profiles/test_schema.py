"""The JSON Schema for editors: committed as generated, and of one mind with the loader."""

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from pmpctl.profiles.schema import schema

ROOT = Path(__file__).parents[3]

Draft202012Validator.check_schema(schema())
VALIDATOR = Draft202012Validator(schema())


def accepted(text: str) -> bool:
    return bool(VALIDATOR.is_valid(tomllib.loads(text)))


def test_the_committed_schema_is_the_generated_one() -> None:
    committed = (ROOT / "profiles.schema.json").read_text()
    assert json.loads(committed) == schema(), "run: python -m pmpctl.profiles.schema > profiles.schema.json"


def test_the_shipped_file_is_valid_and_points_editors_to_the_schema() -> None:
    text = (ROOT / "profiles.toml").read_text()
    assert text.startswith("#:schema ./profiles.schema.json\n")
    assert accepted(text)


@pytest.mark.parametrize(
    "keys",
    [
        "typo = 1",
        'max_model_len = "32768"',
        "max_model_len = 0",
        "gpu_memory_utilization = 1.1",
        'kv_cache_dtype = "fp9"',
        'tool_call_parser = "--host"',
        'extra_args = "--seed"',
        "requests = { max_token = 1 }",
        "requests = { max_n = 0 }",
        'requests = { allow_fields = ["prompt_embeds"] }',
        'requests = { media_domains = ["https://a.example"] }',
        'name = "it"',
    ],
)
def test_editors_mark_what_the_loader_refuses(keys: str) -> None:
    assert accepted('[profiles.it]\nmodel = "acme/coder"\n')
    assert not accepted(f'[profiles.it]\nmodel = "acme/coder"\n{keys}\n')


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[profiles]",
        '[profiles.llm]\nmodel = "a/b"',
        '[profiles."A b"]\nmodel = "a/b"',
        '[profiles.it]\nmodel = "Qwen"',
        '[defaults]\nextends = "it"\n[profiles.it]\nmodel = "a/b"',
        '[host]\nlisten = "x"\n[profiles.it]\nmodel = "a/b"',
    ],
)
def test_editors_mark_wrong_tables_and_names(text: str) -> None:
    assert not accepted(text)


def test_a_profile_may_leave_its_model_to_its_parent_and_every_key_is_described() -> None:
    assert accepted('[profiles.a]\nmodel = "a/b"\n[profiles.b]\nextends = "a"\n')
    for table in _tables(schema()):
        assert all(key.get("description") for key in table["properties"].values())


def _tables(whole: dict[str, Any]) -> list[dict[str, Any]]:
    tables = whole["properties"]
    named = [tables["defaults"], tables["gateway"], tables["host"], tables["profiles"]["additionalProperties"]]
    return [*named, *whole["$defs"].values()]
