"""A trial runs in a container of the unit's image that has nothing of what the unit itself gets."""

import pytest

from pmpctl.planning.plan import GpuRequest, Mount, PortBinding
from pmpctl.runtime.docker import DockerRuntime
from pmpctl.runtime.docker_connect import EngineClient
from pmpctl.runtime.docker_trial import LABEL_TRIAL
from pmpctl.workspace import Workspace
from tests.docker.conftest import UnitMaker
from tests.docker.containers import foreign_container

pytestmark = pytest.mark.docker

ALONE = {"NetworkMode": "none"}

LOOK = """
import os, pathlib, sys
print("arguments", *sys.argv[1:])
print("interfaces", *sorted(os.listdir("/sys/class/net")))
print("file", pathlib.Path("/srv/template").read_text())
print("secrets", pathlib.Path("/run/secrets/pmpctl").exists())
print("gpus", pathlib.Path("/etc/nvidia-visible-devices").exists(), file=sys.stderr)
sys.exit(7)
"""


def trials(client: EngineClient, workspace: Workspace) -> list[str]:
    found = client.containers(all=True, filters={"label": f"{LABEL_TRIAL}={workspace.id}"})
    return [one["Id"] for one in found]


def test_a_trial_sees_the_files_of_the_unit_and_neither_network_nor_secrets_nor_gpu(
    runtime: DockerRuntime, client: EngineClient, make_unit: UnitMaker, workspace: Workspace, free_port: int
) -> None:
    template = workspace.root / "template"
    template.write_text("hello")
    workspace.secrets_dir.mkdir(parents=True)
    unit = make_unit(
        gpu=GpuRequest("device-requests"),
        ports=(PortBinding("127.0.0.1", free_port, 8000),),
        mounts=(
            Mount("bind", str(template), "/srv/template", read_only=True),
            Mount("bind", str(workspace.secrets_dir), "/run/secrets/pmpctl", read_only=True),
            Mount("volume", f"pmpctl-{workspace.id}-compile", "/var/cache/pmpctl"),
        ),
    )

    ended = runtime.try_python(unit, LOOK, ("serve", "--port", "8000"), 60)

    assert ended is not None
    assert ended.exit_status == 7
    assert sorted(ended.output) == [
        "arguments serve --port 8000",
        "file hello",
        "gpus False",
        "interfaces lo",
        "secrets False",
    ]
    assert trials(client, workspace) == []
    assert runtime.units() == ()


def test_a_trial_that_takes_too_long_is_given_up_and_removed(
    runtime: DockerRuntime, client: EngineClient, make_unit: UnitMaker, workspace: Workspace
) -> None:
    assert runtime.try_python(make_unit(), "import time; time.sleep(600)", (), 1) is None
    assert trials(client, workspace) == []


def test_what_a_killed_command_left_of_a_trial_goes_with_the_next_one_and_with_down(
    runtime: DockerRuntime, client: EngineClient, make_unit: UnitMaker, workspace: Workspace, base_image: str
) -> None:
    with foreign_container(client, base_image, Labels={LABEL_TRIAL: "another-00000000"}, HostConfig=ALONE) as foreign:
        for clear in (lambda: runtime.try_python(make_unit(), "", (), 60), runtime.clean):
            client.create_container_from_config({"Image": base_image, "Labels": {LABEL_TRIAL: workspace.id}}, None)  # type: ignore[no-untyped-call]
            clear()

            assert trials(client, workspace) == []
        assert client.inspect_container(foreign)["State"]["Running"]


def test_an_image_without_python_ends_without_an_answer(
    runtime: DockerRuntime, client: EngineClient, make_unit: UnitMaker, workspace: Workspace
) -> None:
    client.import_image_from_data(bytes(10240), repository="pmpctl-test/no-python", tag="1")
    try:
        ended = runtime.try_python(make_unit(image="pmpctl-test/no-python:1"), "print(1)", (), 60)
    finally:
        client.remove_image("pmpctl-test/no-python:1", force=True)

    assert ended is not None
    assert (ended.exit_status, trials(client, workspace)) == (127, [])


def test_an_image_is_known_by_its_content(runtime: DockerRuntime, make_unit: UnitMaker, base_image: str) -> None:
    assert (runtime.software(make_unit()) or "").startswith("sha256:")
    assert runtime.software(make_unit(image="pmpctl-test/not-there:1")) is None
