"""The running gateway: two listeners in one loop, opened in order and closed in order."""

import asyncio
import contextlib
import gc
import logging
import signal
import socket
import time
from collections.abc import AsyncIterator, Generator, Iterator
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from pmp_gateway import __version__, relay
from pmp_gateway.access_log import AccessLog
from pmp_gateway.app import Door
from pmp_gateway.auth import Tokens
from pmp_gateway.control_api import control_api
from pmp_gateway.crowd import Crowd
from pmp_gateway.engine_probe import served_models
from pmp_gateway.gateway import Gateway
from pmp_gateway.headers import steers_engine
from pmp_gateway.limits import TokenLimits
from pmp_gateway.loop_effects import LoopEffects
from pmp_gateway.metrics import Metrics, Now
from pmp_gateway.models import Models
from pmp_gateway.origins import Cors, Guard
from pmp_gateway.protocol import PublicProtocol
from pmp_gateway.settings import Settings
from pmp_gateway.state import GatewayState
from pmp_gateway.state_file import StateFile
from pmp_gateway.unix_socket import listen
from pmp_gateway.uploads import Uploads
from pmp_gateway.upstream import Upstream
from pmp_gateway.waiting import HoldLimits

log = logging.getLogger(__name__)

_GRACE_SECONDS = 25
# After the grace what is left is cancelled, and gets this long to say so to its client.
_LAST_WORDS_SECONDS = 2.0
_CLOSE_CHECK_SECONDS = 0.02
_DEADLINE_CHECK_SECONDS = 1.0
_BACKLOG = 2048
# TCP's own probes.
_KEEP_ALIVE_IDLE_SECONDS = 60
_KEEP_ALIVE_INTERVAL_SECONDS = 15
_KEEP_ALIVE_PROBES = 4
_CONTROL_SOCKET_MODE = 0o660
_FORM = "interpreted" if Path(relay.__file__).suffix == ".py" else "compiled"


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
    async with contextlib.AsyncExitStack() as stack:
        upstream = await stack.enter_async_context(_upstream(settings))
        gateway = _gateway(settings, tokens, upstream)
        state = gateway.state
        listener = _bind(settings.host, settings.port)
        public = _server(Door(gateway), PublicProtocol, _GRACE_SECONDS)
        if settings.control_socket:
            control_listener = stack.enter_context(_control_socket(settings.control_socket))
            api = control_api(state, tokens, gateway.models, settings.backend_url, gateway.metrics)
            await stack.enter_async_context(_serving(_server(api, HttpToolsProtocol, 1), control_listener))
        stack.enter_context(_deadlines(public))
        _stop_on_signals(public, state)
        # What there is by now stays: looking through it again and again would stop all streams for milliseconds.
        gc.collect()
        gc.freeze()
        host, port = listener.getsockname()[:2]
        listens = "gateway %s (%s) listens on %s port %d, in front of %s"
        log.info(listens, __version__, _FORM, host, port, settings.backend_url)
        await public.serve([listener])
        state.end_all()
        await _last_words(public)
        gateway.access_log.close()


def _gateway(settings: Settings, tokens: Tokens, upstream: Upstream) -> Gateway:
    models = Models(upstream, settings.backend_model_id, settings.unknown_model)

    state = _state(settings, models)
    cors = Cors(settings.cors_origins)
    access_log = AccessLog(settings.log_headers)
    metrics = Metrics(lambda: Now(state.phase, state.in_flight, state.held, access_log.dropped))
    state.on_phase = metrics.phase_entered
    return Gateway(
        settings=settings,
        crowd=Crowd(settings.max_connections, settings.max_connections_per_address),
        uploads=Uploads(settings.max_uploads_bytes),
        tokens=tokens,
        limits=TokenLimits(settings.requests_per_minute, settings.max_concurrent),
        guard=Guard(settings.allowed_hosts, cors),
        cors=cors,
        state=state,
        upstream=upstream,
        models=models,
        metrics=metrics,
        access_log=access_log,
        forwarded_headers=frozenset(name.encode() for name in settings.log_headers if not steers_engine(name)),
    )


def _state(settings: Settings, models: Models) -> GatewayState:
    async def ask_engine() -> frozenset[str] | None:
        served = await served_models(models)
        return frozenset(served) if served is not None else None

    file = StateFile(settings.state_file) if settings.state_file else None
    limits = HoldLimits(
        settings.hold_max_requests,
        settings.hold_max_bytes,
        settings.hold_timeout_seconds,
        settings.engine_wait_seconds,
    )
    return GatewayState(LoopEffects(ask_engine, file), limits, file.load() if file else None, settings.policy)


@contextlib.contextmanager
def _deadlines(public: _Server) -> Iterator[None]:
    async def check() -> None:
        while True:
            await asyncio.sleep(_DEADLINE_CHECK_SECONDS)
            now = time.monotonic()
            for connection in [*public.server_state.connections]:
                if isinstance(connection, PublicProtocol):
                    _check_deadlines(connection, now)

    task = asyncio.create_task(check())
    try:
        yield
    finally:
        task.cancel()


def _check_deadlines(connection: PublicProtocol, now: float) -> None:
    """One connection's trouble must not spare the others."""
    try:
        connection.check_deadlines(now)
    except Exception:
        log.exception("a connection's deadlines could not be checked")


async def _last_words(public: _Server) -> None:
    """What was just told to clients whose requests ended here is still on its way."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_LAST_WORDS_SECONDS):
            while public.server_state.connections:
                for connection in [*public.server_state.connections]:
                    connection.shutdown()
                await asyncio.sleep(_CLOSE_CHECK_SECONDS)


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


def _server(application: ASGIApp, protocol: type[asyncio.Protocol], grace_seconds: int) -> _Server:
    return _Server(
        uvicorn.Config(
            application,
            http=protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            backlog=_BACKLOG,
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
        _notice_dead_clients(listener)
        listener.bind(address)
        # From here on clients can connect: they wait until the server takes them.
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise ListenFailed(f"cannot listen on {host} port {port}: {error.strerror}") from error
    return listener


def _notice_dead_clients(listener: socket.socket) -> None:
    """For the connections taken there: a client that lost its network must not keep the engine working."""
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _KEEP_ALIVE_IDLE_SECONDS)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _KEEP_ALIVE_INTERVAL_SECONDS)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, _KEEP_ALIVE_PROBES)


def _stop_on_signals(public: _Server, state: GatewayState) -> None:
    def stop() -> None:
        if public.should_exit:
            log.warning("told to stop a second time: not waiting for %d request(s)", state.in_flight)
            public.force_exit = True
            state.end_all()
            return
        log.info("stopping; %d request(s) in flight may finish within %d s", state.in_flight, _GRACE_SECONDS)
        state.stop()
        public.should_exit = True

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
