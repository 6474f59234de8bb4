"""How much one token may ask: requests a minute, and requests at a time. Without tokens the same by address."""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from pmp_gateway.addresses import client_key
from pmp_gateway.failures import RateLimited, TooManyConcurrent
from pmp_gateway.token_file import Token

# A request's end cannot be foreseen.
_CONCURRENT_RETRY_SECONDS = 1.0
_MOST_IDLE = 4096
# Rounding must not send away a client that waited for as long as it was told.
_ONE_REQUEST = 0.999

_Key = tuple[str | None, str]


@dataclass(slots=True)
class _Use:
    """`allowance` is how many requests may come at once; None is as many as a minute allows."""

    in_flight: int = 0
    allowance: float | None = None
    counted_at: float = 0.0


class TokenLimits:
    """Call `enter` once for each request that was let in, and `leave` once when it ended, with the same arguments.

    Nothing of a token is kept but what it used: a limit that changes counts with the next request.
    """

    def __init__(
        self, requests_per_minute: int = 0, max_concurrent: int = 0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """The limits are for whoever has none of their own; 0 is none."""
        self._requests_per_minute = requests_per_minute
        self._max_concurrent = max_concurrent
        self._clock = clock
        self._busy: dict[_Key, _Use] = {}
        self._idle: OrderedDict[_Key, _Use] = OrderedDict()

    def enter(self, token: Token | None, client_host: str | None = None) -> None:
        """Raises TooManyConcurrent or RateLimited, and then counts nothing."""
        requests_per_minute, max_concurrent, whose = self._requests_per_minute, self._max_concurrent, "This address"
        if token is not None:
            whose = "This token"
            if token.requests_per_minute is not None:
                requests_per_minute = token.requests_per_minute
            if token.max_concurrent is not None:
                max_concurrent = token.max_concurrent
        key = _key(token, client_host)
        use = self._busy.get(key) or self._idle.get(key) or _Use()
        if max_concurrent and use.in_flight >= max_concurrent:
            raise TooManyConcurrent(
                f"{whose} may have {max_concurrent} request(s) at a time, and has as many now.",
                retry_after_seconds=_CONCURRENT_RETRY_SECONDS,
            )
        if requests_per_minute:
            wait_seconds = self._take(use, requests_per_minute)
            if wait_seconds:
                raise RateLimited(
                    f"{whose} may make {requests_per_minute} request(s) a minute, and has made them.",
                    retry_after_seconds=wait_seconds,
                )
        if not use.in_flight:
            self._idle.pop(key, None)
            self._busy[key] = use
        use.in_flight += 1

    def leave(self, token: Token | None, client_host: str | None = None) -> None:
        key = _key(token, client_host)
        use = self._busy[key]
        use.in_flight -= 1
        if use.in_flight:
            return
        del self._busy[key]
        if use.allowance is not None:
            self._idle[key] = use
            if len(self._idle) > _MOST_IDLE:
                self._idle.popitem(last=False)

    def _take(self, use: _Use, requests_per_minute: int) -> float:
        """Takes one request off the allowance, which refills steadily; else how many seconds until there is one."""
        now = self._clock()
        per_second = requests_per_minute / 60
        if use.allowance is None:
            use.allowance = requests_per_minute
        else:
            refilled = use.allowance + (now - use.counted_at) * per_second
            use.allowance = min(refilled, requests_per_minute)
        use.counted_at = now
        if use.allowance < _ONE_REQUEST:
            return (1 - use.allowance) / per_second
        use.allowance -= 1
        return 0.0


def _key(token: Token | None, client_host: str | None) -> _Key:
    return (None, client_key(client_host)) if token is None else (token.name, "")
