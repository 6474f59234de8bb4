"""The gateway's control socket, as the gateway's own schema words it."""

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx

from pmp_gateway.control_schema import (
    VERBS,
    AuthStatus,
    ControlAnswer,
    GatewayStatus,
    PhaseAnswer,
    Reason,
    Refusal,
)
from pmpctl.errors import GatewayNotAnswering, GatewayRefused, GatewayTimedOut
from pmpctl.planning.gateway_unit import CONTROL_SOCKET
from pmpctl.workspace import Workspace

# For the way there and back, and for the question to the engine that some verbs ask.
_TIMEOUT_SECONDS = 5.0

_CURES: Mapping[Refusal, str] = {
    Refusal.HELD_BY_ANOTHER: "Wait until that command is done; `pmpctl up` takes over what it has left behind.",
    Refusal.ENGINE_AWAY: "See `pmpctl status` and `pmpctl logs engine`; `pmpctl up` starts an engine.",
    Refusal.WRONG_MODELS: "Another server may hold the engine's port: see `pmpctl status`, then run `pmpctl up` again.",
}
_CURE = "See `pmpctl status` for what the gateway is doing; `pmpctl up` opens it."


def gateway_status(workspace: Workspace) -> GatewayStatus | None:
    """What the gateway says of itself; None when nobody answers on the socket."""
    try:
        with _client(workspace.control_dir) as client:
            return GatewayStatus.from_data(client.get(VERBS["status"].path).raise_for_status().json())
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


# All that follow may be repeated. They raise GatewayNotAnswering, GatewayRefused and GatewayTimedOut. `hold_id` says
# whose hold it is; `force` acts whoever holds the gateway.


def hold(
    workspace: Workspace, hold_id: str, reason: Reason, deadline_seconds: float, *, force: bool = False
) -> PhaseAnswer:
    """New requests wait; done again it moves the deadline."""
    return _tell(workspace, "hold", hold_id=hold_id, reason=reason, deadline_seconds=deadline_seconds, force=force)


def drain(
    workspace: Workspace, deadline_seconds: float, *, hold_id: str | None = None, force: bool = False
) -> PhaseAnswer:
    """Returns when nothing is in flight any more; the counts in `door` say what finished and what was cut short."""
    return _tell(
        workspace,
        "drain",
        deadline_seconds,
        hold_id=hold_id,
        deadline_seconds=deadline_seconds,
        force=force,
    )


def opening(
    workspace: Workspace,
    hold_id: str,
    deadline_seconds: float,
    *,
    policy: Mapping[str, Any],
    models: Sequence[str],
    force: bool = False,
) -> PhaseAnswer:
    """An engine starts that will serve these models; after the deadline the gateway opens to it by itself."""
    return _tell(
        workspace,
        "opening",
        hold_id=hold_id,
        deadline_seconds=deadline_seconds,
        policy=policy,
        expect_models=list(models),
        force=force,
    )


def open_gateway(
    workspace: Workspace,
    *,
    policy: Mapping[str, Any],
    models: Sequence[str],
    hold_id: str | None = None,
    force: bool = False,
) -> PhaseAnswer:
    """Requests go to the engine, those that wait first; refused unless it serves these models."""
    return _tell(workspace, "open", policy=policy, expect_models=list(models), hold_id=hold_id, force=force)


def close_gateway(
    workspace: Workspace, reason: Reason, *, hold_id: str | None = None, force: bool = False
) -> PhaseAnswer:
    """What waits and what comes is answered 503 with the sentence of that reason."""
    return _tell(workspace, "close", reason=reason, hold_id=hold_id, force=force)


def _tell(workspace: Workspace, verb: str, patience_seconds: float = 0.0, **body: Any) -> PhaseAnswer:
    try:
        with _client(workspace.control_dir, _TIMEOUT_SECONDS + patience_seconds) as client:
            answer = PhaseAnswer.from_data(client.post(VERBS[verb].path, json=body).json())
    except httpx.TimeoutException as error:
        raise GatewayTimedOut(
            f"the gateway did not answer `{verb}` within {_TIMEOUT_SECONDS + patience_seconds:.0f} s",
            cure="See `pmpctl logs gateway`; `pmpctl up` starts over.",
        ) from error
    except (OSError, httpx.HTTPError, ValueError, KeyError, TypeError) as error:
        raise GatewayNotAnswering(
            f"the gateway does not answer `{verb}` on {workspace.control_dir / CONTROL_SOCKET}",
            cure="`pmpctl up` starts the gateway; `pmpctl logs gateway` says why it ended.",
        ) from error
    if answer.refusal is not None:
        raise GatewayRefused(
            f"the gateway refuses to `{verb}`: {answer.message} (it is {answer.phase})",
            cure=_CURES.get(answer.refusal, _CURE),
            refusal=answer.refusal,
        )
    return answer


@contextlib.contextmanager
def _client(folder: Path, timeout_seconds: float = _TIMEOUT_SECONDS) -> Iterator[httpx.Client]:
    # A unix socket's path holds 107 bytes at most; through the folder's descriptor any depth will do.
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        transport = httpx.HTTPTransport(uds=f"/proc/self/fd/{descriptor}/{CONTROL_SOCKET}")
        with httpx.Client(transport=transport, base_url="http://gateway", timeout=timeout_seconds) as client:
            yield client
    finally:
        os.close(descriptor)
