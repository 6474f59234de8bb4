"""Reads the `config/models.json` of the old tool as if it were a profiles.toml."""

import contextlib
import json
import shlex
from collections.abc import Collection
from pathlib import Path
from typing import Any

import tomlkit

from pmpctl.errors import ProfileFileInvalid
from pmpctl.profiles.document import Document, read_text, syntax_problem
from pmpctl.profiles.legacy_format import ALIASES, legacy_profiles, legacy_settings
from pmpctl.profiles.lines import KeyPath, json_lines
from pmpctl.profiles.resolve import resolve
from pmpctl.profiles.write import profiles_text

_UNSET = {
    "quantization": ("", "auto", "none", "None"),
    "tool_call_parser": ("", "none", "None"),
    "reasoning_parser": ("", "none", "None"),
    "kv_cache_dtype": ("",),
    "chat_template": ("",),
    "backend_model_id": ("",),
}
"""What the old tool wrote for "leave it to vLLM"; so does null, for every key."""


def import_legacy(path: Path) -> str:
    """A legacy file as TOML text; raises ProfileFileInvalid if it could not be loaded either."""
    document = read_legacy(path)
    resolve(document)
    settings = {key: value for key, value in document.data.items() if key != "profiles"}
    header = f"# Imported from {path.name}. Every key is explained in docs/profiles.md.\n"
    return "\n".join(filter(None, (header, tomlkit.dumps(settings), profiles_text(document.data["profiles"]))))


def read_legacy(path: Path) -> Document:
    return parse_legacy(path, read_text(path))


def parse_legacy(path: Path, text: str) -> Document:
    """The file in the shape of profiles.toml, with the old names of keys replaced by vLLM's.

    What has no counterpart keeps its name, so that it is told like every other mistake.
    """
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        cure = "Mend that line, or the one before it."
        raise ProfileFileInvalid([syntax_problem(path, error.lineno, error.msg, cure)]) from error
    if not isinstance(data, dict):
        raise ProfileFileInvalid([syntax_problem(path, 1, "no JSON object", 'Write {"models": {"NAME": {...}}}.')])
    translation = _Translation(json_lines(text))
    settings = {key: translation.of((key,), (old_key,), data[old_key]) for key, old_key in legacy_settings(data)}
    profiles: dict[str, Any] = {}
    for number, old in enumerate(legacy_profiles(data), start=1):
        name = _free_name(old.name, number, profiles)
        profiles[name] = translation.of(("profiles", name), old.path, old.table, name=old.name)
    shape = {**settings, "profiles": profiles}
    return Document(path, shape, translation.lines, format="json", written=translation.written)


class _Translation:
    """Gathers where each translated key stood and how it was spelled."""

    def __init__(self, old_lines: dict[KeyPath, int]) -> None:
        self.lines: dict[KeyPath, int] = {}
        self.written: dict[KeyPath, str] = {}
        self._old_lines = old_lines

    def of(self, path: KeyPath, old_path: KeyPath, value: Any, name: str | None = None) -> Any:
        self.lines[path] = self._old_lines[old_path]
        self.written[path] = old_path[-1]
        return self._table(path, old_path, value, name) if isinstance(value, dict) else value

    def _table(self, path: KeyPath, old_path: KeyPath, table: dict[str, Any], name: str | None) -> dict[str, Any]:
        translated: dict[str, Any] = {}
        for old_key, value in table.items():
            key = ALIASES.get(old_key, old_key)
            if value is None or value in _UNSET.get(key, ()) or (key == "name" and value == name):
                continue
            if key in translated:
                key = old_key
            translated[key] = _value(key, value)
            self.lines[*path, key] = self._old_lines[*old_path, old_key]
            self.written[*path, key] = old_key
        return translated


def _free_name(name: str | None, number: int, taken: Collection[str]) -> str:
    """A name that is missing or doubled becomes one that no profile may have."""
    return name if name is not None and name not in taken else f"{name or ''}#{number}"


def _value(key: str, value: Any) -> Any:
    if key == "extra_args" and isinstance(value, str):
        with contextlib.suppress(ValueError):
            return shlex.split(value)
    return value
