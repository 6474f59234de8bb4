"""The engine goes away while it is in use: every call says so, and none hangs."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pmpctl.errors import DockerNotAvailable
from pmpctl.planning.plan import GpuRequest, Unit
from pmpctl.runtime.base import LogQuery, UnitState
from pmpctl.runtime.docker import DockerRuntime
from pmpctl.workspace import Workspace
from tests.unit.runtime.engine import engine_that_answers

UNIT = Unit("engine", "name", "image:1", ("true",), {}, {}, "", gpu=GpuRequest("cdi"), network="network")
STATE = UnitState("0123", "name", "engine", "demo", "hash", "running", "unknown", "image:1", None, False, 0, None, None)

CALLS: dict[str, Callable[[DockerRuntime], Any]] = {
    "info": lambda runtime: runtime.info(),
    "gpu_methods": lambda runtime: runtime.gpu_methods(),
    "units": lambda runtime: runtime.units(),
    "state": lambda runtime: runtime.state("0123"),
    "check": lambda runtime: runtime.check(UNIT),
    "prepare": lambda runtime: list(runtime.prepare(UNIT)),
    "start": lambda runtime: runtime.start(UNIT),
    "stop": lambda runtime: runtime.stop(STATE, 1),
    "remove": lambda runtime: runtime.remove(STATE),
    "clean": lambda runtime: runtime.clean(),
    "logs": lambda runtime: list(runtime.logs(STATE, LogQuery())),
    "follow": lambda runtime: list(runtime.logs(STATE, LogQuery(follow=True))),
    "usage": lambda runtime: runtime.usage(STATE),
    "execute": lambda runtime: runtime.execute(STATE, ["true"]),
}


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DockerRuntime]:
    """Of an engine that answered once and is gone now."""
    monkeypatch.setenv("NO_PROXY", "*")
    with engine_that_answers(json.dumps({"ApiVersion": "1.41"}).encode()) as url:
        runtime = DockerRuntime.connect(Workspace(tmp_path), url, {})
    yield runtime
    runtime.close()


@pytest.mark.parametrize("call", CALLS)
def test_each_call_says_that_the_engine_is_gone(runtime: DockerRuntime, call: str) -> None:
    with pytest.raises(DockerNotAvailable, match="stopped answering") as caught:
        CALLS[call](runtime)
    assert "docker info" in caught.value.cure
