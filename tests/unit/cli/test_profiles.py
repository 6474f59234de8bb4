import json
import tomllib
from pathlib import Path

import pytest

from pmpctl.profiles.schema import schema
from tests.cli import pmpctl

PROFILES = """\
default = "coding"

[defaults]
gpu_memory_utilization = 0.8

# The team's own.
[profiles.coding]
description = "Writes code"
model = "owner/coder"
max_model_len = 32768

[profiles.coding-long]
extends = "coding"
max_model_len = 40960
"""

OLD = {
    "defaults": {"gpu_util": 0.7},
    "models": {
        "coding": {"model_id": "owner/other", "max_length": 1024},
        "chat": {"model_id": "owner/chat", "max_length": 8192},
    },
}


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    (tmp_path / "profiles.toml").write_text(PROFILES)
    (tmp_path / "old.json").write_text(json.dumps(OLD))
    return tmp_path


def test_list_shows_each_profile_with_its_model_and_context(workspace: Path) -> None:
    lines = pmpctl("profiles", "list", cwd=workspace).stdout.splitlines()

    assert lines[0].split() == ["PROFILE", "MODEL", "CONTEXT", "DEVICE", "DESCRIPTION"]
    assert lines[1].split("  ")[0] == "coding (default)"
    assert lines[2].split() == ["coding-long", "owner/coder", "40960", "cuda", "Writes", "code"]


def test_list_as_json_has_the_default_and_the_file(workspace: Path) -> None:
    data = json.loads(pmpctl("profiles", "list", "--json", cwd=workspace).stdout)["data"]

    assert (data["path"], data["default"]) == (str(workspace / "profiles.toml"), "coding")
    assert [each["name"] for each in data["profiles"]] == ["coding", "coding-long"]


def test_show_fills_in_what_a_profile_inherits_and_is_toml_to_paste(workspace: Path) -> None:
    done = pmpctl("profiles", "show", "coding-long", cwd=workspace)

    table = tomllib.loads(done.stdout)["profiles"]["coding-long"]
    assert (table["model"], table["max_model_len"], table["gpu_memory_utilization"]) == ("owner/coder", 40960, 0.8)


def test_showing_an_unknown_profile_suggests_a_known_one(workspace: Path) -> None:
    done = pmpctl("profiles", "show", "codign", cwd=workspace)

    assert done.returncode == 2
    assert 'Did you mean "coding"?' in done.stderr


def test_validate_reports_every_problem_with_its_line(workspace: Path) -> None:
    faulty = workspace / "faulty.toml"
    faulty.write_text('[profiles.a]\nmodle = "x/y"\n\n[profiles.b]\nmodel = "x/y"\nmax_model_len = "many"\n')

    good, bad = pmpctl("profiles", "validate", cwd=workspace), pmpctl("profiles", "validate", str(faulty), "--json")

    assert (good.returncode, good.stdout.count("2 profiles, no problem")) == (0, 1)
    assert bad.returncode == 2
    messages = [each["message"] for each in json.loads(bad.stdout)["errors"]]
    assert any(":2:" in message and "modle" in message for message in messages)
    assert any(":6:" in message and "max_model_len" in message for message in messages)


def test_validating_a_file_that_is_not_there_says_so(workspace: Path) -> None:
    done = pmpctl("profiles", "validate", "missing.toml", "--json", cwd=workspace)

    assert done.returncode == 2
    assert json.loads(done.stdout)["errors"][0]["code"] == "profile_file_missing"


def test_the_schema_is_printed_as_it_is() -> None:
    assert json.loads(pmpctl("profiles", "schema").stdout) == schema()
    assert json.loads(pmpctl("profiles", "schema", "--json").stdout)["data"] == schema()


def test_import_writes_a_new_file_that_loads(workspace: Path) -> None:
    done = pmpctl("profiles", "import", "old.json", "--into", "new.toml", cwd=workspace)

    assert (done.returncode, done.stderr) == (0, "")
    shown = json.loads(pmpctl("-c", "new.toml", "profiles", "show", "chat", "--json", cwd=workspace).stdout)
    profile = shown["data"]["profile"]
    assert (profile["model"], profile["max_model_len"]) == ("owner/chat", 8192)
    assert profile["gpu_memory_utilization"] == 0.7


def test_import_into_a_file_with_another_profile_of_that_name_changes_nothing(workspace: Path) -> None:
    done = pmpctl("profiles", "import", "old.json", "--json", cwd=workspace)

    assert done.returncode == 2
    assert json.loads(done.stdout)["errors"][0]["code"] == "profile_conflict"
    assert (workspace / "profiles.toml").read_text() == PROFILES


def test_import_with_replace_keeps_comments_and_the_old_files_own_defaults(workspace: Path) -> None:
    done = pmpctl("profiles", "import", "old.json", "--replace", "--json", cwd=workspace)

    data = json.loads(done.stdout)["data"]
    assert (data["new"], data["replaced"], data["created"]) == (["chat"], ["coding"], False)
    text = (workspace / "profiles.toml").read_text()
    assert "# The team's own." in text
    assert tomllib.loads(text)["profiles"]["chat"]["gpu_memory_utilization"] == 0.7
    assert tomllib.loads(text)["defaults"] == {"gpu_memory_utilization": 0.8}
