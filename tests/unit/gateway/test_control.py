import asyncio
import json
import os
import socket
import stat
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import httpx
import pytest

from pmp_gateway import __version__
from pmp_gateway.control_schema import (
    SCHEMA,
    AuthStatus,
    BackendStatus,
    DoorStatus,
    GatewayStatus,
    HoldCounts,
    Phase,
    Reason,
)
from tests.support import eventually
from tests.unit.gateway.conftest import StartGateway
from tests.unit.gateway.stub import MODEL, Backend, Call
from tests.unit.gateway.wire import wire


def _control(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pmp_gateway.control", *arguments],
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


async def _ask(socket_path: Path, method: str = "GET", path: str = "/status") -> httpx.Response:
    async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(uds=str(socket_path))) as client:
        return await client.request(method, f"http://gateway{path}")


async def _status(socket_path: Path) -> GatewayStatus:
    return GatewayStatus.from_data((await _ask(socket_path)).json())


def test_the_version_is_that_of_the_project() -> None:
    assert __version__ == version("pmpctl")


def test_the_schema_needs_no_framework() -> None:
    code = "import sys, pmp_gateway.control_schema; print({'fastapi', 'pydantic', 'aiohttp'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_a_status_survives_the_way_through_json() -> None:
    status = GatewayStatus(
        version="1",
        phase=Phase.HOLDING,
        in_flight=1,
        held=2,
        requests_total=3,
        backend=BackendStatus("http://b", True, ("m",)),
        auth=AuthStatus(True, 2),
        uptime_seconds=1.5,
        door=DoorStatus(
            since=2.5,
            reason=Reason.SWITCH,
            hold_id="switch-1",
            deadline=3.5,
            held_bytes=4,
            held_oldest_seconds=5.5,
            engine_away_since=6.5,
            counts=HoldCounts(1, 2, 3, 4, 5, 6),
        ),
    )
    data = json.loads(json.dumps(status.as_data()))
    assert data["schema"] == SCHEMA
    assert GatewayStatus.from_data({**data, "added_later": 1}) == status
    with pytest.raises(ValueError, match="schema 2"):
        GatewayStatus.from_data({**data, "schema": 2})


async def test_status_tells_what_the_gateway_is_doing(
    start_gateway: StartGateway, backend: Backend, tmp_path: Path
) -> None:
    async def hang(call: Call) -> None:
        await asyncio.Event().wait()

    path = tmp_path / "control.sock"
    gateway = start_gateway(PMP_GATEWAY_CONTROL_SOCKET=str(path))
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    first = await _status(path)
    assert first.phase is Phase.OPEN
    assert (first.version, first.in_flight, first.held, first.requests_total) == (__version__, 0, 0, 0)
    assert first.backend == BackendStatus(backend.url, ready=True, models=(MODEL,))
    assert first.auth == AuthStatus(enabled=False, tokens=0)

    backend.handler = hang
    async with wire(gateway.port) as connection:
        await connection.post("/v1/completions", b"{}")
        call = await backend.next_call()
        assert (await _status(path)).in_flight == 1
        await connection.leave()
        await call.gone.wait()
    await backend.stop()
    last = await _status(path)
    assert (last.in_flight, last.requests_total) == (0, 1)
    assert last.backend == BackendStatus(backend.url, ready=False, models=())
    assert last.uptime_seconds > first.uptime_seconds
    await backend.start(backend.port)


async def test_in_flight_is_zero_again_however_requests_end(
    start_gateway: StartGateway, backend: Backend, tmp_path: Path
) -> None:
    async def break_off(call: Call) -> None:
        await call.start()
        await call.chunk(b"data: 1\n\n")
        call.break_off()

    path = tmp_path / "control.sock"
    gateway = start_gateway(PMP_GATEWAY_CONTROL_SOCKET=str(path))
    async with httpx.AsyncClient(base_url=gateway.url) as client:
        await client.post("/v1/completions", json={})
        await client.post("/v1/completions", content=b"{")
        backend.handler = break_off
        await client.post("/v1/completions", json={})
        await client.get("/v1/models/none")
    async with wire(gateway.port) as connection:
        await connection.send(
            b"POST /v1/completions HTTP/1.1\r\nHost: g\r\nX-Request-Id: left\r\nContent-Length: 9\r\n\r\n{"
        )
        await connection.leave()
    await asyncio.to_thread(gateway.logged, "left")
    status = await _status(path)
    assert (status.in_flight, status.requests_total) == (0, 3)


async def test_control_is_on_the_socket_only(client: httpx.AsyncClient) -> None:
    assert (await client.get("/status")).status_code == 404
    assert (await client.post("/reload")).status_code == 404


async def test_the_control_client_prints_json_and_reload_reads_the_tokens(
    start_gateway: StartGateway, tmp_path: Path
) -> None:
    auth = tmp_path / "auth.json"
    auth.write_text('{"tokens": []}')
    path = str(tmp_path / "control.sock")
    start_gateway(PMP_GATEWAY_CONTROL_SOCKET=path, AUTH_CONFIG_PATH=str(auth), backend_url="http://127.0.0.1:9")
    shown = _control("status", PMP_GATEWAY_CONTROL_SOCKET=path)
    assert shown.returncode == 0
    assert GatewayStatus.from_data(json.loads(shown.stdout)).auth == AuthStatus(False, 0)

    auth.write_text('{"tokens": ["a", "b"]}')
    done = _control("reload", "--socket", path)
    assert done.returncode == 0
    assert json.loads(done.stdout)["auth"] == {"enabled": True, "tokens": 2}

    auth.write_text('{"tokens": ')
    refused = _control("reload", "--socket", path)
    assert refused.returncode == 1
    answer = json.loads(refused.stdout)
    assert answer["ok"] is False
    assert "auth.json" in answer["message"]
    assert answer["auth"] == {"enabled": True, "tokens": 2}


def test_the_control_client_says_that_nobody_answers(tmp_path: Path) -> None:
    refused = _control("status", "--socket", str(tmp_path / "none.sock"))
    assert refused.returncode == 1
    assert refused.stdout == ""
    assert refused.stderr.startswith("no answer from the gateway")


def test_a_socket_may_lie_deeper_than_a_kernel_address_reaches(start_gateway: StartGateway, tmp_path: Path) -> None:
    folder = tmp_path / ("d" * 120)
    folder.mkdir()
    path = folder / "control.sock"
    gateway = start_gateway(PMP_GATEWAY_CONTROL_SOCKET=str(path), backend_url="http://127.0.0.1:9")
    assert _control("status", "--socket", str(path)).returncode == 0
    gateway.terminate()
    assert gateway.wait() == 0
    assert list(folder.iterdir()) == []


def test_a_dead_gateways_socket_is_replaced_and_a_live_ones_is_not(start_gateway: StartGateway, tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    env = {"PMP_GATEWAY_CONTROL_SOCKET": str(path)}
    start_gateway(**env).kill()
    assert path.is_socket()
    start_gateway(**env)
    assert _control("status", "--socket", str(path)).returncode == 0

    rival = start_gateway(listening=False, **env)
    assert rival.wait(30) == os.EX_UNAVAILABLE
    assert f"another gateway listens on {path}" in rival.stderr
    assert "Traceback" not in rival.stderr
    assert _control("status", "--socket", str(path)).returncode == 0


def test_a_file_that_is_not_a_socket_is_left_alone(start_gateway: StartGateway, tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("data")
    gateway = start_gateway(listening=False, PMP_GATEWAY_CONTROL_SOCKET=str(path))
    assert gateway.wait(30) == os.EX_UNAVAILABLE
    assert path.read_text() == "data"


def test_a_missing_folder_is_named(start_gateway: StartGateway, tmp_path: Path) -> None:
    folder = tmp_path / "missing"
    gateway = start_gateway(listening=False, PMP_GATEWAY_CONTROL_SOCKET=str(folder / "control.sock"))
    assert gateway.wait(30) == os.EX_UNAVAILABLE
    assert str(folder) in gateway.stderr


def test_a_busy_port_is_named(start_gateway: StartGateway) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        gateway = start_gateway(listening=False, PMP_GATEWAY_PORT=str(port))
        assert gateway.wait(30) == os.EX_UNAVAILABLE
    assert f"127.0.0.1 port {port}" in gateway.stderr
    assert "Traceback" not in gateway.stderr


def test_a_wrong_setting_is_named(start_gateway: StartGateway) -> None:
    gateway = start_gateway(listening=False, PMP_GATEWAY_UNKNOWN_MODEL="maybe")
    assert gateway.wait(30) == os.EX_CONFIG
    assert "PMP_GATEWAY_UNKNOWN_MODEL" in gateway.stderr
    assert "Traceback" not in gateway.stderr


async def test_while_stopping_the_socket_tells_that_it_drains(
    start_gateway: StartGateway, backend: Backend, tmp_path: Path
) -> None:
    release = asyncio.Event()

    async def wait(call: Call) -> None:
        await release.wait()
        await call.respond(200, {})

    backend.handler = wait
    path = tmp_path / "control.sock"
    gateway = start_gateway(PMP_GATEWAY_CONTROL_SOCKET=str(path))
    async with wire(gateway.port) as connection:
        await connection.post("/v1/completions", b"{}")
        await backend.next_call()
        gateway.terminate()
        await asyncio.to_thread(eventually, lambda: "stopping" in gateway.stderr)
        status = await _status(path)
        assert (status.phase, status.in_flight) == (Phase.DRAINING, 1)
        release.set()
        assert (await connection.answer())[0] == 200
    assert await asyncio.to_thread(gateway.wait) == 0
