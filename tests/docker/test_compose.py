"""The compose files under a real compose and a real engine."""

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import httpx
import pytest
from docker.errors import ImageNotFound

from tests.cli import pmpctl
from tests.support import eventually, find_free_port

pytestmark = pytest.mark.docker

COMMITTED = Path(__file__).parents[2] / "compose"
TOKEN = "open-sesame"

PROFILES = """
default = "small"

[gateway]
listen = "127.0.0.1:{api_port}"
base_image = "{base_image}"

[host]
engine_port = {engine_port}
cpu_image = "{stub_image}"
cuda_image = "{stub_image}"
{host}

[profiles.small]
model = "acme/small"
device = "cpu"

[profiles.other]
extends = "small"
model = "acme/other"

[profiles.cuda]
model = "acme/cuda"
"""


@dataclass(frozen=True, slots=True)
class ComposeStack:
    """A rendered folder in a workspace of its own, and the compose that runs it."""

    root: Path
    program: str
    environment: dict[str, str]
    api: str

    def compose(self, *argv: str) -> str:
        return run(self.program, self.root / "compose/compose.yaml", *argv, **self.environment)

    def chat(self, **headers: str) -> httpx.Response:
        body = {"model": "llm", "messages": [{"role": "user", "content": "good morning"}]}
        return httpx.post(f"{self.api}/v1/chat/completions", json=body, headers=headers)


def run(program: str, file: Path, *argv: str, **environment: str) -> str:
    """Runs compose on a file; fails with what it said."""
    command = [program, "-f", str(file), *argv]
    done = subprocess.run(
        command, env=os.environ | environment, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def unchanged_gateway_image(docker_client: docker.DockerClient) -> Iterator[None]:
    """The image that a compose stack of the user's own may run from is afterwards as it was before."""
    name = "pmpctl-gateway:compose"
    try:
        before = docker_client.images.get(name)
    except ImageNotFound:
        yield
        docker_client.images.remove(name)
    else:
        yield
        before.tag(name)


@pytest.fixture
def make_stack(
    tmp_path: Path, docker_compose: str, docker_host: str, base_image: str, stub_image: str
) -> Iterator[Any]:
    made: list[ComposeStack] = []

    def make(host: str = "", profile: str = "small", engine: str = docker_host) -> ComposeStack:
        api_port = find_free_port()
        ports = {"api_port": api_port, "engine_port": find_free_port()}
        text = PROFILES.format(**ports, base_image=base_image, stub_image=stub_image, host=host)
        (tmp_path / "profiles.toml").write_text(text)
        rendered = pmpctl("render", "compose", "--directory", "compose", cwd=tmp_path)
        assert rendered.returncode == 0, rendered.stderr
        environment = {
            "DOCKER_HOST": engine,
            "MODEL_PROFILE": profile,
            "COMPOSE_PROJECT_NAME": f"pmpctl-test-{api_port}",
        }
        made.append(ComposeStack(tmp_path, docker_compose, environment, f"http://127.0.0.1:{api_port}"))
        return made[-1]

    yield make
    for stack in made:
        stack.compose("down", "--volumes", "--remove-orphans", "--timeout", "1")


@pytest.mark.parametrize("profile", sorted(path.stem for path in (COMMITTED / "engines").glob("*.yaml")))
def test_compose_accepts_the_committed_stack_of_every_profile(docker_compose: str, profile: str) -> None:
    run(docker_compose, COMMITTED / "compose.yaml", "config", "--quiet", MODEL_PROFILE=profile)


@pytest.mark.slow
@pytest.mark.usefixtures("unchanged_gateway_image")
def test_compose_starts_the_stack_of_model_profile_and_the_gateway_answers_for_it(make_stack: Any) -> None:
    stack = make_stack(profile="other")
    (stack.root / "config").mkdir()
    (stack.root / "config/auth.json").write_text(json.dumps({"tokens": [TOKEN]}))
    stack.compose("up", "--detach")
    token = {"Authorization": f"Bearer {TOKEN}"}

    def reached() -> bool:
        try:
            return bool(stack.chat(**token).status_code == 200)
        except httpx.TransportError:
            return False

    eventually(reached, timeout=60)
    assert stack.chat(**token).json()["choices"][0]["message"]["content"] == "good morning"
    assert stack.chat().status_code == 401
    names = {each["id"] for each in httpx.get(f"{stack.api}/v1/models", headers=token).json()["data"]}
    assert {"llm", "other", "acme/other"} <= names

    inside = stack.compose("exec", "-T", "gateway", "python", "-m", "pmp_gateway.control", "status")
    assert json.loads(inside)["phase"] == "open"

    down = pmpctl("--workspace", str(stack.root), "--runtime", "docker", "down")
    assert "Nothing of this workspace runs" in down.stdout
    assert stack.chat(**token).status_code == 200


@pytest.mark.gpu_hook
@pytest.mark.parametrize(
    ("host", "requests", "runtime"),
    [
        ("", [("", -1, [])], "runc"),
        ("gpus = [1]", [("", 0, ["1"])], "runc"),
        ('gpu_access = "cdi"\ngpus = [0]', [("cdi", 0, ["nvidia.com/gpu=0"])], "runc"),
        ('gpu_access = "runtime"', [], "nvidia"),
    ],
)
def test_compose_asks_the_engine_for_gpus_as_planned(
    make_stack: Any,
    docker_client: docker.DockerClient,
    host: str,
    requests: list[tuple[str, int, list[str]]],
    runtime: str,
) -> None:
    stack = make_stack(host=host, profile="cuda")
    stack.compose("up", "--no-start", "engine")

    config = docker_client.containers.get(stack.compose("ps", "--all", "--quiet", "engine").strip()).attrs["HostConfig"]
    asked = [(each["Driver"], each["Count"], each["DeviceIDs"] or []) for each in config["DeviceRequests"] or ()]
    assert asked == requests
    assert config["Runtime"] == runtime


@pytest.mark.cdi
@pytest.mark.slow
def test_a_gpu_by_cdi_is_there_in_the_container_that_compose_starts(make_stack: Any, cdi_docker_host: str) -> None:
    stack = make_stack(host='gpu_access = "cdi"\ngpus = [1]', profile="cuda", engine=cdi_docker_host)
    stack.compose("up", "--detach", "engine")

    devices = stack.compose("exec", "-T", "engine", "ls", "/dev").split()
    assert "nvidia1" in devices
    assert "nvidia0" not in devices
