"""All that is not inference: health, the models, the metrics, and the refusals. FastAPI answers, the door lets in."""

import asyncio
import logging
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from starlette.types import Message, Receive, Scope, Send

from pmp_gateway.exchange import Exchange
from pmp_gateway.failures import Answer, GatewayError, Headers, NotAdmitted, answer_to
from pmp_gateway.gateway import Gateway
from pmp_gateway.metrics_page import MetricsPage
from pmp_gateway.models import Models
from pmp_gateway.outcome import CLIENT_LEFT
from pmp_gateway.routes import Handler, find_handler

log = logging.getLogger(__name__)


class Door:
    """An ASGI application; inference never comes here."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self._small_answers = small_answers(gateway.models)
        if gateway.settings.public_metrics:
            MetricsPage(gateway.metrics).mount(self._small_answers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = Exchange(
            scope["method"], scope["raw_path"], scope["headers"], scope["client"][0] if scope["client"] else None
        )
        reply = _Reply(exchange, self.gateway.cors.headers_for(exchange.headers), send)
        turn = _Turn()
        try:
            await self._answer(exchange, turn, scope, receive, reply)
        except _ClientLeft:
            exchange.status = CLIENT_LEFT
        except GatewayError as error:
            if isinstance(error, NotAdmitted):
                await asyncio.sleep(error.delay_seconds)
            await reply.fail(error)
        except Exception as error:
            log.exception("request %s failed", exchange.request_id.decode())
            await reply.fail(error)
        finally:
            self.gateway.state.leave(turn)
            self.gateway.leave(exchange)

    async def _answer(self, exchange: Exchange, turn: "_Turn", scope: Scope, receive: Receive, reply: "_Reply") -> None:
        gateway = self.gateway
        preflight = (
            gateway.cors.preflight(exchange.raw_path, exchange.headers) if exchange.method == "OPTIONS" else None
        )
        if preflight is not None:
            await reply.preflight(preflight)
            return
        handler = find_handler(exchange.method, exchange.raw_path, with_metrics=gateway.settings.public_metrics)
        if handler is not Handler.HEALTH:
            gateway.enter(exchange)
        if handler is Handler.MODELS and not gateway.state.admit(turn):
            await turn.wait(receive)
        await self._small_answers(scope, receive, reply.send)


class _ClientLeft(Exception):
    """Nobody waits for the answer any more."""


class _Turn:
    """Waits with all the others while the gateway holds."""

    size_bytes = 0
    is_stream = False

    def __init__(self) -> None:
        self._come: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def go(self) -> None:
        if not self._come.done():
            self._come.set_result(None)

    def refuse(self, error: GatewayError) -> None:
        if not self._come.done():
            self._come.set_exception(error)
            # It may be past waiting: then nobody looks.
            self._come.exception()

    async def wait(self, receive: Receive) -> None:
        """Until it is let in; raises what it is refused with."""
        left = asyncio.ensure_future(_client_leaves(receive))
        try:
            await asyncio.wait({left, self._come}, return_when=asyncio.FIRST_COMPLETED)
            if not self._come.done():
                raise _ClientLeft
            self._come.result()
        finally:
            left.cancel()


async def _client_leaves(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


class _Reply:
    """What an ASGI application calls to answer; adds the request's id and keeps count."""

    def __init__(self, exchange: Exchange, cors_headers: Headers, send: Send) -> None:
        self._exchange = exchange
        self._cors_headers = cors_headers
        self._send = send

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._exchange.status = message["status"]
            own = [*self._cors_headers, (b"x-request-id", self._exchange.request_id)]
            message = {**message, "headers": [*message.get("headers", ()), *own]}
        else:
            self._exchange.bytes_sent += len(message.get("body", b""))
            if self._exchange.first_byte_seconds is None:
                self._exchange.first_byte_seconds = self._exchange.duration_seconds
        await self._send(message)

    async def preflight(self, answer: Answer) -> None:
        self._cors_headers = []
        await self.whole(answer.status, answer.headers, answer.body)

    async def whole(self, status: int, headers: Headers, body: bytes) -> None:
        framing = [] if status == HTTPStatus.NO_CONTENT else [(b"content-length", str(len(body)).encode())]
        await self.send({"type": "http.response.start", "status": status, "headers": [*headers, *framing]})
        await self.send({"type": "http.response.body", "body": body})

    async def fail(self, error: Exception) -> None:
        answer = answer_to(error, self._exchange.raw_path)
        self._exchange.error_code = answer.code
        if self._exchange.status is None:
            await self.whole(answer.status, answer.headers, answer.body)


def small_answers(models: Models) -> FastAPI:
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

    @app.get("/health")
    async def health() -> JSONResponse:
        return JSONResponse({"status": "ok"})

    @app.get("/v1/models")
    async def list_models() -> JSONResponse:
        return JSONResponse({"object": "list", "data": await models.listing()})

    @app.get("/v1/models/{model_id:path}")
    async def get_model(model_id: str) -> JSONResponse:
        return JSONResponse(await models.entry(model_id))

    # Starlette raises the error again after this answer, so the door hears of it too.
    @app.exception_handler(Exception)
    async def failed(_request: Request, error: Exception) -> Response:
        answer = answer_to(error)
        return Response(answer.body, answer.status, {n.decode(): v.decode() for n, v in answer.headers})

    return app
