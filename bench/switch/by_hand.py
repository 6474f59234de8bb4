"""The peer: the same change of engines as people do it without us, with Docker's own command line."""

import contextlib
import os
import shlex
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Self

import httpx

from pmpctl.planning.plan import HealthCheck, Mount, Unit
from tests.support import find_free_port

NAME = "pmpctl-bench-by-hand"
_POLL_SECONDS = 0.02
_START_LIMIT_SECONDS = 60.0


class ByHand:
    """One engine at a time, on a port of its own, with image, arguments, mounts and limits of the plan's."""

    def __init__(self, docker_host: str, engines: Mapping[str, Unit]) -> None:
        self._environment = os.environ | {"DOCKER_HOST": docker_host}
        self._engines = engines
        self._port = find_free_port()

    def __enter__(self) -> Self:
        self._remove_by_force()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self._remove_by_force()

    def start(self, profile: str) -> None:
        self._docker(*run_arguments(self._engines[profile], self._port))
        self._wait_until_healthy()

    def change(self, profile: str) -> dict[str, float]:
        """Seconds: from stop to healthy, and of each command; they are one script, so the gap is the whole."""
        figures: dict[str, float] = {}
        began = time.monotonic()
        with _timed(figures, "stop"):
            self._docker("stop", NAME)
        with _timed(figures, "remove"):
            self._docker("rm", NAME)
        with _timed(figures, "start"):
            self._docker(*run_arguments(self._engines[profile], self._port))
        with _timed(figures, "wait"):
            self._wait_until_healthy()
        seconds = time.monotonic() - began
        return {"gap": seconds, "whole": seconds, **figures}

    def _wait_until_healthy(self) -> None:
        deadline = time.monotonic() + _START_LIMIT_SECONDS
        with httpx.Client(trust_env=False, timeout=5) as client:
            while True:
                with contextlib.suppress(httpx.HTTPError):
                    if client.get(f"http://127.0.0.1:{self._port}/health").status_code == httpx.codes.OK:
                        return
                if time.monotonic() > deadline:
                    raise TimeoutError(f"{NAME} is not healthy after {_START_LIMIT_SECONDS:g} s")
                time.sleep(_POLL_SECONDS)

    def _docker(self, *argv: str) -> None:
        subprocess.run(["docker", *argv], env=self._environment, stdout=subprocess.DEVNULL, check=True)

    def _remove_by_force(self) -> None:
        argv = ["docker", "rm", "--force", "--volumes", NAME]
        subprocess.run(argv, env=self._environment, capture_output=True, check=False)


def run_arguments(unit: Unit, port: int) -> Sequence[str]:
    """`docker run` of the unit, published on this port, without what only pmpctl puts around an engine."""
    program, *arguments = unit.argv
    options = ["run", "--detach", "--init", "--name", NAME, "--network", unit.network, "--entrypoint", program]
    options += ["--restart", "unless-stopped", "--stop-timeout", str(unit.stop_timeout_seconds)]
    options += ["--security-opt", "no-new-privileges:true"]
    options += [f"--cap-drop={capability}" for capability in unit.cap_drop]
    options += [f"--cap-add={capability}" for capability in unit.cap_add]
    options += [f"--env={name}={value}" for name, value in unit.env.items()]
    options += [f"--mount={_mount(mount)}" for mount in unit.mounts]
    options += [f"--publish=127.0.0.1:{port}:{binding.container_port}" for binding in unit.ports]
    if unit.shm_size_bytes is not None:
        options.append(f"--shm-size={unit.shm_size_bytes}")
    if unit.memlock_bytes is not None:
        options.append(f"--ulimit=memlock={unit.memlock_bytes}")
    if unit.pids_limit is not None:
        options.append(f"--pids-limit={unit.pids_limit}")
    if unit.health is not None:
        options += _health_check(unit.health)
    return [*options, unit.image, *arguments]


def _mount(mount: Mount) -> str:
    parts = [f"type={mount.kind}", f"target={mount.target}"]
    if mount.source:
        parts.append(f"source={mount.source}")
    if mount.size_bytes is not None:
        parts.append(f"tmpfs-size={mount.size_bytes}")
    return ",".join([*parts, *(["readonly"] if mount.read_only else [])])


def _health_check(health: HealthCheck) -> list[str]:
    return [
        f"--health-cmd={shlex.join(health.argv)}",
        f"--health-interval={health.interval_seconds}s",
        f"--health-timeout={health.timeout_seconds}s",
        f"--health-retries={health.retries}",
        f"--health-start-period={health.start_period_seconds}s",
    ]


@contextlib.contextmanager
def _timed(figures: dict[str, float], name: str) -> Iterator[None]:
    began = time.monotonic()
    yield
    figures[name] = time.monotonic() - began
