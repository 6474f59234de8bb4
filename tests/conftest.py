"""Fixtures that hand a test the real things it needs, and take away what it left behind."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import docker
import psutil
import pytest
from hypothesis import HealthCheck, settings

from pmpctl.planning.plan import LABEL_WORKSPACE
from pmpctl.workspace import Workspace
from tests import needs
from tests.support import find_free_port

# A busy machine takes its time for an example; what hangs is ended by pytest's own limit.
settings.register_profile("busy", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")

_SHARED_ENGINES = {"docker": ("docker", "cdi", "gpu_hook"), "vllm": ("vllm",)}
STUB_ENGINE = Path(__file__).parent / "world" / "stub_engine.py"


def pytest_configure() -> None:
    """Commands under test can be interrupted also where a shell runs the tests in the background, deaf to that."""
    for number in (signal.SIGINT, signal.SIGQUIT):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker, find in needs.BY_MARKER.items():
        if item.get_closest_marker(marker):
            needs.require(find)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What shares one engine follows one another on one of the workers that tests may be spread over.

    First of all hooks: pytest-xdist reads the groups in one of its own.
    """
    for item in items:
        for group, markers in _SHARED_ENGINES.items():
            if any(item.get_closest_marker(marker) for marker in markers):
                item.add_marker(pytest.mark.xdist_group(group))
                break


@pytest.fixture(scope="session")
def vllm_program() -> Path:
    return Path(needs.require(needs.vllm_program))


@pytest.fixture(scope="session")
def stub_vllm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The trivial engine as an executable `vllm`; tests/world/stub_engine.py tells its faults."""
    program = tmp_path_factory.mktemp("stub") / "vllm"
    program.write_text(STUB_ENGINE.read_text().replace("#!/usr/bin/env python3", f"#!{sys.executable}", 1))
    program.chmod(0o755)
    return program


@pytest.fixture(scope="session")
def docker_host() -> str:
    return needs.require(needs.docker_host)


@pytest.fixture(scope="session")
def cdi_docker_host() -> str:
    return needs.require(needs.cdi_docker_host)


@pytest.fixture(scope="session")
def docker_client(docker_host: str) -> Iterator[docker.DockerClient]:
    with needs.client(docker_host) as client:
        yield client


@pytest.fixture(scope="session")
def cdi_docker_client(cdi_docker_host: str) -> Iterator[docker.DockerClient]:
    with needs.client(cdi_docker_host) as client:
        yield client


@pytest.fixture(scope="session")
def base_image() -> str:
    return needs.require(needs.base_image)


@pytest.fixture(scope="session")
def stub_image() -> str:
    return needs.require(needs.stub_image)


@pytest.fixture(scope="session")
def vllm_image() -> str:
    return needs.require(needs.vllm_image)


@pytest.fixture(scope="session")
def docker_compose() -> str:
    return needs.require(needs.docker_compose)


@pytest.fixture(scope="session")
def registry() -> str:
    """Address of an open registry."""
    return needs.require(needs.registry)


@pytest.fixture(scope="session")
def auth_registry() -> str:
    """Address of a registry that wants user `pmpctl` with password `not-a-secret`."""
    return needs.require(needs.auth_registry)


@pytest.fixture
def free_port() -> int:
    return find_free_port()


@pytest.fixture
def workspace(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Workspace]:
    """A workspace of the test's own; what still runs or lies about for it afterwards is removed."""
    workspace = Workspace(tmp_path / "workspace")
    workspace.root.mkdir()
    yield workspace
    if workspace.process_dir.exists():
        _kill_processes_of(workspace)
    for marker in ("docker", "cdi"):
        if request.node.get_closest_marker(marker):
            with needs.client(needs.BY_MARKER[marker]()) as client:
                remove_all_of(workspace, client)


def remove_all_of(workspace: Workspace, client: docker.DockerClient) -> None:
    ours: dict[str, str | list[str] | bool] = {"label": f"{LABEL_WORKSPACE}={workspace.id}"}
    for container in client.containers.list(all=True, filters=ours):
        container.remove(force=True, v=True)
    for network in client.networks.list(filters=ours):
        network.remove()
    for volume in client.volumes.list(filters=ours):
        volume.remove(force=True)


def _kill_processes_of(workspace: Workspace) -> None:
    """Those whose command line or environment names the workspace: the runtime's records may be what a test broke."""
    for process in psutil.process_iter():
        try:
            named = str(workspace.root) in " ".join([*process.cmdline(), *process.environ().values()])
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
        if named and process.pid != os.getpid():
            process.kill()
