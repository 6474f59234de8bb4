"""The line of every key: what parsers do not tell and every message needs."""

import json
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pmpctl.profiles.lines import json_lines, toml_lines

TOML = r'''# a comment with [a.table] and key = "value"
default = "coding"

[host]   # [not.a.table]
vram_budget_gib = 24
docker.host = "unix:///x" # dotted

[ profiles . "my.model" ]
description = """
[profiles.fake]
model = "inside \""" a string"
"""
model = 'a#b'  # comment
extra_args = [
  "--seed", "1", # ] not the end
  "[profiles.other]",
]
revision = """\
max_model_len = 1
"""
inline = { a = 1, "b c" = { d = [1, 2] }, e.f = 3 }
last = 1979-05-27 07:32:00

[profiles]
x = {}
'''


def test_every_key_of_a_toml_file_has_the_line_on_which_it_begins() -> None:
    lines = toml_lines(TOML)
    here = ("profiles", "my.model")
    assert tomllib.loads(TOML)["profiles"]["my.model"]["inline"]["b c"] == {"d": [1, 2]}
    assert lines == {
        ("default",): 2,
        ("host",): 4,
        ("host", "vram_budget_gib"): 5,
        ("host", "docker"): 6,
        ("host", "docker", "host"): 6,
        ("profiles",): 8,
        here: 8,
        (*here, "description"): 9,
        (*here, "model"): 13,
        (*here, "extra_args"): 14,
        (*here, "revision"): 18,
        (*here, "inline"): 21,
        (*here, "inline", "a"): 21,
        (*here, "inline", "b c"): 21,
        (*here, "inline", "b c", "d"): 21,
        (*here, "inline", "e"): 21,
        (*here, "inline", "e", "f"): 21,
        (*here, "last"): 22,
        ("profiles", "x"): 25,
    }


def test_arrays_of_tables_and_windows_line_ends_are_read_too() -> None:
    text = '[[items]]\r\nname = "a"\r\n[[items]]\r\nname = "b"\r\nsize = 1\r\n'
    assert toml_lines(text) == {("items",): 1, ("items", "name"): 2, ("items", "size"): 5}


def test_every_key_of_a_json_file_has_the_line_on_which_it_stands() -> None:
    text = """{
  "models": {
    "coding": {"model": "a\\"}: {b",
               "extra_args": ["--seed", "1"]}
  },
  "list": [
    {"name": "a"},
    {"name": "b", "n": -1.5e3}
  ],
  "default": null
}"""
    json.loads(text)
    assert json_lines(text) == {
        ("models",): 2,
        ("models", "coding"): 3,
        ("models", "coding", "model"): 3,
        ("models", "coding", "extra_args"): 4,
        ("models", "coding", "extra_args", "0"): 4,
        ("models", "coding", "extra_args", "1"): 4,
        ("list",): 6,
        ("list", "0"): 7,
        ("list", "0", "name"): 7,
        ("list", "1"): 8,
        ("list", "1", "name"): 8,
        ("list", "1", "n"): 8,
        ("default",): 10,
    }


KEYS = st.text(min_size=1, max_size=8)
TABLES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=12,
)


@given(st.dictionaries(KEYS, TABLES, max_size=4), st.sampled_from([None, 2]))
def test_no_key_of_any_json_file_is_missed(data: dict[str, object], indent: int | None) -> None:
    lines = json_lines(json.dumps(data, indent=indent))
    assert {path[0] for path in lines} == set(data)
    assert list(lines.values()) == sorted(lines.values())


@pytest.mark.parametrize(
    "value", ['""', "''", '"""a"b"""', '"""a""""', "'''''x'''''", r'"\\"', "[[], [[]]]", "{}", "+inf"]
)
def test_the_key_after_any_value_is_still_found(value: str) -> None:
    text = f"first = {value}\nsecond = 1"
    tomllib.loads(text)
    assert toml_lines(text) == {("first",): 1, ("second",): 2}
