"""The gateway's parts, and what each request passes on its way in and on its way out."""

from collections.abc import Collection
from dataclasses import dataclass

from pmp_gateway.access_log import AccessLog
from pmp_gateway.auth import Tokens
from pmp_gateway.crowd import Crowd
from pmp_gateway.exchange import Exchange
from pmp_gateway.limits import TokenLimits
from pmp_gateway.metrics import Metrics
from pmp_gateway.models import Models
from pmp_gateway.origins import Cors, Guard
from pmp_gateway.settings import Settings
from pmp_gateway.state import GatewayState
from pmp_gateway.uploads import Uploads
from pmp_gateway.upstream import Upstream


@dataclass(frozen=True, slots=True)
class Gateway:
    settings: Settings
    crowd: Crowd
    uploads: Uploads
    tokens: Tokens
    limits: TokenLimits
    guard: Guard
    cors: Cors
    state: GatewayState
    upstream: Upstream
    models: Models
    metrics: Metrics
    access_log: AccessLog
    forwarded_headers: Collection[bytes] = ()

    def enter(self, exchange: Exchange) -> None:
        """Whether the client may come in; raises a GatewayError if not. `leave` follows in any case."""
        # First the tokens: with this call they are read again where they changed.
        token = self.tokens.authenticate(exchange.headers, exchange.client_host)
        self.guard.check(exchange.headers, token is not None)
        self.limits.enter(token, exchange.client_host)
        if token is not None:
            exchange.token = token
            exchange.token_name = token.name
        exchange.is_counted = True

    def leave(self, exchange: Exchange) -> None:
        """The request is over, however it ended."""
        if exchange.is_counted:
            exchange.is_counted = False
            self.limits.leave(exchange.token, exchange.client_host)
        self.record(exchange)

    def record(self, exchange: Exchange) -> None:
        self.metrics.finished(exchange)
        self.access_log.write(exchange)
