"""The gateway's control socket, as the gateway's own schema words it."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import httpx

from pmp_gateway.control_schema import VERBS, AuthStatus, ControlAnswer, GatewayStatus
from pmpctl.planning.gateway_unit import CONTROL_SOCKET
from pmpctl.workspace import Workspace


def gateway_status(workspace: Workspace) -> GatewayStatus | None:
    """What the gateway says of itself; None when nobody answers on the socket."""
    try:
        with _client(workspace.control_dir) as client:
            return GatewayStatus.from_data(client.get("/status").raise_for_status().json())
    except (OSError, httpx.HTTPError, ValueError, KeyError, TypeError):
        return None


def reload_tokens(workspace: Workspace) -> ControlAnswer | None:
    """Has the gateway read its token file now; None when nobody answers on the socket."""
    try:
        with _client(workspace.control_dir) as client:
            data = client.post(VERBS["reload"].path).json()
            auth = AuthStatus(data["auth"]["enabled"], data["auth"]["tokens"])
            return ControlAnswer(data["ok"], data["message"], auth)
    except (OSError, httpx.HTTPError, ValueError, KeyError, TypeError):
        return None


@contextlib.contextmanager
def _client(folder: Path) -> Iterator[httpx.Client]:
    # A unix socket's path holds 107 bytes at most; through the folder's descriptor any depth will do.
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        transport = httpx.HTTPTransport(uds=f"/proc/self/fd/{descriptor}/{CONTROL_SOCKET}")
        with httpx.Client(transport=transport, base_url="http://gateway", timeout=5) as client:
            yield client
    finally:
        os.close(descriptor)
