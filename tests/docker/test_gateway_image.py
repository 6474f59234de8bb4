"""The gateway's own image: compiled where it can be, without what compiled it, and the same gateway."""

import os
import subprocess
import sys
import sysconfig
import tempfile
import uuid
from collections.abc import Mapping
from pathlib import Path

import pytest

from pmpctl.planning.plan import ImageBuild
from pmpctl.runtime.base import UnitState
from pmpctl.runtime.docker import DockerRuntime
from pmpctl.runtime.docker_connect import EngineClient
from pmpctl.runtime.docker_images import inspect_image
from pmpctl.runtime.gateway_image import gateway_source
from tests.docker.conftest import UnitMaker
from tests.needs import skip_or_fail

pytestmark = [pytest.mark.docker, pytest.mark.slow]

PYTHON = "/opt/gateway/bin/python"
REPOSITORY = Path(__file__).parents[2]
GATEWAY_TESTS = REPOSITORY / "tests/unit/gateway"
# Those that show most of the hot path for the fewest gateways started.
TESTS = (
    "holding/test_held_requests.py",
    "holding/test_held_streams.py",
    "body",
    "test_cancellation.py",
    "test_engine_answers.py",
    "test_forwarding.py",
    "test_limits_on_the_wire.py",
    "test_pipelining.py",
    "test_smuggling.py",
    "test_streaming.py",
)
one_engine = pytest.mark.parametrize("engine", ["docker_host"], indirect=True)


def started(runtime: DockerRuntime, make_unit: UnitMaker, base_image: str) -> UnitState:
    """A container of the gateway's image that idles."""
    source = gateway_source(base_image)
    unit = make_unit(
        role="gateway",
        image=source.image,
        build=source.build,
        argv=(PYTHON, "-c", "import pmp_gateway, time; print('imported'); time.sleep(600)"),
        user="65532:65532",
        read_only=True,
    )
    list(runtime.prepare(unit))
    assert inspect_image(runtime.client, source.image) is not None
    assert list(runtime.prepare(unit)) == []
    return runtime.start(unit)


def hot_path(runtime: DockerRuntime, gateway: UnitState) -> str:
    """The file of a module that each request passes through."""
    status, said = runtime.execute(gateway, [PYTHON, "-c", "from pmp_gateway import relay; print(relay.__file__)"])
    assert status == 0, said
    return said.strip()


def test_the_gateway_s_image_is_compiled_and_has_nothing_left_of_what_compiled_it(
    runtime: DockerRuntime, make_unit: UnitMaker, base_image: str
) -> None:
    gateway = started(runtime, make_unit, base_image)
    assert runtime.execute(gateway, [PYTHON, "-c", "import fastapi"])[0] == 0
    assert hot_path(runtime, gateway).endswith(".so")
    for package in ("mypy", "mypyc", "ziglang", "setuptools", "pip"):
        assert runtime.execute(gateway, [PYTHON, "-c", f"import {package}"])[0] != 0
    assert runtime.execute(gateway, ["ls", "/build"])[0] != 0


@one_engine
def test_a_base_image_without_python_s_headers_makes_a_gateway_that_is_interpreted(
    runtime: DockerRuntime, client: EngineClient, make_unit: UnitMaker, base_image: str, tmp_path: Path
) -> None:
    without_headers = f"pmpctl-test-build:{uuid.uuid4().hex[:12]}"
    (tmp_path / "Dockerfile").write_text(f"FROM {base_image}\nRUN rm $(find / -xdev -name Python.h)\n")
    list(
        runtime.prepare(
            make_unit(image=without_headers, build=ImageBuild((("Dockerfile", tmp_path / "Dockerfile"),), {}))
        )
    )
    try:
        gateway = started(runtime, make_unit, without_headers)
        assert hot_path(runtime, gateway).endswith(".py")
        runtime.remove(gateway)
    finally:
        client.remove_image(gateway_source(without_headers).image, force=True)
        client.remove_image(without_headers, force=True)


@one_engine
@pytest.mark.timeout(900)
def test_the_image_s_gateway_passes_the_tests_of_the_gateway(
    runtime: DockerRuntime, client: EngineClient, make_unit: UnitMaker, base_image: str, tmp_path: Path
) -> None:
    gateway = started(runtime, make_unit, base_image)
    asked = "import sysconfig; print(sysconfig.get_config_var('EXT_SUFFIX'))"
    suffix = runtime.execute(gateway, [PYTHON, "-c", asked])[1].strip()
    if suffix != sysconfig.get_config_var("EXT_SUFFIX"):
        skip_or_fail(f"the image's Python is not the one that runs the tests: its modules end in {suffix}")
    archive, _ = client.get_archive(gateway.id, "/opt/gateway/src")
    subprocess.run(["tar", "-x", "-C", tmp_path], input=b"".join(archive), check=True)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("COV", "PYTEST"))}
    environment = {**inherited, "PYTHONPATH": str(tmp_path / "src")}
    used = run("-c", "from pmp_gateway import relay; print(relay.__file__)", environment=environment)
    assert used.stdout.strip() == f"{tmp_path}/src/pmp_gateway/relay{suffix}"
    # Sockets' paths must be short.
    with tempfile.TemporaryDirectory() as folder:
        options = ["-q", "-x", "-p", "no:cacheprovider", f"--basetemp={folder}/tests"]
        done = run("-m", "pytest", *options, *(str(GATEWAY_TESTS / name) for name in TESTS), environment=environment)
    assert done.returncode == 0, done.stdout[-5000:]


def run(*arguments: str, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], env=environment, cwd=REPOSITORY, capture_output=True, text=True)
