"""The log of a unit without Docker: one line of text each, with its time and stream; rotated, and read while it grows.

A line of the file is `2026-01-31T12:00:00.000000Z stderr text`. `engine.log` is the newest file of a start and
`engine.log.1` the one before it; `engine.previous.log` and so on are those of the start before.
"""

import contextlib
import os
import re
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Literal, Self

from pmpctl.runtime.base import LogLine, LogQuery

Stream = Literal["stdout", "stderr"]

MAX_LINE_BYTES = 64 * 1024
POLL_SECONDS = 0.2
STAMP = "%Y-%m-%dT%H:%M:%S.%fZ"
STAMP_LENGTH = len("2026-01-31T12:00:00.000000Z")

# A progress bar ends its lines with a lone carriage return; at the very end it may still become \r\n.
LINE_END = re.compile(rb"\r?\n|\r(?=[^\n])")


@dataclass(frozen=True, slots=True)
class LogFiles:
    path: Path

    def begin(self) -> None:
        """A start begins a log of its own; that of the start before is kept, the one before that is not."""
        for old in self.previous():
            old.unlink(missing_ok=True)
        for file in self.current():
            file.replace(file.with_name(self._previous.name + file.name.removeprefix(self.path.name)))

    def current(self) -> list[Path]:
        """Oldest first."""
        return _generation(self.path)

    def previous(self) -> list[Path]:
        return _generation(self._previous)

    def rotate(self, max_files: int) -> None:
        for file in self.current():
            number = _number(file) + 1
            if number >= max_files:
                file.unlink()
            else:
                file.replace(self.path.with_name(f"{self.path.name}.{number}"))

    @property
    def _previous(self) -> Path:
        return self.path.with_suffix(f".previous{self.path.suffix}")


class LogWriter:
    """Never raises: a full disk costs log lines, not the engine."""

    def __init__(self, files: LogFiles, max_size_bytes: int, max_files: int) -> None:
        self._files = files
        self._max_size_bytes = max_size_bytes
        self._max_files = max_files
        self._file: BinaryIO | None = None
        self._size = 0
        self._unfinished: dict[Stream, bytes] = {"stdout": b"", "stderr": b""}

    def feed(self, stream: Stream, data: bytes) -> None:
        data = self._unfinished[stream] + data
        start = 0
        for end in LINE_END.finditer(data):
            text = data[start : end.start()]
            if text or end[0] != b"\r":
                self._write(stream, text)
            start = end.end()
        rest = data[start:]
        if len(rest) > MAX_LINE_BYTES:
            self._write(stream, rest)
            rest = b""
        self._unfinished[stream] = rest

    def finish(self) -> None:
        """Write also what came without a line's end, and close the file until there is more."""
        for stream, rest in self._unfinished.items():
            if text := rest.rstrip(b"\r"):
                self._write(stream, text)
            self._unfinished[stream] = b""
        self._close()

    def _close(self) -> None:
        if self._file:
            self._file.close()
            self._file = None

    def _write(self, stream: Stream, text: bytes) -> None:
        entry = f"{datetime.now(UTC).strftime(STAMP)} {stream} ".encode() + text + b"\n"
        with contextlib.suppress(OSError):
            if self._file and self._size + len(entry) > self._max_size_bytes:
                self._close()
                self._files.rotate(self._max_files)
            if self._file is None:
                self._open()
            if self._file:
                self._size += self._file.write(entry)

    def _open(self) -> None:
        path = self._files.path
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        # Unbuffered, so that a reader never sees half a line.
        self._file = os.fdopen(descriptor, "ab", buffering=0)
        self._size = os.fstat(descriptor).st_size


def read_log(files: LogFiles, query: LogQuery, grows: Callable[[], bool]) -> Iterator[LogLine]:
    """What is kept, then, with `follow`, what comes for as long as the log `grows`."""
    with _Reader(files) as reader:
        since = "" if query.since is None else datetime.fromtimestamp(query.since, UTC).strftime(STAMP)
        oldest = since.encode()
        history = deque((line for line in reader.lines() if line[:STAMP_LENGTH] >= oldest), maxlen=query.tail)
        yield from map(_parsed, history)
        growing = query.follow
        while growing:
            # Asked before the last look, so that the last lines are not missed.
            growing = grows()
            yield from map(_parsed, reader.lines())
            if growing:
                time.sleep(POLL_SECONDS)


class _Reader:
    """Reads on across rotations: it keeps its file open, and finds by inode which file comes after it."""

    def __init__(self, files: LogFiles) -> None:
        self._files = files
        self._file: BinaryIO | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file:
            self._file.close()

    def lines(self) -> Iterator[bytes]:
        """Every line that is there by now and was not read before."""
        while True:
            yield from self._rest_of_file()
            following = self._following()
            if following is None:
                return
            # It may have grown between the last look and the rotation.
            yield from self._rest_of_file()
            if self._file:
                self._file.close()
            self._file = following

    def _rest_of_file(self) -> Iterator[bytes]:
        while self._file:
            position = self._file.tell()
            line = self._file.readline()
            if not line.endswith(b"\n"):
                self._file.seek(position)
                return
            yield line

    def _following(self) -> BinaryIO | None:
        """The file after the one that is open; looked up again when a rotation came in between."""
        while True:
            current, previous = _inodes(self._files.current()), _inodes(self._files.previous())
            path = self._path_after(current, previous)
            try:
                file = path.open("rb") if path else None
            except FileNotFoundError:
                continue
            if _inodes(self._files.current()) == current:
                return file
            if file:
                file.close()

    def _path_after(self, current: dict[int, Path], previous: dict[int, Path]) -> Path | None:
        own = os.fstat(self._file.fileno()).st_ino if self._file else None
        for files in (current, previous):
            if own in files:
                later = list(files)[list(files).index(own) + 1 :]
                return files[later[0]] if later else None
        # Nothing is open yet, or it was rotated away before it was read to its end: take the oldest that is left.
        return next(iter(current.values()), None)


def _inodes(paths: list[Path]) -> dict[int, Path]:
    found: dict[int, Path] = {}
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            found[path.stat().st_ino] = path
    return found


def _generation(path: Path) -> list[Path]:
    """Oldest first, which is the highest number first."""
    files = [path, *path.parent.glob(f"{path.name}.*")]
    return sorted((file for file in files if file.exists()), key=_number, reverse=True)


def _number(file: Path) -> int:
    last = file.suffix.removeprefix(".")
    return int(last) if last.isdecimal() else 0


def _parsed(line: bytes) -> LogLine:
    stamp, stream, text = line.rstrip(b"\n").split(b" ", 2)
    return LogLine("stderr" if stream == b"stderr" else "stdout", text.decode(errors="replace"), stamp.decode())
