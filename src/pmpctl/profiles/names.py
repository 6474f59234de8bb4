"""The names of the profiles, and nothing else: for shell completion, which must answer before a finger lifts."""

import json
import tomllib
from pathlib import Path

from pmpctl.profiles.legacy_format import legacy_profiles


def profile_names(path: Path) -> list[str]:
    """Never raises: a file that is missing or broken has no names."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix == ".json":
            return [profile.name for profile in legacy_profiles(json.loads(text)) if profile.name is not None]
        return list(tomllib.loads(text).get("profiles", {}))
    except (OSError, ValueError, AttributeError, TypeError):
        return []
