"""Adds profiles to a profiles.toml that people edit, too: what they wrote, comments and order, stays as it is."""

from collections.abc import Collection, Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.items import InlineTable

from pmpctl.errors import ProfileConflict
from pmpctl.files import write_atomically
from pmpctl.profiles.document import parse_toml, read_text, shown
from pmpctl.profiles.lines import toml_lines
from pmpctl.profiles.model import Profile
from pmpctl.profiles.resolve import resolve


@dataclass(frozen=True, slots=True)
class Added:
    """Names by what became of them; `same` are those that were there already with the same content."""

    new: tuple[str, ...]
    replaced: tuple[str, ...]
    same: tuple[str, ...]


def add_profiles(path: Path, tables: Mapping[str, Mapping[str, Any]], *, replace: bool = False) -> Added:
    """Write `tables` as [profiles.NAME] into the file at `path`, which need not exist.

    What a table leaves open, the [defaults] of that file decide. Raises ProfileConflict, and writes nothing, when a
    profile of that name with other content is there and `replace` is not set.
    """
    text = read_text(path) if path.exists() else ""
    document = parse_toml(path, text)
    old = resolve(document).profiles if document.data.get("profiles") else {}
    wanted = resolve(parse_toml(path, _edited(text, tables, old))).profiles
    new = tuple(name for name in tables if name not in old)
    same = tuple(name for name in tables if name in old and _alike(old[name], wanted[name], tables[name]))
    other = tuple(name for name in tables if name not in (*new, *same))
    if other and not replace:
        raise ProfileConflict(
            f"{shown(path)} has other profiles of the same name: {', '.join(other)}",
            cure="Rename them on one side, or replace those in the file with --replace.",
        )
    if new or other:
        changed = {name: tables[name] for name in (*new, *other)}
        write_atomically(
            path, _edited(text, changed, old), mode=path.stat().st_mode & 0o777 if path.exists() else 0o644
        )
    return Added(new, other, same)


def profiles_text(tables: Mapping[str, Mapping[str, Any]]) -> str:
    """The tables as they stand in a profiles.toml, with a blank line between them."""
    toml = tomlkit.document()
    profiles = tomlkit.table(is_super_table=True)
    for name, values in tables.items():
        profiles[name] = tomlkit.item(dict(values))
    toml["profiles"] = profiles
    return tomlkit.dumps(toml)


def _edited(text: str, tables: Mapping[str, Mapping[str, Any]], old: Collection[str]) -> str:
    """New tables go to the very end: put among the others, they would come between a comment and what it is about."""
    for name in tables:
        if name in old:
            text = _replaced(text, name, tables[name])
    new = {name: values for name, values in tables.items() if name not in old}
    return "\n\n".join(filter(None, (text.rstrip("\n"), profiles_text(new).rstrip("\n") if new else ""))) + "\n"


def _replaced(text: str, name: str, values: Mapping[str, Any]) -> str:
    """Keys of both stay in their place; new ones follow the header, where no comment can belong to something else."""
    toml = tomlkit.parse(text)
    table: MutableMapping[str, Any] = toml["profiles"][name]
    for key in [key for key in table if key not in values]:
        del table[key]
    added = {key: _inline(value) for key, value in values.items() if key not in table}
    for key in values.keys() - added.keys():
        if table[key] != values[key]:
            table[key] = _inline(values[key])
    if isinstance(table, InlineTable):
        table.update(added)
        return tomlkit.dumps(toml)
    text = tomlkit.dumps(toml)
    lines = text.splitlines(keepends=True)
    header = toml_lines(text)["profiles", name]
    return "".join((*lines[:header], tomlkit.dumps(added), *lines[header:]))


def _inline(value: Any) -> Any:
    """A table with a header of its own would take in the keys that follow it."""
    if not isinstance(value, dict):
        return value
    table = tomlkit.inline_table()
    table.update(value)
    return table


def _alike(old: Profile, wanted: Profile, table: Mapping[str, Any]) -> bool:
    """Whether both run alike; a description counts only if the new table has one."""
    ignored = set() if "description" in table else {"description"}
    return old.model_dump(exclude=ignored) == wanted.model_dump(exclude=ignored)
