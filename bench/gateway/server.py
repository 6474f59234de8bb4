"""One server under test: started on a core of its own, watched from /proc, stopped with everything it started."""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from bench.gateway import wire

_START_LIMIT_SECONDS = 120
_STOP_LIMIT_SECONDS = 2
_OUTPUT_TAIL_BYTES = 2000


class StartFailed(Exception):
    """The message ends with what the server said last."""


@dataclass(frozen=True, slots=True)
class Site:
    """Where a server is to run: a folder of its own, its port, and the engine it stands in front of."""

    folder: Path
    port: int
    upstream_port: int

    @property
    def upstream_url(self) -> str:
        return f"http://127.0.0.1:{self.upstream_port}"


@dataclass(frozen=True, slots=True)
class Launch:
    argv: Sequence[str | Path]
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Candidate:
    """`install` returns what to call the version; `launch` is None for the upstream itself, without any server."""

    name: str
    install: Callable[[], str]
    launch: Callable[[Site], Launch] | None
    idle_limit: int = 1000
    paced_limit: int = 1000


@dataclass(frozen=True, slots=True)
class Server:
    port: int
    root: psutil.Process | None = None

    def processes(self) -> list[psutil.Process]:
        return [self.root, *self.root.children(recursive=True)] if self.root else []

    def pids(self) -> list[int]:
        return [process.pid for process in self.processes()]

    def rss_bytes(self) -> int:
        return sum(process.memory_info().rss for process in self.processes())

    def pause(self) -> None:
        for process in self.processes():
            process.suspend()

    def resume(self) -> None:
        for process in self.processes():
            process.resume()


@contextlib.contextmanager
def running(candidate: Candidate, folder: Path, upstream_port: int, core: int) -> Iterator[Server]:
    if candidate.launch is None:
        yield Server(upstream_port)
        return
    site = Site(folder, find_free_port(), upstream_port)
    launch = candidate.launch(site)
    output_path = folder / "stderr"
    # Logs go to files, as a service's do.
    with (folder / "stdout").open("wb") as stdout, output_path.open("wb") as stderr:
        process = subprocess.Popen(
            ["taskset", "-c", str(core), *launch.argv],
            env=os.environ | launch.environment,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
        )
    server = Server(site.port, psutil.Process(process.pid))
    try:
        _wait_until_serving(process, site.port, folder)
        yield server
    finally:
        _stop(process, server)


def find_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _wait_until_serving(process: subprocess.Popen[bytes], port: int, folder: Path) -> None:
    deadline = time.monotonic() + _START_LIMIT_SECONDS
    answer = b""
    while not answer.startswith(b"HTTP/1.1 200"):
        if process.poll() is not None or time.monotonic() > deadline:
            said = b"".join((folder / name).read_bytes()[-_OUTPUT_TAIL_BYTES:] for name in ("stdout", "stderr"))
            raise StartFailed(f"no answer of 200 but {answer[:200]!r}; it said: {said.decode(errors='replace')}")
        time.sleep(0.1)
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5) as client:
            client.sendall(wire.PLAIN)
            answer = client.recv(4096)


def _stop(process: subprocess.Popen[bytes], server: Server) -> None:
    processes = server.processes() if process.poll() is None else []
    if processes:
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_STOP_LIMIT_SECONDS)
    for each in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            each.kill()
    process.wait()
