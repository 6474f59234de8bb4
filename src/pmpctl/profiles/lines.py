"""Where each key of a profile file stands: parsers hand back values, people need line numbers.

Both scanners trust that the text has already been parsed without an error.
"""

import json
import re
import tomllib
from bisect import bisect_left
from collections.abc import Callable

KeyPath = tuple[str, ...]

_TOML_BLANK = re.compile(r"(?:\s+|#[^\n]*)*")
_TOML_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_TOML_BARE_VALUE = re.compile(r"[^,\]}#\n]+")
_TOML_STRING = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}' + r"|'''.*?'{3,5}" + r'|"(?:\\.|[^"\\\n])*"' + r"|'[^'\n]*'", re.DOTALL
)
_JSON_TOKEN = re.compile(r'"(?:\\.|[^"\\])*"|[{}\[\]:,]|[^\s{}\[\]:,"]+')


def toml_lines(text: str) -> dict[KeyPath, int]:
    """The line of every table and key, also of keys in inline tables; the first place where one is named counts."""
    return _TomlScanner(text).scan()


def json_lines(text: str) -> dict[KeyPath, int]:
    """The line of every key of every object; the items of a list are named by their index."""
    return _JsonScanner(text).scan()


class _Lines:
    def __init__(self, text: str) -> None:
        self._newlines = [match.start() for match in re.finditer("\n", text)]
        self.found: dict[KeyPath, int] = {}

    def note(self, path: KeyPath, offset: int) -> None:
        line = bisect_left(self._newlines, offset) + 1
        for length in range(1, len(path) + 1):
            self.found.setdefault(path[:length], line)


class _TomlScanner:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._lines = _Lines(text)

    def scan(self) -> dict[KeyPath, int]:
        table: KeyPath = ()
        while not self._next_is(""):
            if self._next_is("["):
                start = self._at
                self._at += 2 if self._next_is("[[") else 1
                table = self._key()
                self._lines.note(table, start)
                self._at = self._text.index("]", self._at) + (2 if self._text.startswith("[[", start) else 1)
            else:
                self._pair(table)
        return self._lines.found

    def _next_is(self, start: str) -> bool:
        """Whether what follows blanks and comments starts so; the empty string stands for the end of the text."""
        blank = _TOML_BLANK.match(self._text, self._at)
        self._at = blank.end() if blank else self._at
        return self._text.startswith(start, self._at) if start else self._at >= len(self._text)

    def _take(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self._text, self._at)
        if match is None:
            raise ValueError(f"no {pattern.pattern} at offset {self._at}")
        self._at = match.end()
        return match.group()

    def _key(self) -> KeyPath:
        parts: list[str] = []
        while True:
            if self._next_is('"') or self._next_is("'"):
                parts.append(str(tomllib.loads(f"key = {self._take(_TOML_STRING)}")["key"]))
            else:
                parts.append(self._take(_TOML_BARE_KEY))
            if not self._next_is("."):
                return tuple(parts)
            self._at += 1

    def _pair(self, table: KeyPath) -> None:
        start = self._at
        path = table + self._key()
        self._lines.note(path, start)
        self._at = self._text.index("=", self._at) + 1
        self._value(path)

    def _value(self, path: KeyPath) -> None:
        if self._next_is('"') or self._next_is("'"):
            self._take(_TOML_STRING)
        elif self._next_is("["):
            self._items("]", lambda: self._value(path))
        elif self._next_is("{"):
            self._items("}", lambda: self._pair(path))
        else:
            self._take(_TOML_BARE_VALUE)

    def _items(self, end: str, item: Callable[[], None]) -> None:
        self._at += 1
        while not self._next_is(end):
            if self._next_is(","):
                self._at += 1
            else:
                item()
        self._at += 1


class _JsonScanner:
    def __init__(self, text: str) -> None:
        self._tokens = _JSON_TOKEN.finditer(text)
        self._lines = _Lines(text)

    def scan(self) -> dict[KeyPath, int]:
        self._value((), next(self._tokens).group())
        return self._lines.found

    def _value(self, path: KeyPath, opening: str) -> None:
        if opening == "{":
            for key in self._tokens:
                if key.group() == "}":
                    return
                if key.group() == ",":
                    continue
                inner = (*path, str(json.loads(key.group())))
                self._lines.note(inner, key.start())
                next(self._tokens)
                self._value(inner, next(self._tokens).group())
        elif opening == "[":
            index = 0
            for item in self._tokens:
                if item.group() == "]":
                    return
                if item.group() == ",":
                    index += 1
                    continue
                inner = (*path, str(index))
                self._lines.note(inner, item.start())
                self._value(inner, item.group())
