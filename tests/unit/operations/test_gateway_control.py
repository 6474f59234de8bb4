"""The functions that a switch tells the gateway with, against a real gateway and against what is none."""

import asyncio
import os
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from pmp_gateway.control_schema import Phase, Reason, Refusal
from pmpctl.errors import GatewayNotAnswering, GatewayRefused, GatewayTimedOut
from pmpctl.operations import gateway_control
from pmpctl.planning.gateway_unit import CONTROL_SOCKET
from pmpctl.workspace import Workspace
from tests.unit.gateway.gateway_process import GatewayProcess
from tests.unit.gateway.stub import MODEL, Backend


@pytest.fixture
def socket_path(workspace: Workspace) -> Path:
    workspace.control_dir.mkdir(parents=True)
    return workspace.control_dir / CONTROL_SOCKET


@pytest.fixture
async def backend(socket_path: Path, tmp_path: Path) -> AsyncIterator[Backend]:
    """The engine of a gateway that listens on the workspace's control socket."""
    backend = Backend()
    await backend.start()
    gateway = GatewayProcess(tmp_path / "gateway", backend.url, {"PMP_GATEWAY_CONTROL_SOCKET": str(socket_path)})
    try:
        await asyncio.to_thread(gateway.wait_until_listening)
        yield backend
    finally:
        gateway.kill()
        await backend.stop()


async def test_a_switch_has_the_verbs_it_needs(workspace: Workspace, backend: Backend) -> None:
    def switch() -> list[Phase]:
        held = gateway_control.hold(workspace, "switch-1", Reason.SWITCH, 60)
        drained = gateway_control.drain(workspace, 5, hold_id="switch-1")
        starts = gateway_control.opening(workspace, "switch-1", 60, policy={"max_n": 1}, models=[MODEL])
        opened = gateway_control.open_gateway(workspace, policy={"max_n": 2}, models=[MODEL], hold_id="switch-1")
        closed = gateway_control.close_gateway(workspace, Reason.SWITCH_FAILED)
        return [each.phase for each in (held, drained, starts, opened, closed)]

    phases = [Phase.HOLDING, Phase.HOLDING, Phase.OPENING, Phase.OPEN, Phase.CLOSED]
    assert await asyncio.to_thread(switch) == phases


async def test_who_does_not_own_the_hold_is_told_who_does(workspace: Workspace, backend: Backend) -> None:
    await asyncio.to_thread(gateway_control.hold, workspace, "switch-1", Reason.SWITCH, 60)
    with pytest.raises(GatewayRefused) as refused:
        await asyncio.to_thread(gateway_control.open_gateway, workspace, policy={}, models=[MODEL], hold_id="switch-2")

    assert refused.value.refusal == Refusal.HELD_BY_ANOTHER
    assert "'switch-1'" in refused.value.message
    assert "holding" in refused.value.message


async def test_the_gateway_does_not_open_to_another_model(workspace: Workspace, backend: Backend) -> None:
    with pytest.raises(GatewayRefused, match="not acme/coder") as refused:
        await asyncio.to_thread(gateway_control.open_gateway, workspace, policy={}, models=["acme/coder"])

    assert refused.value.refusal == Refusal.WRONG_MODELS


def test_no_gateway_is_said_with_its_socket_and_a_cure(workspace: Workspace) -> None:
    with pytest.raises(GatewayNotAnswering) as missing:
        gateway_control.hold(workspace, "switch-1", Reason.SWITCH, 60)

    assert str(workspace.control_dir) in missing.value.message
    assert "pmpctl up" in missing.value.cure


@pytest.fixture
def serve(socket_path: Path) -> Iterator[Callable[[bytes], None]]:
    """Something that listens where the gateway should, and answers each connection with these bytes, or never."""
    listener = socket.socket(socket.AF_UNIX)
    # As deep as the folders of tests are, its whole path may be too long for a socket.
    folder = os.open(socket_path.parent, os.O_RDONLY | os.O_DIRECTORY)
    listener.bind(f"/proc/self/fd/{folder}/{socket_path.name}")
    os.close(folder)
    listener.listen()
    taken: list[socket.socket] = []

    def answer(content: bytes) -> None:
        def run() -> None:
            connection, _ = listener.accept()
            taken.append(connection)
            if content:
                connection.recv(65536)
                connection.sendall(content)
                connection.close()

        threading.Thread(target=run, daemon=True).start()

    yield answer
    for connection in taken:
        connection.close()
    listener.close()


@pytest.mark.parametrize(
    "content",
    [
        b"HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\n{}",
        b"HTTP/1.1 500 Oops\r\ncontent-length: 4\r\n\r\nOops",
        b"SSH-2.0\r\n",
    ],
)
def test_what_answers_otherwise_than_a_gateway_is_none(
    workspace: Workspace, serve: Callable[[bytes], None], content: bytes
) -> None:
    serve(content)
    with pytest.raises(GatewayNotAnswering):
        gateway_control.close_gateway(workspace, Reason.STOP)


def test_a_gateway_that_hangs_is_not_waited_for_for_ever(
    workspace: Workspace, serve: Callable[[bytes], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway_control, "_TIMEOUT_SECONDS", 0.2)
    serve(b"")
    with pytest.raises(GatewayTimedOut, match="drain"):
        gateway_control.drain(workspace, 0.1)
