"""The models.json of the old tool: loads as it is, says what is wrong in its own words, and becomes TOML."""

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from pmpctl.errors import ProfileFileInvalid, ProfileFileMissing
from pmpctl.profiles.legacy import import_legacy
from pmpctl.profiles.load import load, shipped_file
from pmpctl.profiles.model import ProfileFile
from tests.unit.profiles.files import said

PRODUCTION = Path(__file__).parent / "data" / "models.json"


def legacy(folder: Path, data: Any) -> Path:
    path = folder / "models.json"
    path.write_text(json.dumps(data, indent=2))
    return path


def contents(file: ProfileFile) -> dict[str, dict[str, Any]]:
    """Everything that a plan is made from."""
    return {name: profile.model_dump(exclude={"description"}) for name, profile in file.profiles.items()}


def test_the_table_in_production_means_the_same_shipped_as_json_and_imported(tmp_path: Path) -> None:
    imported = tmp_path / "profiles.toml"
    imported.write_text(import_legacy(PRODUCTION))
    shipped = contents(load(shipped_file(), {}))
    del shipped["demo"]
    assert contents(load(PRODUCTION, {})) == shipped
    assert contents(load(imported, {})) == shipped


@pytest.mark.parametrize(
    "shape",
    [
        {"models": {"a": {"model": "x/a"}, "b": {"model": "x/b"}}},
        {"profiles": {"a": {"model": "x/a"}, "b": {"model": "x/b"}}},
        {"a": {"model": "x/a"}, "b": {"model": "x/b"}},
        {"models": [{"name": "a", "model": "x/a"}, {"name": "b", "model": "x/b"}]},
        {"models": {"a": {"name": "a", "model": "x/a"}, "b": {"model": "x/b"}}, "version": 2, "_comment": "ours"},
        {"$schema": "x", "_note": {}, "a": {"model": "x/a"}, "b": {"model": "x/b"}},
    ],
)
def test_each_shape_of_the_file_is_understood(shape: dict[str, Any], tmp_path: Path) -> None:
    file = load(legacy(tmp_path, shape), {})
    assert {name: profile.model for name, profile in file.profiles.items()} == {"a": "x/a", "b": "x/b"}
    assert file.default is None


@pytest.mark.parametrize("key", ["default", "default_profile"])
def test_the_default_profile_is_kept_and_the_environment_goes_before_it(key: str, tmp_path: Path) -> None:
    path = legacy(tmp_path, {key: "b", "models": {"a": {"model": "x/a"}, "b": {"model": "x/b"}}})
    assert load(path, {}).default == "b"
    assert load(path, {"MODEL_PROFILE": "a"}).default == "a"
    assert tomllib.loads(import_legacy(path))["default"] == "b"


@pytest.mark.parametrize(
    ("old", "field", "value"),
    [
        ({"max_length": 5}, "max_model_len", 5),
        ({"context_length": 5}, "max_model_len", 5),
        ({"gpu_util": 0.5}, "gpu_memory_utilization", 0.5),
        ({"tool_parser": "hermes"}, "tool_call_parser", "hermes"),
        ({"quantization": None}, "quantization", None),
        ({"quantization": ""}, "quantization", None),
        ({"quantization": "none"}, "quantization", None),
        ({"quantization": "auto"}, "quantization", None),
        ({"quantization": "awq"}, "quantization", "awq"),
        ({"tool_call_parser": None}, "tool_call_parser", None),
        ({"tool_call_parser": ""}, "tool_call_parser", None),
        ({"max_model_len": None}, "max_model_len", None),
        (
            {"extra_args": "--seed 1 --hf-overrides '{\"a\": 1}'"},
            "extra_args",
            ["--seed", "1", "--hf-overrides", '{"a": 1}'],
        ),
        ({"extra_args": ["--seed", "1"]}, "extra_args", ["--seed", "1"]),
        ({"tensor_parallel_size": 2}, "tensor_parallel_size", 2),
        ({"enforce_eager": False}, "enforce_eager", False),
        ({"dtype": "half"}, "dtype", "half"),
        ({"trust_remote_code": True}, "trust_remote_code", True),
        ({"backend_model_id": "mine"}, "backend_model_id", "mine"),
    ],
)
def test_old_names_and_values_mean_what_they_meant(
    old: dict[str, Any], field: str, value: object, tmp_path: Path
) -> None:
    path = legacy(tmp_path, {"models": {"a": {"model": "x/a", **old}}})
    assert getattr(load(path, {}).profile("a"), field) == value
    toml = tmp_path / "profiles.toml"
    toml.write_text(import_legacy(path))
    assert getattr(load(toml, {}).profile("a"), field) == value


@pytest.mark.parametrize("key", ["model", "model_id", "hf_model"])
def test_the_model_may_go_by_its_old_names(key: str, tmp_path: Path) -> None:
    assert load(legacy(tmp_path, {"a": {key: "x/a"}}), {}).profile("a").model == "x/a"


def test_shared_defaults_and_extends_work_as_in_toml(tmp_path: Path) -> None:
    path = legacy(
        tmp_path,
        {"defaults": {"gpu_util": 0.5}, "a": {"model": "x/a"}, "b": {"extends": "a", "gpu_util": 0.6}},
    )
    file = load(path, {})
    assert (file.profile("a").gpu_memory_utilization, file.profile("b").gpu_memory_utilization) == (0.5, 0.6)


def test_mistakes_are_told_with_the_words_and_lines_of_the_file(tmp_path: Path) -> None:
    text = """
    {
      "default": "codign",
      "models": {
        "coding": {
          "hf_model": "Qwen",
          "max_lenght": 5,
          "gpu_util": "0.9",
          "extra_args": "--host 0.0.0.0"
        },
        "chat": {"model": "x/a", "hf_model": "x/b"},
        "wrong": "x/y"
      },
      "server_port": 8000
    }
    """
    assert said(tmp_path, text, "models.json") == [
        ('models.json:2: "default" names no profile of this file', 'Did you mean "coding"?'),
        (
            'models.json:5: [coding] "hf_model" names no model: "Qwen"',
            'Write a Hugging Face repository as "owner/name", a folder beginning with "/", "./" or "../", '
            'or "builtin:demo".',
        ),
        ('models.json:6: [coding] unknown key "max_lenght"', 'Did you mean "max_model_len"?'),
        (
            'models.json:7: [coding] "gpu_util" must be a number, not "0.9"',
            "Write it without quotes: gpu_util = 0.9.",
        ),
        (
            'models.json:8: [coding] "extra_args": "--host" is not allowed: '
            "pmpctl sets the engine's address, and the gateway is the only way in",
            "Set `listen` under [gateway].",
        ),
        ('models.json:10: [chat] unknown key "hf_model"', 'Did you mean "model"?'),
        ("models.json:11: [wrong] must be a table", "Put its keys into a table of its own."),
        (
            'models.json:13: unknown key "server_port"',
            "Remove it. Known here: default, defaults, gateway, host, profiles.",
        ),
    ]


def test_items_of_a_list_without_a_name_or_with_a_taken_one_are_told(tmp_path: Path) -> None:
    text = """
    {"models": [
      {"model": "x/a"},
      {"name": "b", "model": "x/b"},
      {"name": "b", "model": "x/c"}
    ]}
    """
    assert [message for message, _ in said(tmp_path, text, "models.json")] == [
        'models.json:2: ["#1"] is no name for a profile',
        'models.json:4: ["b#3"] is no name for a profile',
    ]


@pytest.mark.parametrize(
    ("text", "line"),
    [("{", 1), ('{"a": {"model": "x/a",}}', 1), ('{\n"a": 1\n"b": 2}', 3), ("[]", 1), ("3", 1), ("", 1)],
)
def test_broken_json_is_told_with_its_line(text: str, line: int, tmp_path: Path) -> None:
    ((message, cure),) = said(tmp_path, text, "models.json")
    assert message.startswith(f"models.json:{line}: ")
    assert cure


def test_a_file_that_could_not_be_loaded_is_not_imported(tmp_path: Path) -> None:
    with pytest.raises(ProfileFileInvalid):
        import_legacy(legacy(tmp_path, {"a": {}}))
    with pytest.raises(ProfileFileMissing):
        import_legacy(tmp_path / "gone.json")


def test_imported_text_says_where_it_is_from_and_keeps_names_that_need_quotes(tmp_path: Path) -> None:
    text = import_legacy(legacy(tmp_path, {"models": {"qwen2.5": {"model": "x/a"}}}))
    assert text.startswith("# Imported from models.json.")
    assert tomllib.loads(text) == {"profiles": {"qwen2.5": {"model": "x/a"}}}
