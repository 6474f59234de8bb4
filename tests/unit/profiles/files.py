"""Profile files for tests: written, loaded, and what is said about them."""

from pathlib import Path
from textwrap import dedent

import pytest

from pmpctl.errors import Problem, ProfileFileInvalid
from pmpctl.profiles.load import load
from pmpctl.profiles.model import Profile, ProfileFile


def written(folder: Path, text: str, name: str = "profiles.toml") -> Path:
    path = folder / name
    path.write_text(dedent(text).lstrip("\n"))
    return path


def loaded(folder: Path, text: str, name: str = "profiles.toml") -> ProfileFile:
    return load(written(folder, text, name), {})


def profile(folder: Path, keys: str) -> Profile:
    """The only profile of a file: a model and the given keys."""
    return loaded(folder, f'[profiles.it]\nmodel = "acme/coder"\n{keys}\n').profile("it")


def problems(folder: Path, text: str, name: str = "profiles.toml") -> list[Problem]:
    with pytest.raises(ProfileFileInvalid) as caught:
        loaded(folder, text, name)
    return list(caught.value.problems)


def said(folder: Path, text: str, name: str = "profiles.toml") -> list[tuple[str, str]]:
    """Message and cure of each problem, the file named as someone in `folder` would."""
    return [(found.message.replace(f"{folder}/", ""), found.cure) for found in problems(folder, text, name)]


def complaint(folder: Path, keys: str) -> tuple[str, str]:
    """What is said about one profile whose last line is `keys`, without the place."""
    ((message, cure),) = said(folder, f'[profiles.it]\nmodel = "acme/coder"\n{keys}\n')
    assert message.startswith("profiles.toml:3: [profiles.it] ")
    return message.removeprefix("profiles.toml:3: [profiles.it] "), cure
