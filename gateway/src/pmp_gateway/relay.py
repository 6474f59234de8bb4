"""One inference request: let in, checked, held, sent to the engine, answered, recorded.

It is driven by calls, not by a task of its own: from the client's connection, from the engine's, and from the state
that may hold it. Only what has to wait (a new connection, the engine's names) runs as a task.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from typing import ClassVar, Protocol

from uvicorn.protocols.http.flow_control import FlowControl

from pmp_gateway.body import CheckedBody, check_body
from pmp_gateway.body_intake import Intake
from pmp_gateway.client_answer import ClientAnswer
from pmp_gateway.engine_connection import Connection
from pmp_gateway.engine_errors import as_event_data, is_not_served
from pmp_gateway.exchange import Exchange
from pmp_gateway.failures import (
    BackendAway,
    BackendFailure,
    GatewayError,
    Headers,
    NotAdmitted,
    RouteNotServed,
    answer_to,
    error_event,
)
from pmp_gateway.gateway import Gateway
from pmp_gateway.headers import forwarded
from pmp_gateway.outcome import CLIENT_LEFT
from pmp_gateway.passing import EVENT_STREAM, UNBUFFERED, Passing

log = logging.getLogger(__name__)

_KEEP_ALIVE_COMMENT = b": waiting for the model\n\n"


class ClientConnection(Protocol):
    """What a relay needs of the connection that it answers on."""

    transport: asyncio.Transport
    flow: FlowControl

    def relay_done(self, relay: "Relay") -> None: ...


class _Unheeded:
    """In the place of the event on which uvicorn's own cycles wait."""

    def set(self) -> None: ...


class Relay:
    """Stands where uvicorn has a cycle of its own, so the names of some attributes are uvicorn's."""

    message_event: ClassVar = _Unheeded()

    def __init__(
        self,
        gateway: Gateway,
        client: ClientConnection,
        exchange: Exchange,
        answer: ClientAnswer,
        *,
        keep_alive: bool,
        expects_continue: bool,
    ) -> None:
        self.exchange = exchange
        self.keep_alive = keep_alive
        self.disconnected = False
        self.response_complete = False
        self.body_complete = False
        self.size_bytes = 0
        self.is_stream = False
        self._gateway = gateway
        self._client = client
        self._answer = answer
        self._begun = False
        self._intake = Intake(
            exchange.headers,
            gateway.settings.max_body_bytes,
            gateway.uploads,
            expects_continue=expects_continue,
        )
        # Kept for as long as it may have to be sent again.
        self._checked: CheckedBody | None = None
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._held_since: float | None = None
        self._connection: Connection | None = None
        self._asked_for = ""
        self._may_ask_again = True

    # What the client's connection tells.

    def begin(self) -> None:
        """Its turn on its connection has come: let it in or refuse it, before more of its body is read."""
        self._begun = True
        self._try(self._let_in)

    def take_body(self, data: bytes) -> None:
        intake = self._intake
        if intake.open:
            intake.take(data)
            if self._begun and intake.is_large:
                self._try(intake.check)

    def take_body_end(self) -> None:
        self.body_complete = True
        if self._begun and self._intake.open:
            self._try(self._check)

    def client_left(self) -> None:
        if self.response_complete:
            return
        self.disconnected = True
        self.exchange.status = CLIENT_LEFT
        self._close()

    def client_stalls(self) -> None:
        if self._connection is not None:
            self._connection.pause()

    def client_reads_on(self) -> None:
        if self._connection is not None:
            self._connection.resume()

    # What the state tells.

    def go(self) -> None:
        """The wait is over."""
        self._end_wait()
        self._try(self._go_on)

    def refuse(self, error: Exception) -> None:
        """End it with an error, wherever it stands."""
        if self.response_complete:
            return
        self._intake.close()
        self._drop_work()
        if isinstance(error, NotAdmitted) and error.delay_seconds:
            self._timer = asyncio.get_running_loop().call_later(error.delay_seconds, self._send_error, error)
        else:
            self._send_error(error)

    # What the engine's connection tells.

    def answer_begun(self) -> None:
        self._drop_body()

    def answered(self, status: int, headers: Headers, body: bytes) -> None:
        self._connection = None
        if status == 404 and self._may_ask_again and self._checked is not None:
            # Another engine may have taken the place of the one whose names are known.
            self._may_ask_again = False
            self._run(self._ask_by_its_name_now(self._checked, status, headers, body))
        else:
            self._send_whole(status, headers, body)

    def passed_on(self) -> None:
        self._connection = None
        self._answer.end()
        self._close()

    def engine_failed(self, error: BackendFailure) -> None:
        connection, self._connection = self._connection, None
        if connection is not None and connection.was_stale and self._checked is not None and self._may_ask_again:
            self._may_ask_again = False
            self._run(self._connect_and_send(self._checked, fresh=True))
            return
        if connection is not None:
            connection.abort()
        self._gateway.models.forget()
        # Nothing of an answer has been sent when it takes no connections, so the request can wait for it.
        if isinstance(error, BackendAway) and self._gateway.state.engine_away(self):
            # Without comments: clients ask again by themselves, but only as long as no answer has begun.
            self._held_since = time.monotonic()
        else:
            self.refuse(error)

    # From here to the engine.

    def _let_in(self) -> None:
        self._gateway.enter(self.exchange)
        self._intake.check()
        if self.body_complete:
            self._check()
        elif self._intake.expects_continue:
            self._client.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _check(self) -> None:
        state = self._gateway.state
        self._checked = checked = check_body(self.exchange.raw_path, self._intake.whole(), state.policy)
        self.size_bytes = checked.size_bytes
        self.is_stream = self.exchange.is_stream = checked.stream
        if state.admit(self):
            self._dispatch()
            return
        self._held_since = time.monotonic()
        if self.is_stream:
            self._keep_client_waiting_later()

    def _go_on(self) -> None:
        checked, policy = self._checked, self._gateway.state.policy
        # While it waited, the model may have changed, and with it what may be asked.
        if checked is not None and checked.policy != policy:
            self._checked = check_body(self.exchange.raw_path, checked.raw, policy)
        self._dispatch()

    def _drop_body(self) -> None:
        self._checked = None
        self._intake.forget()

    def _try(self, step: Callable[[], None]) -> None:
        try:
            step()
        except GatewayError as error:
            self.refuse(error)
        except Exception as error:
            log.exception("request %s failed", self.exchange.request_id.decode())
            self.refuse(error)

    def _keep_client_waiting_later(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(
            self._gateway.settings.keep_alive_seconds, self._keep_client_waiting
        )

    def _keep_client_waiting(self) -> None:
        if not self._answer.started:
            self._answer.start(200, [EVENT_STREAM, *UNBUFFERED], keep_alive=self.keep_alive)
        if not self._client.flow.write_paused:
            self._answer.send(_KEEP_ALIVE_COMMENT)
        self._keep_client_waiting_later()

    def _dispatch(self) -> None:
        checked = self._checked
        if checked is None:
            return
        model = self._gateway.models.known_name(checked.model)
        connection = self._gateway.upstream.idle() if model is not None else None
        if model is not None and connection is not None:
            self._send(connection, checked, model)
        else:
            self._run(self._connect_and_send(checked))

    async def _connect_and_send(self, checked: CheckedBody, *, fresh: bool = False) -> None:
        """`fresh`: whatever is idle may be as stale as the connection that was tried before."""
        model = await self._gateway.models.resolve(checked.model)
        upstream = self._gateway.upstream
        self._send((None if fresh else upstream.idle()) or await upstream.connect(), checked, model)

    async def _ask_by_its_name_now(self, checked: CheckedBody, status: int, headers: Headers, body: bytes) -> None:
        try:
            await self._gateway.models.fetch()
            renamed = await self._gateway.models.resolve(checked.model)
        except BackendFailure:
            renamed = self._asked_for
        if renamed == self._asked_for:
            self._send_whole(status, headers, body)
        else:
            self._send(await self._gateway.upstream.connect(), checked, renamed)

    def _run(self, work: Coroutine[None, None, None]) -> None:
        async def run() -> None:
            # Three names: compiled, a name has the same type all through a coroutine.
            try:
                await work
            except BackendFailure as failure:
                self._task = None
                self.engine_failed(failure)
            except GatewayError as refusal:
                self._task = None
                self.refuse(refusal)
            except Exception as error:
                self._task = None
                log.exception("request %s failed", self.exchange.request_id.decode())
                self.refuse(error)
            else:
                self._task = None

        self._task = asyncio.create_task(run())

    def _send(self, connection: Connection, checked: CheckedBody, model: str) -> None:
        gateway, exchange = self._gateway, self.exchange
        headers = forwarded(exchange.headers, gateway.forwarded_headers)
        headers.append((b"x-request-id", exchange.request_id))
        request = gateway.upstream.request(b"POST", exchange.raw_path, headers, checked.naming(model))
        self._asked_for = model
        self._connection = connection
        connection.ask(request, Passing(self, exchange, self._answer, gateway.metrics, keep_alive=self.keep_alive))

    # From here to the client.

    def _send_whole(self, status: int, headers: Headers, body: bytes) -> None:
        if is_not_served(status, body):
            self.refuse(RouteNotServed())
            return
        if self._answer.started:
            # Comments went out while it was held, and a status cannot follow them.
            path = self.exchange.raw_path
            self.exchange.error_code = f"engine_{status}"
            self._answer.send_event(error_event(path, as_event_data(path, body)))
            self._answer.end()
        else:
            self._answer.send_whole(status, headers, body, keep_alive=self.keep_alive)
        self._close()

    def _send_error(self, error: Exception) -> None:
        answer = answer_to(error, self.exchange.raw_path)
        self.exchange.error_code = answer.code
        if not self._answer.started:
            self.keep_alive = self.keep_alive and (self.body_complete or self._intake.rest_may_come)
            self._answer.send_whole(answer.status, answer.headers, answer.body, keep_alive=self.keep_alive)
        elif self._answer.takes_events:
            self._answer.send_event(error_event(self.exchange.raw_path, answer.body))
            self._answer.end()
        else:
            # A broken connection is the only way left to say that the answer is not whole.
            self.keep_alive = False
            self._client.transport.abort()
        self._close()

    def _close(self) -> None:
        self.response_complete = True
        self._drop_body()
        self._drop_work()
        self._gateway.leave(self.exchange)
        self._client.relay_done(self)

    def _end_wait(self) -> None:
        if self._held_since is not None:
            self.exchange.held_seconds += time.monotonic() - self._held_since
            self._held_since = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _drop_work(self) -> None:
        """Whatever is under way for it ends now, also the engine's work."""
        self._end_wait()
        if self._task is not None:
            self._task.cancel()
            self._task = None
        if self._connection is not None:
            self._connection.abort()
            self._connection = None
        self._gateway.state.leave(self)
