"""A container's log, with stdout and stderr apart, also across the restarts of one that crashes again and again."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import requests
from docker.errors import NotFound

from pmpctl.runtime.base import LogLine, LogQuery
from pmpctl.runtime.docker_connect import EngineClient
from pmpctl.runtime.docker_errors import engine_errors

HEADER_BYTES = 8
STDERR = 2
POLL_SECONDS = 0.3
SILENCE_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Frame:
    """One message of the engine's raw stream; the log driver cuts a line of more than 16 KiB into several."""

    stream: Literal["stdout", "stderr"]
    content: bytes


def read_frames(chunks: Iterable[bytes]) -> Iterator[Frame]:
    """The raw stream: 8 bytes of header (stream, three zeros, length as a big-endian word), then the content."""
    buffer = bytearray()
    for chunk in chunks:
        buffer += chunk
        while len(buffer) >= HEADER_BYTES:
            end = HEADER_BYTES + int.from_bytes(buffer[4:HEADER_BYTES], "big")
            if len(buffer) < end:
                break
            yield Frame("stderr" if buffer[0] == STDERR else "stdout", bytes(buffer[HEADER_BYTES:end]))
            del buffer[:end]


def read_lines(frames: Iterable[Frame]) -> Iterator[LogLine]:
    """Lines of frames that each begin with a timestamp; the parts of a long line are put together again."""
    parts: dict[str, list[str]] = {"stdout": [], "stderr": []}
    for frame in frames:
        timestamp, _, text = frame.content.decode(errors="replace").partition(" ")
        line = parts[frame.stream]
        line.append(text.removesuffix("\n"))
        if text.endswith("\n"):
            yield LogLine(frame.stream, "".join(line), timestamp)
            line.clear()


def container_log(client: EngineClient, container_id: str, query: LogQuery) -> Iterator[LogLine]:
    """Following ends when the container is gone or has ended for good.

    The engine ends its stream at each exit, also in a restart loop, and a quiet one runs into the read timeout: so we
    attach again behind the last line, for as long as the container lives.
    """
    resume = newest = ""
    since = "" if query.since is None else f"{query.since:.9f}"
    tail = "all" if query.tail is None else str(query.tail)
    while True:
        # Asked before reading, so that one more round fetches what a container says as it ends.
        lives = query.follow and _lives(client, container_id)
        for line in _attach(client, container_id, since, tail, follow=query.follow):
            newest = max(newest, line.timestamp)
            if line.timestamp > resume:
                yield line
        if not lives:
            return
        if newest:
            resume, since = newest, _epoch(newest)
        tail = "all"
        time.sleep(POLL_SECONDS)


def _attach(client: EngineClient, container_id: str, since: str, tail: str, *, follow: bool) -> Iterator[LogLine]:
    params = {"stdout": 1, "stderr": 1, "timestamps": 1, "follow": int(follow), "tail": tail, "since": since or 0}
    path = f"/containers/{container_id}/logs"
    with engine_errors("read the log"):
        try:
            yield from read_lines(read_frames(client.raw_stream("GET", path, SILENCE_SECONDS, params=params)))
        except NotFound:
            return
        except requests.ConnectionError:
            if not follow:
                raise


def _lives(client: EngineClient, container_id: str) -> bool:
    with engine_errors("read the log"):
        try:
            state = client.inspect_container(container_id)["State"]
        except NotFound:
            return False
    return bool(state["Running"] or state["Restarting"])


def _epoch(timestamp: str) -> str:
    """`2026-01-31T12:00:00.123456789Z` as the engine wants it back; a float has too few digits for that."""
    whole, _, fraction = timestamp.removesuffix("Z").partition(".")
    return f"{int(datetime.fromisoformat(whole + '+00:00').timestamp())}.{fraction or '0'}"
