"""The pass-through: an inference request goes to the engine, its answer comes back as it arrives."""

from pmp_gateway.exchange import ClientWatch, Exchange
from pmp_gateway.failures import BackendFailure, Headers
from pmp_gateway.json_body import JsonBody
from pmp_gateway.models import Models
from pmp_gateway.upstream import Upstream, UpstreamResponse

_HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
# Who the client is stays here, and what describes the body's framing is made anew.
_NOT_FORWARDED = _HOP_BY_HOP | {
    b"accept-encoding",
    b"authorization",
    b"content-encoding",
    b"content-length",
    b"cookie",
    b"expect",
    b"forwarded",
    b"host",
    b"via",
    b"x-api-key",
    b"x-real-ip",
    b"x-request-id",
}
_NOT_RETURNED = _HOP_BY_HOP | {b"date", b"server", b"x-request-id"}


class Forward:
    def __init__(self, upstream: Upstream, models: Models, max_body_bytes: int) -> None:
        self._upstream = upstream
        self._models = models
        self._max_body_bytes = max_body_bytes

    async def __call__(self, exchange: Exchange) -> None:
        body = JsonBody(await exchange.read_body(self._max_body_bytes))
        async with ClientWatch(exchange):
            try:
                response = await self._open(exchange, body)
                try:
                    await _relay(response, exchange)
                finally:
                    response.close()
            except BackendFailure:
                self._models.forget()
                raise

    async def _open(self, exchange: Exchange, body: JsonBody) -> UpstreamResponse:
        path = exchange.raw_path.decode("ascii")
        headers = [*_forwarded(exchange.headers), (b"x-request-id", exchange.request_id)]
        model = await self._models.resolve(body.model)
        response = await self._upstream.post(path, headers, body.naming(model))
        if response.status != 404:
            return response
        # Another engine may have taken the place of the one whose names are known.
        try:
            await self._models.fetch()
            renamed = await self._models.resolve(body.model)
        except BackendFailure:
            return response
        except BaseException:
            response.close()
            raise
        if renamed == model:
            return response
        response.close()
        return await self._upstream.post(path, headers, body.naming(renamed))


async def _relay(response: UpstreamResponse, exchange: Exchange) -> None:
    await exchange.send(
        {"type": "http.response.start", "status": response.status, "headers": _returned(response.headers)}
    )
    async for chunk in response.chunks():
        await exchange.send({"type": "http.response.body", "body": chunk, "more_body": True})
    await exchange.send({"type": "http.response.body"})


def _forwarded(headers: Headers) -> Headers:
    dropped = _NOT_FORWARDED | _named_by_connection(headers)
    return [item for item in headers if item[0] not in dropped and not item[0].startswith(b"x-forwarded-")]


def _returned(headers: Headers) -> Headers:
    dropped = _NOT_RETURNED | _named_by_connection(headers)
    # The engine allows every origin; which ones may come in is not its business.
    return [item for item in headers if item[0] not in dropped and not item[0].startswith(b"access-control-")]


def _named_by_connection(headers: Headers) -> frozenset[bytes]:
    values = (value for name, value in headers if name == b"connection")
    return frozenset(token.strip().lower() for value in values for token in value.split(b","))
