"""The chat templates that ship with pmpctl, named `builtin:NAME` in a profile."""

from pathlib import Path

BUILTIN = "builtin:"

_FOLDER = Path(__file__).parents[1] / "chat_templates"


def builtin_templates() -> dict[str, Path]:
    return {file.stem: file for file in sorted(_FOLDER.glob("*.jinja"))}
