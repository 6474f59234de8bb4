"""A Docker runtime of a workspace of the test's own, on the old engine and on the new one."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pmpctl.planning.plan import LABEL_PLAN, LABEL_PROFILE, LABEL_ROLE, LABEL_WORKSPACE, Role, Unit
from pmpctl.runtime.docker import DockerRuntime
from pmpctl.runtime.docker_connect import EngineClient
from pmpctl.workspace import Workspace

UnitMaker = Callable[..., Unit]


@pytest.fixture(
    params=[
        pytest.param("docker_host", id="docker-20.10"),
        pytest.param("cdi_docker_host", id="docker-28", marks=pytest.mark.cdi),
    ]
)
def engine(request: pytest.FixtureRequest) -> str:
    """The address of a Docker engine: each test runs on both."""
    address: str = request.getfixturevalue(request.param)
    return address


@pytest.fixture
def runtime(engine: str, workspace: Workspace) -> Iterator[DockerRuntime]:
    connected = DockerRuntime.connect(workspace, engine, {})
    yield connected
    connected.close()


@pytest.fixture
def client(runtime: DockerRuntime) -> EngineClient:
    """The engine itself, to see what came of it and to play somebody else."""
    return runtime.client


@pytest.fixture
def make_unit(workspace: Workspace, base_image: str) -> UnitMaker:
    """A unit of the workspace whose program is Python source."""

    def make(program: str = "import time; time.sleep(600)", *, role: Role = "engine", **changes: Any) -> Unit:
        fields: dict[str, Any] = {
            "role": role,
            "name": f"pmpctl-{workspace.id}-{role}",
            "image": base_image,
            "argv": ("python3", "-u", "-c", program),
            "env": {},
            "labels": {
                LABEL_WORKSPACE: workspace.id,
                LABEL_ROLE: role,
                LABEL_PROFILE: "demo",
                LABEL_PLAN: "0123456789abcdef",
            },
            "health_url": "",
            "network": f"pmpctl-{workspace.id}",
            "network_alias": role,
            "stop_timeout_seconds": 1,
        }
        return Unit(**{**fields, **changes})

    return make
