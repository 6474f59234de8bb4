"""What every test may need."""

import socket
import time
from collections.abc import Callable
from typing import TypeVar

from pmpctl.operations.events import Event, Operation

T = TypeVar("T")

# The imaginary GPUs of the test engines (tests/world/gpu).
GPU_UUIDS = ("GPU-aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa", "GPU-bbbbbbbb-bbbb-bbbb-bbbb-bbbbbbbbbbbb")
MIG_UUID = "MIG-cccccccc-cccc-cccc-cccc-cccccccccccc"


def eventually(predicate: Callable[[], T], timeout: float = 30.0) -> T:
    """The first truthy answer of `predicate`; fails when none came within `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while True:
        if answer := predicate():
            return answer
        assert time.monotonic() < deadline, f"still {answer!r} after {timeout:g} s"
        time.sleep(0.02)


def result_of(operation: Operation[T]) -> tuple[T, list[Event]]:
    """Drives an operation to its end: its result, and what it told meanwhile."""
    events: list[Event] = []
    while True:
        try:
            events.append(next(operation))
        except StopIteration as stop:
            result: T = stop.value
            return result, events


def find_free_port() -> int:
    """A TCP port on loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
