"""Names for shell completion: at once, and whatever state the file is in."""

import subprocess
import sys
from pathlib import Path

import pytest

from pmpctl.profiles.names import profile_names
from tests.unit.profiles.files import written


def test_names_are_read_from_both_formats_in_the_order_of_the_file(tmp_path: Path) -> None:
    toml = written(tmp_path, '[profiles.b]\nmodel = 1\n[profiles.a]\n[profiles."c.d"]\n')
    json = written(tmp_path, '{"models": [{"name": "b"}, {"name": "a"}, {}, 3]}', "models.json")
    assert profile_names(toml) == ["b", "a", "c.d"]
    assert profile_names(json) == ["b", "a"]


@pytest.mark.parametrize("name", ["profiles.toml", "models.json"])
@pytest.mark.parametrize("text", ["", "[", "[]", "3", '"x"', "profiles = 3", "null", "\x00", "[profiles]"])
def test_a_broken_file_has_no_names_and_raises_nothing(text: str, name: str, tmp_path: Path) -> None:
    assert profile_names(written(tmp_path, text, name)) == []


def test_a_missing_or_unreadable_file_has_no_names(tmp_path: Path) -> None:
    (tmp_path / "latin.toml").write_bytes(b"# \xe4\n[profiles.a]")
    assert profile_names(tmp_path / "gone.toml") == []
    assert profile_names(tmp_path / "latin.toml") == []
    assert profile_names(tmp_path) == []


def test_neither_names_nor_the_search_for_the_file_load_anything_heavy() -> None:
    code = "import pmpctl.profiles.names, pmpctl.profiles.locate, sys; print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = ran.stdout.split()
    assert "pmpctl.profiles.names" in loaded
    assert not {"pydantic", "tomlkit", "typing_extensions", "asyncio"} & set(loaded)
