"""Faults of the front door: tokens, health, routes, models, and answers that are none of an API."""

import asyncio
import gzip
import json
from collections.abc import Mapping
from typing import Any

from tests.unit.smoke.zoo.api import MODEL, Refusal, WellBehaved
from tests.unit.smoke.zoo.exchange import Exchange

LOGIN_PAGE = b"<!DOCTYPE html><html><head><title>Sign in</title></head><body>Please sign in.</body></html>"
BAD_GATEWAY_PAGE = b"<html><head><title>502 Bad Gateway</title></head><body><hr>nginx</body></html>"
HTML = {"content-type": "text/html"}


class WrongTokenAccepted(WellBehaved):
    """Any token will do."""

    def knows(self, presented: str | None) -> bool:
        return bool(presented)


class EmptyTokenAccepted(WellBehaved):
    def knows(self, presented: str | None) -> bool:
        return presented == "" or super().knows(presented)


class NoTokenAccepted(WellBehaved):
    """The check is left out where the header is missing."""

    def knows(self, presented: str | None) -> bool:
        return presented is None or super().knows(presented)


class OpenToAll(WellBehaved):
    def knows(self, presented: str | None) -> bool:
        return True


class HealthNeedsToken(WellBehaved):
    async def health(self, exchange: Exchange) -> None:
        self.admit(exchange)
        await super().health(exchange)


class HealthTellsTooMuch(WellBehaved):
    async def health(self, exchange: Exchange) -> None:
        await exchange.answer(200, {"status": "ok", "model": "secret/model", "backend": "http://10.0.0.7:8001"})


class WrongModel(WellBehaved):
    models = ("somebody-elses-model",)

    def check(self, body: dict[str, Any]) -> None:
        if body.get("model") not in self.models:
            raise Refusal(404, f"The model `{body.get('model')}` does not exist.", "NotFoundError")
        super().check(body)


class NoMaxModelLen(WellBehaved):
    def list_models(self) -> dict[str, Any]:
        return {"object": "list", "data": [{"id": MODEL, "object": "model"}]}


class SmallerThanPlanned(WellBehaved):
    max_model_len = 2048


class UnknownRouteAnswers(WellBehaved):
    async def unknown_route(self, exchange: Exchange) -> None:
        await exchange.answer(200, {})


class TooLongIs500(WellBehaved):
    def too_long(self, tokens: int) -> None:
        raise Refusal(500, "Internal server error", "InternalServerError")


class TooLongBreaksOff(WellBehaved):
    """As when the engine dies of it."""

    def too_long(self, tokens: int) -> None:
        raise SystemError("out of memory")


class TooLongIsHtml(WellBehaved):
    async def refuse(self, exchange: Exchange, refusal: Refusal) -> None:
        if "maximum context length" in refusal.message:
            await exchange.answer_bytes(400, BAD_GATEWAY_PAGE, HTML)
        else:
            await super().refuse(exchange, refusal)


class TooLongIsCut(WellBehaved):
    """The prompt's beginning is dropped without a word."""

    def check_length(self, body: dict[str, Any]) -> None:
        return


class ErrorsInOwnForm(WellBehaved):
    async def refuse(self, exchange: Exchange, refusal: Refusal) -> None:
        await exchange.answer(refusal.status, {"detail": refusal.message})


class LoginPage(WellBehaved):
    """The page of a single sign-on that stands before the API."""

    async def route(self, exchange: Exchange) -> None:
        await exchange.answer_bytes(200, LOGIN_PAGE, HTML)


class RedirectsToLogin(WellBehaved):
    async def route(self, exchange: Exchange) -> None:
        await exchange.answer_bytes(302, b"", {"location": "https://sso.example/login"})


class BadGateway(WellBehaved):
    """A proxy that finds nobody behind itself."""

    async def route(self, exchange: Exchange) -> None:
        await exchange.answer_bytes(502, BAD_GATEWAY_PAGE, HTML)


class ChatIsHtml(WellBehaved):
    """A proxy that lets through all but what takes long."""

    async def chat(self, exchange: Exchange) -> None:
        await exchange.json()
        await exchange.answer_bytes(504, BAD_GATEWAY_PAGE, HTML)


class TextInsteadOfJson(WellBehaved):
    async def route(self, exchange: Exchange) -> None:
        await exchange.answer_bytes(200, b"It works!", {"content-type": "text/plain"})


class _NamedText(Exchange):
    json_type = "text/plain"


class JsonNamedText(WellBehaved):
    """The body is right, its type is not; clients go by the body."""

    exchange_type = _NamedText


class _Packed(Exchange):
    async def answer_bytes(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        await super().answer_bytes(status, gzip.compress(body), {**headers, "content-encoding": "gzip"})


class Gzipped(WellBehaved):
    """Packs what it answers, as some proxies do."""

    exchange_type = _Packed


class NeverAnswers(WellBehaved):
    async def chat(self, exchange: Exchange) -> None:
        await exchange.json()
        async with exchange.until_gone():
            await asyncio.Event().wait()


class EchoesToken(WellBehaved):
    """Its errors quote the request's headers."""

    def admit(self, exchange: Exchange) -> None:
        raise Refusal(401, f"Invalid header: {json.dumps(dict(exchange.headers))}")
