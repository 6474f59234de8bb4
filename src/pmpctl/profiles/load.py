"""Finds the profile file and reads it, whether it is a profiles.toml or a models.json of the old tool."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from pmpctl.errors import ProfileFileMissing
from pmpctl.profiles.document import Document, parse_toml, read_text, shown
from pmpctl.profiles.legacy import parse_legacy
from pmpctl.profiles.model import ProfileFile
from pmpctl.profiles.resolve import resolve

TOML_NAME = "profiles.toml"
LEGACY_NAME = "config/models.json"

_ENVIRONMENT = ("PMPCTL_CONFIG", "CONFIG_PATH")
_INSTALLED = Path(__file__).with_name("shipped.toml")
_CHECKOUT = Path(__file__).parents[3] / TOML_NAME


def load(path: Path, environment: Mapping[str, str]) -> ProfileFile:
    """Raises ProfileFileMissing, or ProfileFileInvalid with everything that is wrong.

    MODEL_PROFILE names the default profile, as it did for the old tool; whether there is one of that name
    is asked when it is needed.
    """
    file = resolve(read(path))
    return replace(file, default=environment.get("MODEL_PROFILE") or file.default)


def read(path: Path) -> Document:
    text = read_text(path)
    return parse_legacy(path, text) if path.suffix == ".json" else parse_toml(path, text)


def locate(workspace_root: Path, config: Path | None, environment: Mapping[str, str]) -> Path:
    """The file that counts: the one named by --config or the environment, the workspace's own, or the shipped one.

    Raises ProfileFileMissing when a file that was named is not there.
    """
    if config is not None:
        return _named("--config", config)
    for variable in _ENVIRONMENT:
        if value := environment.get(variable):
            return _named(f"${variable}", workspace_root / value)
    for name in (TOML_NAME, LEGACY_NAME):
        if (path := workspace_root / name).is_file():
            return path
    return shipped_file()


def shipped_file() -> Path:
    """The profiles that come with pmpctl: inside an installed package, at the root of a checkout."""
    return _INSTALLED if _INSTALLED.is_file() else _CHECKOUT


def _named(by: str, path: Path) -> Path:
    if path.is_file():
        return path
    raise ProfileFileMissing(
        f"{by} names {shown(path)}, and there is no such file",
        cure=f"Correct {by}, or leave it out to use {TOML_NAME} of the workspace.",
    )
