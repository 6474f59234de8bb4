"""The daily commands on a real Docker engine, with the trivial engine in a container and the gateway's built image."""

import io
import json
import signal
from collections.abc import Iterator
from pathlib import Path

import docker
import httpx
import pytest
from docker.models.containers import Container

from pmp_gateway.control_schema import Reason
from pmpctl.operations.gateway_control import hold
from pmpctl.planning.plan import LABEL_ROLE, LABEL_WORKSPACE
from pmpctl.workspace import Workspace
from tests.stack import Stack
from tests.support import GPU_UUIDS, MIG_UUID, eventually

pytestmark = pytest.mark.docker

CANARY = "hf_canary0123456789abcdefghij"


@pytest.fixture
def stack(workspace: Workspace, stub_vllm: Path, docker_host: str, base_image: str, stub_image: str) -> Iterator[Stack]:
    stack = Stack(workspace, stub_vllm, runtime="docker", environment={"DOCKER_HOST": docker_host})
    stack.write(gateway=f'base_image = "{base_image}"', host=f'cpu_image = "{stub_image}"')
    yield stack
    stack.run("down")


def containers_of(client: docker.DockerClient, stack: Stack, *, running: bool = False) -> dict[str, str]:
    """Role -> container id; with `running` without those that are only created, or have ended."""
    found = client.containers.list(all=not running, filters={"label": f"{LABEL_WORKSPACE}={stack.workspace.id}"})
    return {container.labels[LABEL_ROLE]: container.id or "" for container in found}


def inside(container: Container, *argv: str) -> str:
    """What a command says in a container."""
    output = container.exec_run(list(argv)).output
    assert isinstance(output, bytes)
    return output.decode()


def test_up_answers_is_idempotent_and_down_removes_only_ours(stack: Stack, docker_client: docker.DockerClient) -> None:
    foreign = docker_client.containers.run(
        "pmpctl-test/stub-engine:1", ["serve", "foreign"], entrypoint="vllm", detach=True
    )
    try:
        up = stack.run("up", "coding")
        assert up.returncode == 0, up.stderr
        assert stack.ask("Hello there")["choices"][0]["message"]["content"] == "Hello there"
        before = containers_of(docker_client, stack)

        assert stack.json("up", "coding")["data"]["changes"] == {"engine": "kept", "gateway": "kept"}
        assert containers_of(docker_client, stack) == before

        changed = stack.json("up", "chat")["data"]["changes"]
        assert changed == {"engine": "replaced", "gateway": "kept"}
        assert containers_of(docker_client, stack)["gateway"] == before["gateway"]

        assert stack.run("down").returncode == 0
        assert containers_of(docker_client, stack) == {}
        foreign.reload()
        assert foreign.status == "running"
    finally:
        foreign.remove(force=True)


def test_status_asks_the_engine_and_no_file(stack: Stack, docker_client: docker.DockerClient) -> None:
    stack.run("up", "coding")
    assert stack.status()["phase"] == "ready"

    docker_client.containers.get(containers_of(docker_client, stack)["engine"]).remove(force=True)

    assert stack.status()["phase"] == "engine-away"
    assert stack.json("up", "coding")["data"]["changes"] == {"engine": "started", "gateway": "kept"}


def test_a_killed_command_leaves_a_start_that_the_next_one_adopts(
    stack: Stack, docker_client: docker.DockerClient
) -> None:
    with stack.running("up", "coding") as command:
        # One that is only created is no start yet: it would be replaced.
        eventually(lambda: "engine" in containers_of(docker_client, stack, running=True), 60)
        command.send_signal(signal.SIGKILL)
        command.wait(30)
    engine = containers_of(docker_client, stack)["engine"]

    assert stack.run("up", "coding").returncode == 0
    assert containers_of(docker_client, stack)["engine"] == engine
    assert stack.status()["phase"] == "ready"


def test_a_failed_start_shows_the_first_error_and_keeps_the_log(
    stack: Stack, docker_client: docker.DockerClient, base_image: str, stub_image: str
) -> None:
    recipe = io.BytesIO(f"FROM {stub_image}\nENV STUB_EXIT_CODE=3\n".encode())
    docker_client.images.build(fileobj=recipe, tag="pmpctl-test/broken-engine:1")
    try:
        stack.write(gateway=f'base_image = "{base_image}"', host='cpu_image = "pmpctl-test/broken-engine:1"')
        done = stack.run("up", "coding")

        assert done.returncode == 4
        assert "error: the engine of 'coding' ended before it answered" in done.stderr
        assert "ValueError: No available memory for the cache blocks." in done.stderr
        logs = stack.run("logs", "engine")
        assert "ValueError" in logs.stdout + logs.stderr
        assert stack.status()["phase"] == "failed"
    finally:
        stack.run("down")
        docker_client.images.remove("pmpctl-test/broken-engine:1", force=True)


def test_the_hub_token_is_in_no_inspect(stack: Stack, docker_client: docker.DockerClient) -> None:
    assert stack.run("up", "coding", HF_TOKEN=CANARY).returncode == 0

    for container in containers_of(docker_client, stack).values():
        assert CANARY not in json.dumps(docker_client.api.inspect_container(container))
    engine = docker_client.containers.get(containers_of(docker_client, stack)["engine"])
    assert inside(engine, "sh", "-c", 'cat "$HF_TOKEN_PATH"') == CANARY


def test_a_missing_image_is_named_with_its_cure_and_nothing_starts(
    stack: Stack, docker_client: docker.DockerClient, base_image: str, registry: str
) -> None:
    stack.write(gateway=f'base_image = "{base_image}"', host=f'cpu_image = "{registry}/nobody/vllm:v0.32.0"')

    done = stack.run("up", "coding")

    assert done.returncode == 10
    assert f"{registry}/nobody/vllm:v0.32.0" in done.stderr
    assert containers_of(docker_client, stack) == {}


def test_without_an_engine_auto_takes_processes_and_docker_is_an_error_with_its_cure(
    workspace: Workspace, stub_vllm: Path
) -> None:
    stack = Stack(workspace, stub_vllm, environment={"DOCKER_HOST": "unix:///nowhere/docker.sock"})
    stack.write()
    text = (workspace.root / "profiles.toml").read_text()
    (workspace.root / "profiles.toml").write_text(text.replace('runtime = "process"', 'runtime = "auto"'))

    chosen = stack.json("up", "coding", "--dry-run")
    refused = stack.run("--runtime", "docker", "up", "coding")

    assert chosen["data"]["plan"]["runtime"] == "process"
    assert refused.returncode == 8
    assert "/nowhere/docker.sock" in refused.stderr
    assert "cure:" in refused.stderr


@pytest.mark.gpu_hook
@pytest.mark.parametrize(
    ("settings", "visible"),
    [
        ("", "all"),
        (f'gpus = ["{GPU_UUIDS[1]}"]', GPU_UUIDS[1]),
        ('gpu_access = "runtime"\ngpus = [0]', "0"),
        (f'gpu_access = "device-requests"\ngpus = ["{MIG_UUID}"]', MIG_UUID),
    ],
)
def test_a_gpu_profile_gets_the_gpus_that_the_host_settings_name(
    stack: Stack, docker_client: docker.DockerClient, base_image: str, stub_image: str, settings: str, visible: str
) -> None:
    more = '[profiles.gpu]\nmodel = "acme/coder"\ndevice = "cuda"'
    stack.write(gateway=f'base_image = "{base_image}"', host=f'cuda_image = "{stub_image}"\n{settings}', more=more)

    up = stack.run("up", "gpu")

    assert up.returncode == 0, up.stderr
    engine = docker_client.containers.get(containers_of(docker_client, stack)["engine"])
    assert inside(engine, "nvidia-smi", "-L").startswith("GPU")
    assert f"NVIDIA_VISIBLE_DEVICES={visible}" in inside(engine, "cat", "/proc/1/environ").split("\0")


@pytest.mark.gpu_hook
def test_a_gpu_that_does_not_exist_is_named_and_nothing_stays_behind(
    stack: Stack, docker_client: docker.DockerClient, base_image: str, stub_image: str
) -> None:
    more = '[profiles.gpu]\nmodel = "acme/coder"\ndevice = "cuda"'
    host = f'cuda_image = "{stub_image}"\ngpus = [7]'
    stack.write(gateway=f'base_image = "{base_image}"', host=host, more=more)

    up = stack.run("up", "gpu")

    assert up.returncode == 8
    assert "no GPU 7" in up.stderr
    assert "nvidia-smi -L" in up.stderr
    assert containers_of(docker_client, stack) == {}


def test_tokens_count_at_once_for_a_gateway_in_a_container_and_show_up_nowhere(
    stack: Stack, docker_client: docker.DockerClient
) -> None:
    stack.run("up", "coding")
    assert stack.ask()

    added = stack.json("token", "add", "laptop", "--max-concurrent", "2")["data"]
    token = added["token"]
    assert added["gateway"] == "reloaded"
    with pytest.raises(httpx.HTTPStatusError, match="401"):
        stack.ask()
    assert stack.ask(headers={"Authorization": f"Bearer {token}"})

    other = stack.json("token", "add", "other")["data"]["token"]
    assert stack.json("token", "revoke", "laptop")["data"]["gateway"] == "reloaded"
    with pytest.raises(httpx.HTTPStatusError, match="401"):
        stack.ask(headers={"Authorization": f"Bearer {token}"})
    # The next gateway reads the file as well.
    assert stack.run("up", "coding", "--restart").returncode == 0
    assert stack.ask(headers={"Authorization": f"Bearer {other}"})

    gateway = docker_client.containers.get(containers_of(docker_client, stack)["gateway"])
    seen = [json.dumps(gateway.attrs), gateway.logs().decode(), json.dumps(gateway.top())]
    assert all(secret not in text for secret in (token, other) for text in seen)


def test_a_gateway_container_that_is_killed_in_a_hold_comes_back_in_it(
    stack: Stack, docker_client: docker.DockerClient
) -> None:
    stack.run("up", "coding")
    hold(stack.workspace, "switch-1", Reason.SWITCH, 600)
    gateway = docker_client.containers.get(containers_of(docker_client, stack)["gateway"])
    gateway.kill()
    gateway.start()
    eventually(lambda: stack.status()["gateway_phase"] == "holding", 60)
    assert stack.status()["door"]["hold_id"] == "switch-1"

    opened = inside(gateway, "/opt/gateway/bin/python", "-m", "pmp_gateway.control", "open", "--hold-id", "switch-1")
    assert json.loads(opened)["phase"] == "open"
    assert stack.ask()

    assert stack.json("down")["data"]["cancelled"] == 0
    assert list(stack.workspace.control_dir.iterdir()) == []
