"""The running gateway: two listeners in one loop, opened in order and closed in order."""

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import AsyncIterator, Generator, Iterator
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from pmp_gateway import __version__
from pmp_gateway.access_log import AccessLog
from pmp_gateway.app import Door, small_answers
from pmp_gateway.auth import Tokens
from pmp_gateway.control_api import control_api
from pmp_gateway.forward import Forward
from pmp_gateway.models import Models
from pmp_gateway.settings import Settings
from pmp_gateway.state import GatewayState
from pmp_gateway.unix_socket import listen
from pmp_gateway.upstream import Upstream

log = logging.getLogger(__name__)

_GRACE_SECONDS = 25
# After the grace what is left is cancelled, and gets this long to say so to its client.
_LAST_WORDS_SECONDS = 2.0
# Longer than clients keep idle connections, so that it is they who close them.
_KEEP_ALIVE_SECONDS = 75
_BACKLOG = 2048
_CONTROL_SOCKET_MODE = 0o660


class ListenFailed(Exception):
    """The message names the address and what is wrong with it."""


class _Server(uvicorn.Server):
    """Leaves the signals alone: they are for both servers of this process."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


async def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT; then let the requests in flight finish."""
    tokens = Tokens(settings.auth_config_path)
    if tokens.count == 0:
        log.warning("no tokens are configured: everybody who reaches this address may use the model")
    state = GatewayState()
    async with contextlib.AsyncExitStack() as stack:
        upstream = await stack.enter_async_context(_upstream(settings))
        models = Models(upstream, settings.backend_model_id, settings.unknown_model)
        forward = Forward(upstream, models, settings.max_body_bytes)
        door = Door(tokens, state, forward, small_answers(models), AccessLog(settings.log_headers))
        listener = _bind(settings.host, settings.port)
        public = _server(door, _GRACE_SECONDS)
        if settings.control_socket:
            control_listener = stack.enter_context(_control_socket(settings.control_socket))
            api = control_api(state, tokens, models, settings.backend_url)
            await stack.enter_async_context(_serving(_server(api, 1), control_listener))
        _stop_on_signals(public, state)
        host, port = listener.getsockname()[:2]
        log.info("gateway %s listens on %s port %d, in front of %s", __version__, host, port, settings.backend_url)
        await public.serve([listener])
        if public.server_state.tasks:
            await asyncio.wait(public.server_state.tasks, timeout=_LAST_WORDS_SECONDS)


@contextlib.asynccontextmanager
async def _upstream(settings: Settings) -> AsyncIterator[Upstream]:
    upstream = Upstream(settings.backend_url, settings.backend_silence_seconds)
    try:
        yield upstream
    finally:
        await upstream.close()


@contextlib.contextmanager
def _control_socket(path: Path) -> Iterator[socket.socket]:
    listener = listen(path, _CONTROL_SOCKET_MODE, _BACKLOG)
    try:
        yield listener
    finally:
        path.unlink(missing_ok=True)
        listener.close()


@contextlib.asynccontextmanager
async def _serving(server: _Server, listener: socket.socket) -> AsyncIterator[None]:
    task = asyncio.create_task(server.serve([listener]))
    try:
        yield
    finally:
        server.should_exit = True
        await task


def _server(application: ASGIApp, grace_seconds: int) -> _Server:
    return _Server(
        uvicorn.Config(
            application,
            http="httptools",
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            backlog=_BACKLOG,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=grace_seconds,
        )
    )


def _bind(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise ListenFailed(f"cannot listen on {host} port {port}: {error.strerror}") from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        # From here on clients can connect: they wait until the server takes them.
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise ListenFailed(f"cannot listen on {host} port {port}: {error.strerror}") from error
    return listener


def _stop_on_signals(public: _Server, state: GatewayState) -> None:
    def stop() -> None:
        if public.should_exit:
            log.warning("told to stop a second time: not waiting for %d request(s)", state.in_flight)
            public.force_exit = True
            for task in public.server_state.tasks:
                task.cancel()
            return
        log.info("stopping; %d request(s) in flight may finish within %d s", state.in_flight, _GRACE_SECONDS)
        state.drain()
        public.should_exit = True

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
