"""Which profile file counts. Light enough for shell completion: it loads no model."""

from collections.abc import Mapping
from pathlib import Path

from pmpctl.errors import ProfileFileMissing

TOML_NAME = "profiles.toml"
LEGACY_NAME = "config/models.json"

_ENVIRONMENT = ("PMPCTL_CONFIG", "CONFIG_PATH")
_INSTALLED = Path(__file__).with_name("shipped.toml")
_CHECKOUT = Path(__file__).parents[3] / TOML_NAME


def locate(workspace_root: Path, config: Path | None, environment: Mapping[str, str]) -> Path:
    """The file named by --config or the environment, else the workspace's own, else the shipped one.

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
        f"{by} names {path}, and there is no such file",
        cure=f"Correct {by}, or leave it out to use {TOML_NAME} of the workspace.",
    )
