"""Reads a profile file, whether it is a profiles.toml or a models.json of the old tool."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from pmpctl.profiles.document import parse_toml, read_text
from pmpctl.profiles.legacy import parse_legacy
from pmpctl.profiles.locate import locate, shipped_file
from pmpctl.profiles.model import ProfileFile
from pmpctl.profiles.resolve import resolve

__all__ = ["load", "locate", "shipped_file"]


def load(path: Path, environment: Mapping[str, str]) -> ProfileFile:
    """Raises ProfileFileMissing, or ProfileFileInvalid with everything that is wrong.

    MODEL_PROFILE names the default profile, as it did for the old tool; whether there is one of that name
    is asked when it is needed.
    """
    text = read_text(path)
    document = parse_legacy(path, text) if path.suffix == ".json" else parse_toml(path, text)
    file = resolve(document)
    return replace(file, default=environment.get("MODEL_PROFILE") or file.default)
