"""A profile file as read: plain data in the shape of profiles.toml, and where each key of it is written."""

import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pmpctl.errors import Problem, ProfileFileInvalid, ProfileFileMissing
from pmpctl.profiles.lines import KeyPath, toml_lines

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_TOMLLIB_PLACE = re.compile(r"\s*\(at (?:line (?P<line>\d+), column \d+|end of document)\)$")


class FoundProblem(NamedTuple):
    line: int
    problem: Problem


@dataclass(frozen=True, slots=True)
class Document:
    """`written` holds the keys that the file spells differently, by their path in `data`."""

    path: Path
    data: Mapping[str, Any]
    lines: Mapping[KeyPath, int]
    format: Literal["toml", "json"] = "toml"
    written: Mapping[KeyPath, str] = field(default_factory=dict)

    def line(self, path: KeyPath) -> int:
        """The line of the key, or of the nearest table around it that is written."""
        return next((self.lines[path[:end]] for end in range(len(path), 0, -1) if path[:end] in self.lines), 1)

    def key(self, path: KeyPath) -> str:
        return self.written.get(path, path[-1])

    def problem(self, code: str, table: KeyPath, text: str, cure: str, *, key: str | None = None) -> FoundProblem:
        """What is wrong at `key` of `table`, or with the table itself."""
        line = self.line((*table, key) if key is not None else table)
        where = f"{self._label(table)} " if table else ""
        return FoundProblem(line, Problem(code, f"{shown(self.path)}:{line}: {where}{text}", cure))

    def _label(self, table: KeyPath) -> str:
        names = table[1:] if self.format == "json" and len(table) > 1 else table
        return (
            f"[{'.'.join(name if _BARE.fullmatch(name) else json.dumps(name, ensure_ascii=False) for name in names)}]"
        )


def shown(path: Path) -> str:
    """The path as a person at this prompt would write it."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        problem = Problem("profile_file_syntax", f"{shown(path)} is not UTF-8 text", "Save the file as UTF-8.")
        raise ProfileFileInvalid([problem]) from error
    except OSError as error:
        raise ProfileFileMissing(
            f"the profile file {shown(path)} cannot be read: {error.strerror}",
            cure="Name another with --config, or copy the shipped profiles.toml there.",
        ) from error


def parse_toml(path: Path, text: str) -> Document:
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        place = _TOMLLIB_PLACE.search(str(error))
        line = place["line"] if place else None
        reason = _TOMLLIB_PLACE.sub("", str(error))
        cure = "Mend that line, or the one before it."
        if line is None:
            cure = "Close the quote or bracket that is still open, or mend the last line."
        elif reason == "Invalid value":
            cure = "Put text in quotes, and write true and false in small letters."
        problem = syntax_problem(path, int(line or len(text.splitlines())), reason, cure)
        raise ProfileFileInvalid([problem]) from error
    return Document(path, data, toml_lines(text))


def syntax_problem(path: Path, line: int, reason: str, cure: str) -> Problem:
    return Problem("profile_file_syntax", f"{shown(path)}:{line}: {reason[:1].lower()}{reason[1:]}", cure)
