"""`profiles import`: bring the profiles of the old tool's models.json into a profiles.toml."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pmpctl.files import write_atomically
from pmpctl.profiles.document import Document
from pmpctl.profiles.legacy import import_legacy, read_legacy
from pmpctl.profiles.resolve import resolve
from pmpctl.profiles.write import add_profiles


@dataclass(frozen=True, slots=True)
class ImportResult:
    """`unchanged` are profiles that the file had already with the same content."""

    path: Path
    created: bool
    new: tuple[str, ...]
    replaced: tuple[str, ...] = ()
    unchanged: tuple[str, ...] = ()


def import_profiles(legacy: Path, into: Path, *, replace: bool = False) -> ImportResult:
    """A file that is not there yet gets everything; one that is gets the profiles, and keeps its own settings.

    Raises ProfileFileInvalid for a faulty file and ProfileConflict, with nothing written, for profiles that `replace`
    would change.
    """
    document = read_legacy(legacy)
    if not into.exists():
        write_atomically(into, import_legacy(legacy), mode=0o644)
        return ImportResult(into, created=True, new=tuple(document.data["profiles"]))
    resolve(document)
    added = add_profiles(into, _self_contained(document), replace=replace)
    return ImportResult(into, created=False, new=added.new, replaced=added.replaced, unchanged=added.same)


def _self_contained(document: Document) -> Mapping[str, Mapping[str, Any]]:
    """The profiles with the old file's own defaults filled in, as the other file has defaults of its own."""
    defaults = document.data.get("defaults", {})
    return {
        name: table if "extends" in table else {**defaults, **table}
        for name, table in document.data["profiles"].items()
    }
