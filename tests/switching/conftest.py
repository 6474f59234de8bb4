"""Stacks with trivial engines, as processes and in real containers."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pmpctl.workspace import Workspace
from tests.stack import Stack
from tests.unit.hub.checkpoints import one_file, write_cache

# Of the profiles that a stack has.
MODELS = {"coding": "acme/coder", "chat": "acme/chat"}

MakeStack = Callable[..., Stack]

BOTH_RUNTIMES = pytest.mark.parametrize(
    "make_stack", ["process", pytest.param("docker", marks=pytest.mark.docker)], indirect=True
)


@pytest.fixture
def make_stack(request: pytest.FixtureRequest, workspace: Workspace, stub_vllm: Path) -> Iterator[MakeStack]:
    """Makes one on the runtime that the test's parameter names; its words are those of `Stack.write`."""
    runtime: str = getattr(request, "param", "process")
    environment = {"HF_HUB_OFFLINE": "1"}
    images = {"gateway": "", "host": ""}
    if runtime == "docker":
        environment["DOCKER_HOST"] = request.getfixturevalue("docker_host")
        images["gateway"] = f'base_image = "{request.getfixturevalue("base_image")}"\n'
        images["host"] = f'cpu_image = "{request.getfixturevalue("stub_image")}"\n'
    for model in MODELS.values():
        write_cache(workspace.root / "models", model, one_file())
    stack = Stack(workspace, stub_vllm, runtime=runtime, environment=environment)

    def make(*, gateway: str = "", host: str = "", more: str = "", start_timeout: int = 60) -> Stack:
        stack.write(
            gateway=images["gateway"] + gateway, host=images["host"] + host, more=more, start_timeout=start_timeout
        )
        return stack

    yield make
    stack.run("down")
