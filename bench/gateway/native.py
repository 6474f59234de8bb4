"""The two C programs: compiled when they are run, the stand-in for the engine and the load generator."""

import json
import os
import selectors
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

_SOURCES = Path(__file__).parent
_LOAD_SLACK_SECONDS = 90
_BUFFER_BYTES = 65536


class LoadFailed(Exception):
    """The message tells what the load generator saw that it should not have."""


def compile_programs(folder: Path) -> None:
    for name in ("upstream", "load"):
        source = _SOURCES / f"{name}.c"
        subprocess.run(["gcc", "-O2", "-Wall", "-Wextra", "-o", folder / name, source], check=True)


class Upstream:
    """The running stand-in, and what it says about the requests that carry an id."""

    def __init__(self, folder: Path) -> None:
        self._process = subprocess.Popen([folder / "upstream"], stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        self._descriptor = self._process.stdout.fileno()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._descriptor, selectors.EVENT_READ)
        self._unread = b""
        self._events: dict[tuple[str, int], tuple[int, ...]] = {}
        self.port = 0
        deadline = time.monotonic() + 10
        while not self.port:
            self._read(deadline)

    def event(self, kind: str, request_id: int, timeout_seconds: float) -> tuple[int, ...] | None:
        """`open`: (when read, in ns); `close`: (when the client was gone, in ns, bytes written by then)."""
        deadline = time.monotonic() + timeout_seconds
        while (kind, request_id) not in self._events:
            if not self._read(deadline):
                return None
        return self._events.pop((kind, request_id))

    def _read(self, deadline: float) -> bool:
        if not self._selector.select(max(0.0, deadline - time.monotonic())):
            return False
        read = os.read(self._descriptor, _BUFFER_BYTES)
        if not read:
            raise LoadFailed(f"the upstream ended with status {self._process.wait()}")
        *lines, self._unread = (self._unread + read).split(b"\n")
        for line in lines:
            kind, *numbers = line.decode().split()
            values = tuple(map(int, numbers))
            if kind == "port":
                self.port = values[0]
            else:
                self._events[kind, values[0]] = values[1:]
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._process.kill()
        self._process.wait()
        self._selector.close()


class Load:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def run(
        self, mode: str, port: int, request: bytes, connections: int, window_ms: int, pids: Sequence[int], warm_ms: int
    ) -> dict[str, Any]:
        """What was counted within the window, whose names stand in load.c."""
        request_file = self._folder / "request"
        request_file.write_bytes(request)
        numbers = [port, request_file, connections, warm_ms, window_ms, ",".join(map(str, pids))]
        done = subprocess.run(
            [self._folder / "load", mode, *map(str, numbers)],
            stdout=subprocess.PIPE,
            timeout=(warm_ms + window_ms) / 1000 + _LOAD_SLACK_SECONDS,
            check=True,
        )
        seen: dict[str, Any] = json.loads(done.stdout)
        if seen["errors"] or seen["started"] < connections:
            raise LoadFailed(f"{seen['errors']} error(s), {seen['started']} of {connections} connections had an answer")
        if not seen["bytes"]:
            raise LoadFailed("nothing came within the window")
        return seen
