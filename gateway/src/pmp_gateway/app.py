"""The public application: FastAPI for the small answers, and the door every request passes on its way in."""

import asyncio
import logging
from contextlib import suppress

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from pmp_gateway.access_log import AccessLog
from pmp_gateway.auth import Tokens
from pmp_gateway.exchange import ClientLeft, Exchange
from pmp_gateway.failures import GatewayError, Stopping, answer_to
from pmp_gateway.forward import Forward
from pmp_gateway.models import Models
from pmp_gateway.routes import Handler, find_handler
from pmp_gateway.state import GatewayState

log = logging.getLogger(__name__)

_CLIENT_LEFT = 499
_LAST_WORDS_TIMEOUT_SECONDS = 1.0


class Door:
    """An ASGI application of its own, so that nothing but this class stands between a stream and the server."""

    def __init__(
        self, tokens: Tokens, state: GatewayState, forward: Forward, small_answers: FastAPI, access_log: AccessLog
    ) -> None:
        self._tokens = tokens
        self._state = state
        self._forward = forward
        self._small_answers = small_answers
        self._access_log = access_log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = Exchange(scope, receive, send)
        client_left = False
        try:
            await self._answer(exchange)
        except ClientLeft:
            client_left = True
        except asyncio.CancelledError:
            # Only the server cancels, when it stops and will wait no longer; a stalled client cannot hold it up.
            with suppress(TimeoutError):
                async with asyncio.timeout(_LAST_WORDS_TIMEOUT_SECONDS):
                    await exchange.fail(Stopping())
        except Exception as error:
            if not isinstance(error, GatewayError):
                log.exception("request %s failed", exchange.request_id.decode())
            await exchange.fail(error)
        finally:
            status = _CLIENT_LEFT if client_left or exchange.status is None else exchange.status
            self._access_log.write(exchange, status)

    async def _answer(self, exchange: Exchange) -> None:
        handler = find_handler(exchange.method, exchange.raw_path)
        if handler is Handler.HEALTH:
            await self._small_answers(exchange.scope, exchange.receive, exchange.send)
            return
        self._tokens.authenticate(exchange.headers)
        with self._state.admitted(exchange):
            if handler is Handler.MODELS:
                await self._small_answers(exchange.scope, exchange.receive, exchange.send)
            else:
                await self._forward(exchange)


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
        response = Response(status_code=answer.status)
        response.raw_headers, response.body = answer.headers, answer.body
        return response

    return app
