"""`pmpctl render compose`, as a user types it."""

import json
import stat
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cli import pmpctl

PROFILES = """
default = "small"

[profiles.small]
model = "acme/small"
device = "cpu"

[profiles.large]
model = "acme/large"
"""

NO_DOCKER: dict[str, Any] = {"DOCKER_HOST": "unix:///nonexistent/docker.sock"}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A workspace with two profiles; `small` runs on a CPU, and is the default."""
    (tmp_path / "profiles.toml").write_text(PROFILES)
    return tmp_path


def files_under(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): path.read_text() for path in sorted(folder.rglob("*")) if path.is_file()
    }


def test_without_options_the_file_is_printed_and_nothing_else_is_on_stdout(home: Path) -> None:
    done = pmpctl("render", "compose", cwd=home)

    services = yaml.safe_load(done.stdout)["services"]
    assert done.stdout.startswith("# Rendered by")
    assert "acme/small" in services["engine"]["command"]
    assert "profile: small" in done.stderr
    assert done.returncode == 0


def test_a_written_file_names_the_workspace_s_folders_from_where_it_lies(home: Path) -> None:
    (home / "deploy").mkdir()
    done = pmpctl("render", "compose", "small", "--output", "deploy/stack.yaml", cwd=home)

    file = home / "deploy/stack.yaml"
    assert "../models:/root/.cache/huggingface" in yaml.safe_load(file.read_text())["services"]["engine"]["volumes"]
    assert stat.S_IMODE(file.stat().st_mode) == 0o644
    assert str(file) in done.stdout


def test_a_folder_that_is_not_there_is_said_with_a_cure(home: Path) -> None:
    done = pmpctl("render", "compose", "small", "-o", "nowhere/stack.yaml", cwd=home)

    assert done.returncode == 8
    assert "nowhere/stack.yaml cannot be written" in done.stderr
    assert "cure: " in done.stderr


def test_a_gpu_profile_is_rendered_without_docker_and_says_what_it_supposes(home: Path) -> None:
    done = pmpctl("render", "compose", "large", cwd=home, **NO_DOCKER)

    engine = yaml.safe_load(done.stdout)["services"]["engine"]
    assert engine["deploy"]["resources"]["reservations"]["devices"][0]["count"] == "all"
    assert "by device requests" in done.stderr


def test_a_folder_has_every_profile_and_is_the_same_with_and_without_docker_and_model_profile(home: Path) -> None:
    pmpctl("render", "compose", "--directory", "compose", cwd=home)
    first = files_under(home / "compose")
    done = pmpctl("render", "compose", "--directory", "compose", cwd=home, MODEL_PROFILE="large", **NO_DOCKER)

    assert set(first) == {".env.example", "compose.yaml", "engines/large.yaml", "engines/small.yaml"}
    assert files_under(home / "compose") == first
    assert "Wrote 4 files" in done.stdout


def test_the_engine_of_a_profile_that_is_gone_goes_too_and_other_files_stay(home: Path) -> None:
    pmpctl("render", "compose", "--directory", "compose", cwd=home)
    (home / "compose/engines/mine.yaml").write_text("services: {}\n")
    (home / "profiles.toml").write_text(PROFILES.partition("[profiles.large]")[0])
    done = pmpctl("render", "compose", "--directory", "compose", cwd=home)

    assert {path.name for path in (home / "compose/engines").iterdir()} == {"small.yaml", "mine.yaml"}
    assert "removed engines/large.yaml" in done.stdout


def test_a_wide_listener_in_a_folder_is_warned_about(home: Path) -> None:
    (home / "profiles.toml").write_text(f'{PROFILES}\n[gateway]\nlisten = "0.0.0.0:8000"\n')
    done = pmpctl("render", "compose", "--directory", "compose", cwd=home)

    assert done.returncode == 0
    assert "warning: compose opens the API on 0.0.0.0:8000" in done.stderr


@pytest.mark.parametrize("more", [["small"], ["--output", "stack.yaml"]])
def test_a_folder_for_all_profiles_takes_neither_profile_nor_file(home: Path, more: list[str]) -> None:
    done = pmpctl("render", "compose", "--directory", "compose", *more, cwd=home)

    assert done.returncode == 2
    assert "cure: Leave out PROFILE and --output" in done.stderr
    assert not (home / "compose").exists()


def test_json_carries_the_text(home: Path) -> None:
    done = pmpctl("--json", "render", "compose", "small", cwd=home)

    answer = json.loads(done.stdout.splitlines()[-1])
    assert answer["command"] == "render compose"
    assert yaml.safe_load(answer["data"]["text"])["services"].keys() == {"engine", "gateway"}
