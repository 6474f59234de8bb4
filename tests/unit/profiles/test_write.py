"""Profiles added to a file that people edit: nothing they wrote is lost, nothing is replaced unasked."""

import stat
from pathlib import Path
from typing import Any

import pytest

from pmpctl.errors import ProfileConflict, ProfileFileInvalid
from pmpctl.profiles.legacy import read_legacy
from pmpctl.profiles.load import load, shipped_file
from pmpctl.profiles.write import Added, add_profiles
from tests.unit.profiles.files import written

MINE = """
# my machines
[defaults]
dtype = "half"   # half for the old card

# the one we use
[profiles.coding]
model = "acme/coder"  # the small one
max_model_len = 1000

# do not touch
[host]
vram_budget_gib = 24
"""
NEW: dict[str, dict[str, Any]] = {"chat": {"model": "acme/chat", "extra_args": ["--seed", "1"]}}


def test_new_profiles_are_added_and_every_line_that_was_there_stays(tmp_path: Path) -> None:
    path = written(tmp_path, MINE)
    before = path.read_text()
    assert add_profiles(path, NEW) == Added(new=("chat",), replaced=(), same=())
    assert path.read_text() == before + '\n[profiles.chat]\nmodel = "acme/chat"\nextra_args = ["--seed", "1"]\n'
    file = load(path, {})
    assert (file.profile("chat").dtype, file.profile("coding").max_model_len) == ("half", 1000)


def test_what_is_there_already_with_the_same_meaning_is_left_alone(tmp_path: Path) -> None:
    path = written(tmp_path, MINE)
    before = path.read_text()
    same = {"coding": {"model": "acme/coder", "max_model_len": 1000, "dtype": "half"}}
    assert add_profiles(path, same) == Added(new=(), replaced=(), same=("coding",))
    assert path.read_text() == before


def test_another_profile_of_the_same_name_is_not_replaced_unasked_and_nothing_is_written(tmp_path: Path) -> None:
    path = written(tmp_path, MINE)
    before = path.read_text()
    with pytest.raises(ProfileConflict) as caught:
        add_profiles(path, {**NEW, "coding": {"model": "acme/other"}})
    assert caught.value.message.endswith("has other profiles of the same name: coding")
    assert path.read_text() == before


def test_a_profile_is_replaced_in_its_place_when_asked_and_comments_stay(tmp_path: Path) -> None:
    path = written(tmp_path, MINE)
    other = {"coding": {"model": "acme/other", "max_num_seqs": 4}}
    assert add_profiles(path, other, replace=True) == Added(new=(), replaced=("coding",), same=())
    text = path.read_text()
    for kept in ("# my machines", "# half for the old card", "# the one we use\n[profiles.coding]", "# the small one"):
        assert kept in text
    assert text.index("max_num_seqs = 4") < text.index("# do not touch\n[host]")
    profile = load(path, {}).profile("coding")
    assert (profile.model, profile.max_num_seqs, profile.max_model_len) == ("acme/other", 4, None)


def test_a_profile_written_in_one_line_is_replaced_too(tmp_path: Path) -> None:
    path = written(tmp_path, '[profiles]\na = { model = "x/a", dtype = "half" }\nb = { model = "x/b" }  # second\n')
    add_profiles(path, {"a": {"model": "x/c", "max_num_seqs": 4}}, replace=True)
    file = load(path, {})
    assert (file.profile("a").model, file.profile("a").max_num_seqs, file.profile("a").dtype) == ("x/c", 4, "auto")
    assert 'b = { model = "x/b" }  # second' in path.read_text()


def test_a_file_that_is_not_there_is_made(tmp_path: Path) -> None:
    path = tmp_path / "profiles.toml"
    assert add_profiles(path, NEW).new == ("chat",)
    assert load(path, {}).profile("chat").model == "acme/chat"
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_the_rights_of_the_file_stay_and_no_other_file_is_left_behind(tmp_path: Path) -> None:
    path = written(tmp_path, MINE)
    path.chmod(0o600)
    add_profiles(path, NEW)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [file.name for file in tmp_path.iterdir()] == ["profiles.toml"]


def test_what_would_make_the_file_invalid_is_not_written(tmp_path: Path) -> None:
    path = written(tmp_path, MINE)
    before = path.read_text()
    with pytest.raises(ProfileFileInvalid):
        add_profiles(path, {"chat": {"model": "acme/chat", "typo": 1}})
    assert path.read_text() == before


def test_a_broken_file_is_told_and_not_touched(tmp_path: Path) -> None:
    path = written(tmp_path, "[profiles.a]\n")
    with pytest.raises(ProfileFileInvalid):
        add_profiles(path, NEW)
    assert path.read_text() == "[profiles.a]\n"


def test_the_old_tools_table_adds_nothing_to_the_shipped_file(tmp_path: Path) -> None:
    path = written(tmp_path, shipped_file().read_text())
    before = path.read_text()
    old = read_legacy(Path(__file__).parent / "data" / "models.json")
    added = add_profiles(path, old.data["profiles"])
    assert (added.new, added.replaced, len(added.same)) == ((), (), 8)
    assert path.read_text() == before
