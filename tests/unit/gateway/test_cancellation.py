"""Clients that leave, at every stage of a request: the engine's work ends, and nothing that was taken is kept."""

import asyncio
import hashlib
import json
import socket
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from tests.unit.gateway.conftest import StartGateway
from tests.unit.gateway.control import Control
from tests.unit.gateway.gateway_process import GatewayProcess
from tests.unit.gateway.refusals import refusal, settle
from tests.unit.gateway.stub import Backend, Call, answer_ok
from tests.unit.gateway.wire import Wire, wire

PATH = "/v1/chat/completions"
RIGHT = "Authorization: Bearer right"
STREAM = b'{"stream":true}'
MODELS = f"GET /v1/models HTTP/1.1\r\nHost: gateway\r\n{RIGHT}\r\n\r\n".encode()
AT_ONCE_SECONDS = 0.05


@dataclass
class Scene:
    """A gateway whose only token may ask for one thing at a time: whatever is not given back shows at once."""

    gateway: GatewayProcess
    backend: Backend
    control: Control
    left: asyncio.Event = field(default_factory=asyncio.Event)

    async def ask(self, connection: Wire, *headers: str) -> None:
        await connection.post(PATH, STREAM, RIGHT, *headers)

    async def until(self, *, in_flight: int = 0, held: int = 0) -> None:
        await self.control.until(lambda status: (status.in_flight, status.held) == (in_flight, held))

    async def know_the_names(self) -> None:
        async with wire(self.gateway.port) as connection:
            await connection.send(MODELS)
            assert (await connection.answer())[0] == 200


@pytest.fixture
def scene(start_gateway: StartGateway, backend: Backend, tmp_path: Path) -> Scene:
    tokens = tmp_path / "auth.json"
    digest = hashlib.sha256(b"right").hexdigest()
    tokens.write_text(json.dumps({"tokens": [{"name": "one", "sha256": digest, "max_concurrent": 1}]}))
    control = Control(tmp_path / "control.sock")
    gateway = start_gateway(
        AUTH_CONFIG_PATH=str(tokens),
        PMP_GATEWAY_CONTROL_SOCKET=str(control.socket_path),
        PMP_GATEWAY_KEEP_ALIVE_SECONDS="1",
    )
    return Scene(gateway, backend, control)


async def hang(_call: Call) -> None:
    await asyncio.Event().wait()


async def quiet(call: Call) -> None:
    await call.start()
    await call.chunk(b"data: 1\n\n")
    await hang(call)


async def busy(call: Call) -> None:
    await call.start()
    while True:
        await call.chunk(b"data: 1\n\n")
        await asyncio.sleep(0.002)


async def while_its_body_is_sent(scene: Scene, connection: Wire) -> None:
    head = f"POST {PATH} HTTP/1.1\r\nHost: gateway\r\n{RIGHT}\r\nContent-Length: 100\r\n\r\n{{"
    await connection.send(head.encode())
    await settle(scene.gateway)


async def while_the_names_are_asked(scene: Scene, connection: Wire) -> None:
    asked = asyncio.Event()

    async def hang_on_names(call: Call) -> None:
        asked.set()
        await scene.left.wait()
        await list_models(call)

    list_models = scene.backend.models_handler
    scene.backend.models_handler = hang_on_names
    await scene.ask(connection)
    await asked.wait()


async def while_the_engine_thinks(scene: Scene, connection: Wire) -> None:
    scene.backend.handler = hang
    await scene.ask(connection)
    await scene.backend.next_call()


async def in_a_quiet_stream(scene: Scene, connection: Wire) -> None:
    scene.backend.handler = quiet
    await scene.ask(connection)
    await connection.until(b"data: 1\n\n")


async def in_a_busy_stream(scene: Scene, connection: Wire) -> None:
    scene.backend.handler = busy
    await scene.ask(connection)
    await connection.until(b"data: 1\n\n")


async def while_it_is_held(scene: Scene, connection: Wire) -> None:
    await scene.control.tell("hold", hold_id="mine", reason="switch")
    await scene.ask(connection)
    await scene.until(held=1)


async def while_it_is_held_and_kept_alive(scene: Scene, connection: Wire) -> None:
    await while_it_is_held(scene, connection)
    await connection.until(b": waiting for the model\n\n")


async def while_the_list_of_models_is_held(scene: Scene, connection: Wire) -> None:
    await scene.control.tell("hold", hold_id="mine", reason="switch")
    await connection.send(MODELS)
    await scene.until(held=1)


async def while_the_list_is_held_and_more_waits_behind(scene: Scene, connection: Wire) -> None:
    await while_the_list_of_models_is_held(scene, connection)
    await scene.ask(connection)
    await settle(scene.gateway)


async def with_more_behind_a_stream(scene: Scene, connection: Wire) -> None:
    await in_a_quiet_stream(scene, connection)
    await scene.ask(connection)
    await connection.send(MODELS)
    await settle(scene.gateway)


STAGES: dict[str, Callable[[Scene, Wire], Awaitable[None]]] = {
    stage.__name__: stage
    for stage in (
        while_its_body_is_sent,
        while_the_names_are_asked,
        while_the_engine_thinks,
        in_a_quiet_stream,
        in_a_busy_stream,
        while_it_is_held,
        while_it_is_held_and_kept_alive,
        while_the_list_of_models_is_held,
        while_the_list_is_held_and_more_waits_behind,
        with_more_behind_a_stream,
    )
}


@pytest.mark.parametrize("reach", STAGES.values(), ids=STAGES)
async def test_who_leaves_takes_everything_along(
    scene: Scene, backend: Backend, reach: Callable[[Scene, Wire], Awaitable[None]]
) -> None:
    if reach is not while_the_names_are_asked:
        await scene.know_the_names()
    async with wire(scene.gateway.port) as connection:
        await reach(scene, connection)
        reached_the_engine = len(backend.calls)
        await connection.leave()
    scene.left.set()
    async with asyncio.timeout(30):
        await asyncio.gather(*(call.gone.wait() for call in backend.calls))
    await scene.until(in_flight=0, held=0)
    await scene.control.tell("open", hold_id="mine")

    backend.handler = answer_ok
    async with wire(scene.gateway.port) as connection:
        await scene.ask(connection)
        assert await connection.answer() == (200, b'{"ok": true}')
    assert len(backend.calls) == reached_the_engine + 1
    assert "Traceback" not in scene.gateway.stderr


async def test_who_leaves_while_a_connection_is_made_gives_that_up(scene: Scene, backend: Backend) -> None:
    await scene.know_the_names()
    await backend.stop()
    with socket.create_server(("127.0.0.1", backend.port), backlog=0) as full:
        # The kernel takes one more than the backlog says, and answers nobody after that.
        queued = [socket.socket() for _ in range(3)]
        for one in queued:
            one.setblocking(False)
            one.connect_ex(full.getsockname())
        process = psutil.Process(scene.gateway.process.pid)

        def connecting() -> int:
            connections = process.net_connections("tcp")
            return sum(connection.status == psutil.CONN_SYN_SENT for connection in connections)

        async with wire(scene.gateway.port) as connection:
            await scene.ask(connection)
            await poll(lambda: connecting() == 1)
            await connection.leave()
        await poll(lambda: connecting() == 0, timeout_seconds=1)
        for one in queued:
            one.close()
    await backend.start(backend.port)
    await scene.until(in_flight=0, held=0)
    async with wire(scene.gateway.port) as connection:
        await scene.ask(connection)
        assert (await connection.answer())[0] == 200
    assert "Traceback" not in scene.gateway.stderr


async def poll(predicate: Callable[[], bool], timeout_seconds: float = 30) -> None:
    async with asyncio.timeout(timeout_seconds):
        while not predicate():  # noqa: ASYNC110 (it happens in another process)
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("reach", [while_the_engine_thinks, in_a_quiet_stream, in_a_busy_stream])
async def test_the_engine_hears_of_it_at_once(
    scene: Scene, backend: Backend, reach: Callable[[Scene, Wire], Awaitable[None]]
) -> None:
    took_seconds = []
    for _ in range(5):
        backend.calls.clear()
        async with wire(scene.gateway.port) as connection:
            await reach(scene, connection)
            left_at = time.monotonic()
            await connection.leave()
            async with asyncio.timeout(30):
                await backend.call.gone.wait()
            took_seconds.append(time.monotonic() - left_at)
        await scene.until(in_flight=0)
    # The machine may be busy with other things, but not every time.
    assert min(took_seconds) < AT_ONCE_SECONDS


async def test_who_leaves_while_a_refusal_is_held_back_leaves_nothing(scene: Scene, backend: Backend) -> None:
    for _ in range(8):
        async with wire(scene.gateway.port) as connection:
            await connection.post(PATH, b"{}", "Authorization: Bearer wrong", "X-Request-Id: guess")
            await connection.leave()
    async with wire(scene.gateway.port) as connection:
        await connection.post(PATH, b"{}", "Authorization: Bearer wrong", "X-Request-Id: leaves-in-time")
        await settle(scene.gateway)
        await connection.leave()
    line = await asyncio.to_thread(scene.gateway.logged, "leaves-in-time")
    assert line["status"] == 499
    async with wire(scene.gateway.port) as connection:
        await scene.ask(connection)
        assert (await connection.answer())[0] == 200
    assert "Traceback" not in scene.gateway.stderr


async def test_one_who_stays_is_refused_while_the_token_is_in_use(scene: Scene, backend: Backend) -> None:
    """Without this, none of the tests above would show anything."""
    async with wire(scene.gateway.port) as first, wire(scene.gateway.port) as second:
        await in_a_quiet_stream(scene, first)
        await scene.ask(second)
        assert await refusal(second) == (429, "too_many_concurrent")
