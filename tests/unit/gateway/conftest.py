import itertools
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.unit.gateway.control import Control
from tests.unit.gateway.gateway_process import GatewayProcess
from tests.unit.gateway.stub import Backend

StartGateway = Callable[..., GatewayProcess]


@pytest.fixture(scope="session")
def shared_gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[GatewayProcess, int]]:
    """A gateway with default settings that waits for no engine, and the port where it expects its backend."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        backend_port = probe.getsockname()[1]
    folder = tmp_path_factory.mktemp("gateway")
    gateway = GatewayProcess(folder, f"http://127.0.0.1:{backend_port}", {"PMP_GATEWAY_ENGINE_WAIT_SECONDS": "0"})
    try:
        gateway.wait_until_listening()
        yield gateway, backend_port
    finally:
        gateway.kill()


@pytest.fixture
async def backend(shared_gateway: tuple[GatewayProcess, int]) -> AsyncIterator[Backend]:
    """The backend that the shared gateway expects; other gateways may have it too."""
    backend = Backend()
    await backend.start(shared_gateway[1])
    yield backend
    await backend.stop()


@pytest.fixture
def gateway(shared_gateway: tuple[GatewayProcess, int], backend: Backend) -> Iterator[GatewayProcess]:
    gateway = shared_gateway[0]
    before = len(gateway.stderr)
    yield gateway
    assert "Traceback" not in gateway.stderr[before:]


@pytest.fixture
def start_gateway(tmp_path: Path, backend: Backend) -> Iterator[StartGateway]:
    """Starts gateways of one's own in front of the backend."""
    started: list[GatewayProcess] = []
    numbers = itertools.count()

    def start(*, listening: bool = True, backend_url: str = "", **env: str) -> GatewayProcess:
        gateway = GatewayProcess(tmp_path / f"gateway-{next(numbers)}", backend_url or backend.url, env)
        started.append(gateway)
        if listening:
            gateway.wait_until_listening()
        return gateway

    yield start
    for gateway in started:
        gateway.kill()


@pytest.fixture
def control(tmp_path: Path) -> Control:
    """Of a gateway that is told of this socket."""
    return Control(tmp_path / "control.sock")


@pytest.fixture
async def client(gateway: GatewayProcess) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=gateway.url, timeout=30) as client:
        yield client
