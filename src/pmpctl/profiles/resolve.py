"""A document becomes profiles: each table is checked on its own, then merged along `extends`; all faults at once."""

from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any

from pydantic import ValidationError

from pmpctl.errors import ProfileFileInvalid
from pmpctl.profiles.complaints import problems_of, unknown_key_cure
from pmpctl.profiles.document import Document, FoundProblem
from pmpctl.profiles.model import (
    Defaults,
    GatewaySettings,
    HostSettings,
    Profile,
    ProfileFile,
    ProfileTable,
    RequestLimits,
    Table,
)
from pmpctl.profiles.rules import PROFILE_NAME, RESERVED_NAME
from pmpctl.profiles.suggest import nearest

_SECTIONS: Mapping[str, type[Table]] = {"defaults": Defaults, "gateway": GatewaySettings, "host": HostSettings}
_TOP_LEVEL = ("default", *_SECTIONS, "profiles")
_HOMES = {
    **dict.fromkeys(RequestLimits.model_fields, "[profiles.NAME.requests]"),
    **dict.fromkeys(ProfileTable.model_fields, "[profiles.NAME]"),
    **dict.fromkeys(HostSettings.model_fields, "[host]"),
    **dict.fromkeys(GatewaySettings.model_fields, "[gateway]"),
}

Tables = Mapping[str, Mapping[str, Any]]


def resolve(document: Document) -> ProfileFile:
    """Raises ProfileFileInvalid with every problem, in the order of the lines."""
    data = document.data
    defaults, profiles = _as_table(data.get("defaults")), _as_table(data.get("profiles"))
    tables = {name: table for name, table in profiles.items() if isinstance(table, dict)}
    found = chain(
        _top_level_problems(document, profiles),
        _section_problems(document),
        _profile_problems(document, profiles),
        _extends_problems(document, tables),
        _model_problems(document, tables, defaults),
    )
    if problems := [item.problem for item in sorted(found, key=lambda item: item.line)]:
        raise ProfileFileInvalid(problems)
    return ProfileFile(
        path=document.path,
        gateway=GatewaySettings.model_validate(data.get("gateway", {})),
        host=HostSettings.model_validate(data.get("host", {})),
        profiles={name: Profile.model_validate(_merged(tables, name, defaults) | {"name": name}) for name in tables},
        default=data.get("default"),
    )


def _as_table(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _top_level_problems(document: Document, profiles: Mapping[str, Any]) -> Iterator[FoundProblem]:
    data = document.data
    for key in data.keys() - set(_TOP_LEVEL):
        cure = unknown_key_cure(key, _TOP_LEVEL, _HOMES)
        yield document.problem("unknown_key", (), f'unknown key "{key}"', cure, key=key)
    if not profiles:
        cure = 'Write a table [profiles.NAME] with model = "owner/name".'
        yield document.problem("no_profiles", (), "no profiles", cure, key="profiles")
    default = data.get("default")
    if default is not None and not (isinstance(default, str) and default in profiles):
        likely = nearest(default, profiles) if isinstance(default, str) else None
        cure = f'Did you mean "{likely}"?' if likely else f"Name one of {', '.join(profiles) or 'your profiles'}."
        yield document.problem("default_unknown", (), '"default" names no profile of this file', cure, key="default")


def _section_problems(document: Document) -> Iterator[FoundProblem]:
    for key, model in _SECTIONS.items():
        if key in document.data:
            yield from _table_problems(document, (key,), document.data[key], model)


def _profile_problems(document: Document, profiles: Mapping[str, Any]) -> Iterator[FoundProblem]:
    for name, table in profiles.items():
        at = ("profiles", name)
        if name == RESERVED_NAME:
            cure = f'Choose another name: every loaded model answers to "{RESERVED_NAME}" already.'
            yield document.problem("bad_name", at, f'the name "{RESERVED_NAME}" is reserved', cure)
        elif not PROFILE_NAME.fullmatch(name):
            cure = "Use up to 63 small letters, digits, `.`, `_` and `-`, beginning with a letter or digit."
            yield document.problem("bad_name", at, "is no name for a profile", cure)
        yield from _table_problems(document, at, table, ProfileTable)


def _table_problems(document: Document, at: tuple[str, ...], table: Any, model: type[Table]) -> Iterator[FoundProblem]:
    if not isinstance(table, dict):
        cure = "Put its keys into a table of its own."
        yield document.problem("wrong_type", at, "must be a table", cure)
        return
    try:
        model.model_validate(table)
    except ValidationError as error:
        yield from problems_of(error, document, at, model, _HOMES)


def _extends_problems(document: Document, tables: Tables) -> Iterator[FoundProblem]:
    """Parents that are not there, and circles, each told once."""
    order = list(tables)
    for name in tables:
        at = ("profiles", name)
        parent = _parent(tables, name)
        if parent is not None and parent not in tables:
            text, likely = f'extends "{parent}", which is no profile', nearest(parent, tables)
            cure = f'Did you mean "{likely}"?' if likely else f"Extend one of {', '.join(order)}."
            yield document.problem("extends_unknown", at, text, cure, key="extends")
        lineage = _lineage(tables, name)
        if _parent(tables, lineage[-1]) == name == min(lineage, key=order.index):
            text = f"extends in a circle: {' -> '.join((*lineage, name))}" if len(lineage) > 1 else "extends itself"
            yield document.problem("extends_cycle", at, text, 'Remove one "extends" of the circle.', key="extends")


def _model_problems(document: Document, tables: Tables, defaults: Mapping[str, Any]) -> Iterator[FoundProblem]:
    for name in tables:
        complete = _parent(tables, _lineage(tables, name)[-1]) is None
        if complete and "model" not in _merged(tables, name, defaults):
            cure = 'Add model = "owner/name", or extends = "NAME" of a profile that has one.'
            yield document.problem("model_missing", ("profiles", name), "has no model", cure)


def _parent(tables: Tables, name: str) -> str | None:
    parent = tables[name].get("extends")
    return parent if isinstance(parent, str) else None


def _lineage(tables: Tables, name: str) -> list[str]:
    """The profile, its parent and so on, up to one that extends nothing known, or would close a circle."""
    lineage = [name]
    while (parent := _parent(tables, lineage[-1])) in tables and parent is not None and parent not in lineage:
        lineage.append(parent)
    return lineage


def _merged(tables: Tables, name: str, defaults: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(defaults)
    for ancestor in reversed(_lineage(tables, name)):
        merged = _over(merged, tables[ancestor])
    merged.pop("extends", None)
    return merged


def _over(base: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Tables within are merged key by key, too."""
    both = {key for key in base.keys() & own.keys() if isinstance(base[key], dict) and isinstance(own[key], dict)}
    return {**base, **own, **{key: {**base[key], **own[key]} for key in both}}
