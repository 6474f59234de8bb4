import asyncio
import signal

import httpx
import pytest

from tests.support import eventually
from tests.unit.gateway.conftest import StartGateway
from tests.unit.gateway.gateway_process import GatewayProcess
from tests.unit.gateway.stub import Backend, Call
from tests.unit.gateway.wire import wire

PATH = "/v1/chat/completions"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_idle_gateway_stops_at_once(start_gateway: StartGateway, number: signal.Signals) -> None:
    gateway = start_gateway()
    with httpx.Client(base_url=gateway.url) as client:
        assert client.get("/health").status_code == 200
        gateway.process.send_signal(number)
        assert gateway.wait(5) == 0
    assert "Traceback" not in gateway.stderr


async def test_a_stream_in_flight_finishes_after_sigterm_while_nobody_new_comes_in(
    start_gateway: StartGateway, backend: Backend
) -> None:
    release = asyncio.Event()

    async def stream(call: Call) -> None:
        await call.start()
        await call.chunk(b"data: first\n\n")
        await release.wait()
        await call.chunk(b"data: last\n\n")
        await call.finish()

    backend.handler = stream
    gateway = start_gateway()
    async with wire(gateway.port) as connection:
        await connection.post(PATH, b"{}")
        await connection.until(b"data: first\n\n")
        gateway.terminate()
        await asyncio.to_thread(_refuses, gateway)
        release.set()
        assert (await connection.rest()).endswith(b"data: last\n\n\r\n0\r\n\r\n")
    assert await asyncio.to_thread(gateway.wait) == 0


async def test_a_second_signal_does_not_wait_and_tells_the_clients(
    start_gateway: StartGateway, backend: Backend
) -> None:
    async def stream(call: Call) -> None:
        await call.start()
        await call.chunk(b"data: first\n\n")
        await asyncio.Event().wait()

    backend.handler = stream
    gateway = start_gateway()
    async with wire(gateway.port) as connection:
        await connection.post(PATH, b"{}", "X-Request-Id: cut")
        await connection.until(b"data: first\n\n")
        gateway.terminate()
        await asyncio.to_thread(_refuses, gateway)
        gateway.terminate()
        assert b'"code":"gateway_stopping"' in await connection.rest()
        async with asyncio.timeout(30):
            await backend.call.gone.wait()
    assert await asyncio.to_thread(gateway.wait) == 0
    assert gateway.logged("cut")["error"] == "gateway_stopping"
    assert "Traceback" not in gateway.stderr


@pytest.mark.slow
async def test_what_does_not_finish_in_time_is_cancelled_and_told_so(
    start_gateway: StartGateway, backend: Backend
) -> None:
    async def wait(call: Call) -> None:
        if call.json()["model"] == "stream":
            await call.start()
        await asyncio.Event().wait()

    backend.handler = wait
    backend.models = ["stream", "plain"]
    gateway = start_gateway()
    async with wire(gateway.port) as stream, wire(gateway.port) as plain:
        await stream.post(PATH, b'{"model":"stream"}')
        await stream.until(b"\r\n\r\n")
        await plain.post(PATH, b'{"model":"plain"}')
        await backend.next_call(2)
        gateway.terminate()
        status, _ = await plain.head(timeout_seconds=40)
        assert status == 503
        assert b'"code":"gateway_stopping"' in await stream.rest()
        async with asyncio.timeout(30):
            await asyncio.gather(*(call.gone.wait() for call in backend.calls))
    assert await asyncio.to_thread(gateway.wait) == 0
    assert "Traceback" not in gateway.stderr


def _refuses(gateway: GatewayProcess) -> None:
    def refused() -> bool:
        try:
            httpx.get(f"{gateway.url}/health", trust_env=False)
        except httpx.TransportError:
            return True
        return False

    eventually(refused)


async def test_the_access_log_has_one_line_per_request_but_probes_and_no_secret(
    start_gateway: StartGateway, backend: Backend
) -> None:
    gateway = start_gateway(PMP_GATEWAY_LOG_HEADERS="X-Signal-Hunter-Operation,X-Team")
    async with httpx.AsyncClient(base_url=gateway.url) as client:
        await client.post(
            PATH,
            json={"messages": "canary"},
            params={"token": "canary"},
            headers={
                "authorization": "Bearer canary",
                "cookie": "canary",
                "x-signal-hunter-operation": "scan",
                "x-other": "canary",
                "x-request-id": "first",
            },
        )
        await client.get("/health")
        await client.get("/nowhere?canary", headers={"x-team": "a\tb", "x-request-id": "second"})
    first, second = gateway.logged("first"), gateway.logged("second")
    assert len(gateway.access_log()) == 2
    assert first.pop("time").endswith("+00:00")
    assert first.pop("duration_ms") >= first.pop("first_byte_ms") > 0
    assert first == {
        "method": "POST",
        "path": PATH,
        "status": 200,
        "request_id": "first",
        "bytes": len('{"ok": true}'),
        "client": "127.0.0.1",
        "error": None,
        "headers": {"x-signal-hunter-operation": "scan"},
        "token": None,
        "held_ms": 0.0,
        "stream": False,
        "prompt_tokens": None,
        "completion_tokens": None,
    }
    assert (second["status"], second["error"], second["headers"]) == (404, "not_found", {"x-team": "a\tb"})
    assert "canary" not in gateway.stdout_path.read_text() + gateway.stderr
