"""Which profile file counts, from the most explicit to the one that ships."""

from pathlib import Path

import pytest

from pmpctl.errors import ProfileFileMissing
from pmpctl.profiles.load import load
from pmpctl.profiles.locate import locate, shipped_file


def made(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("")
    return path


def test_the_more_explicit_rule_goes_before_the_next(tmp_path: Path) -> None:
    root = tmp_path / "workspace"
    root.mkdir()
    assert locate(root, None, {}) == shipped_file()
    legacy = made(root / "config/models.json")
    assert locate(root, None, {}) == legacy
    own = made(root / "profiles.toml")
    assert locate(root, None, {}) == own
    old = made(tmp_path / "old.json")
    environment = {"CONFIG_PATH": str(old)}
    assert locate(root, None, environment) == old
    new = made(tmp_path / "new.toml")
    environment["PMPCTL_CONFIG"] = str(new)
    assert locate(root, None, environment) == new
    explicit = made(tmp_path / "explicit.toml")
    assert locate(root, explicit, environment) == explicit


def test_a_relative_path_in_the_environment_counts_from_the_workspace(tmp_path: Path) -> None:
    legacy = made(tmp_path / "config/models.json")
    assert locate(tmp_path, None, {"CONFIG_PATH": "config/models.json"}) == legacy


def test_an_empty_variable_counts_as_none(tmp_path: Path) -> None:
    own = made(tmp_path / "profiles.toml")
    assert locate(tmp_path, None, {"PMPCTL_CONFIG": "", "CONFIG_PATH": ""}) == own


@pytest.mark.parametrize(
    ("config", "environment", "by"),
    [
        (Path("gone.toml"), {}, "--config"),
        (None, {"PMPCTL_CONFIG": "gone.toml"}, "$PMPCTL_CONFIG"),
        (None, {"CONFIG_PATH": "gone.json"}, "$CONFIG_PATH"),
    ],
)
def test_a_file_that_is_named_but_not_there_is_told_with_who_named_it(
    config: Path | None, environment: dict[str, str], by: str, tmp_path: Path
) -> None:
    made(tmp_path / "profiles.toml")
    with pytest.raises(ProfileFileMissing) as caught:
        locate(tmp_path, config, environment)
    assert caught.value.message.startswith(f"{by} names ")
    assert by in caught.value.cure


def test_the_shipped_file_loads() -> None:
    assert "demo" in load(shipped_file(), {}).profiles
