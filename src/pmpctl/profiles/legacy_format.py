"""What a `config/models.json` of the old tool looks like: four shapes, and the names its keys had."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from pmpctl.profiles.lines import KeyPath

ALIASES = {
    "model_id": "model",
    "hf_model": "model",
    "max_length": "max_model_len",
    "context_length": "max_model_len",
    "gpu_util": "gpu_memory_utilization",
    "tool_parser": "tool_call_parser",
}

_CONTAINERS = ("models", "profiles")
_SETTINGS = {"default": "default", "default_profile": "default", "defaults": "defaults"}
_IGNORED = ("$schema", "version")


class LegacyProfile(NamedTuple):
    """`path` is where the table stands in the file; `name` is None for a list's item that has none."""

    path: KeyPath
    name: str | None
    table: Any


def legacy_profiles(data: dict[str, Any]) -> Iterator[LegacyProfile]:
    """{"models": {NAME: {}}}, {"profiles": {NAME: {}}}, {"models": [{"name": NAME}]} or {NAME: {}}."""
    containers = _containers(data)
    for key in containers:
        if isinstance(data[key], dict):
            yield from (LegacyProfile((key, name), name, table) for name, table in data[key].items())
        else:
            for index, table in enumerate(data[key]):
                name = table.get("name") if isinstance(table, dict) else None
                yield LegacyProfile((key, str(index)), name if isinstance(name, str) else None, table)
    if not containers:
        for name, table in data.items():
            if name not in _SETTINGS and not _is_remark(name):
                yield LegacyProfile((name,), name, table)


def legacy_settings(data: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """The keys beside the profiles, as they are called now and as the file calls them."""
    containers = _containers(data)
    for key, value in data.items():
        if key in _SETTINGS and value is not None:
            yield _SETTINGS[key], key
        elif containers and key not in containers and not _is_remark(key):
            yield key, key


def _containers(data: dict[str, Any]) -> list[str]:
    return [key for key in _CONTAINERS if isinstance(data.get(key), dict | list)]


def _is_remark(key: str) -> bool:
    return key in _IGNORED or key.startswith("_")
