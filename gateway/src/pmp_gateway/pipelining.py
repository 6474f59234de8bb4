"""The requests of one connection in their order: who is answered now, who waits, and what there is to wait for."""

import asyncio
import socket
import time
from typing import Any, cast

from uvicorn._types import ASGI3Application
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from pmp_gateway.patience import Patience
from pmp_gateway.relay import Relay

# How many requests may wait on one connection for the answers before theirs. Each costs memory before anybody has
# looked at its token, and no client of such an API sends many at once.
_MAX_WAITING = 64
# TCP's state while neither side has closed it.
_ESTABLISHED = 1


class Pipelined(HttpToolsProtocol):
    """uvicorn's protocol, where some requests are answered by relays and the others by the ASGI application."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        # The request that came last, and the one that is being answered or was answered last.
        self.cycle: Relay | RequestResponseCycle | None = None  # type: ignore[assignment]
        self.answered: Relay | RequestResponseCycle | None = None
        self.patience = Patience()
        self._unfinished: list[Relay] = []

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if isinstance(self.answered, RequestResponseCycle):
            # Uvicorn tells only the request that came last.
            self.answered.disconnected = True
            self.answered.message_event.set()
        for relay in [*self._unfinished]:
            relay.client_left()

    def pause_writing(self) -> None:
        super().pause_writing()
        self.patience.stalled_since = time.monotonic()
        if self._unfinished:
            self._unfinished[0].client_stalls()

    def resume_writing(self) -> None:
        super().resume_writing()
        self.patience.stalled_since = None
        if self._unfinished:
            self._unfinished[0].client_reads_on()
        if not self.is_busy and not self.is_over:
            self._go_on()

    @property
    def has_room(self) -> bool:
        return len(self.pipeline) < _MAX_WAITING

    def line_up(self, relay: Relay) -> None:
        previous, self.cycle = self.cycle, relay
        self._unfinished.append(relay)
        if (previous is None or previous.response_complete) and not self.flow.write_paused:
            self._begin(relay)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((cast("RequestResponseCycle", relay), self.app))

    def relay_done(self, relay: Relay) -> None:
        self._unfinished.remove(relay)
        if relay.disconnected:
            return
        if relay.keep_alive:
            self.on_response_complete()
        elif relay.body_complete:
            self.transport.close()
        else:
            self.linger()

    def on_response_complete(self) -> None:
        """As uvicorn's, without a timer for each answer."""
        self.server_state.total_requests += 1
        if not self.is_over:
            self._go_on()

    def linger(self) -> None:
        """Close so that the client sees the answer: with unread data left, closing at once would take it away."""
        if not self.transport.is_closing():
            self.patience.lingers_since = time.monotonic()
            self.transport.write_eof()

    @property
    def client_is_gone(self) -> bool:
        """What cannot be heard while reading is paused, for the requests that wait."""
        connection: socket.socket = self.transport.get_extra_info("socket")
        return connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] != _ESTABLISHED

    @property
    def is_busy(self) -> bool:
        """With an answer; requests may wait although it is not, for the client to read the answers before."""
        return self.answered is not None and not self.answered.response_complete

    @property
    def is_over(self) -> bool:
        return self.patience.is_over(self.transport)

    def _begin(self, relay: Relay) -> None:
        self.answered = relay
        relay.begin()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self.answered = cycle
        super()._start_asgi_task(cycle, app)

    def _go_on(self) -> None:
        """To the next request, once the client has read enough of the answers before."""
        if self.flow.write_paused:
            return
        if self.pipeline:
            # Not from here: answers that need no waiting would call each other ever deeper.
            self.loop.call_soon(self._start_next)
        else:
            self.flow.resume_reading()
            self.patience.idle_since = time.monotonic()

    def _start_next(self) -> None:
        if self.is_over or self.is_busy or self.flow.write_paused or not self.pipeline:
            return
        waiting, app = self.pipeline.pop()
        cycle = cast("Relay | RequestResponseCycle", waiting)
        if not self.pipeline:
            if self.patience.body_since is not None:
                # It is not the client's fault that the rest of this one was not read sooner.
                self.patience.body_since = self.patience.body_part_at = time.monotonic()
            self.flow.resume_reading()
        if isinstance(cycle, Relay):
            self._begin(cycle)
        else:
            self._start_asgi_task(cycle, app)
