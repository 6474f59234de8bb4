"""The connection to the engine: requests go out, answers come back as they arrive, failures come back as our own."""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import aiohttp

from pmp_gateway.failures import BackendAway, BackendBroken, BackendSilent, Headers

_CONNECT_TIMEOUT_SECONDS = 5.0
# Uvicorn closes connections that were idle for 5 s; never send on one that is about to go.
_KEEP_ALIVE_SECONDS = 4.0


class UpstreamResponse:
    """An answer whose head is here and whose body is still coming."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self.status = response.status
        self.headers: Headers = [(name.lower(), value) for name, value in response.raw_headers]

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it arrives. While nobody asks for the next chunk, the engine is not read from."""
        with _as_failures():
            async for chunk in self._response.content.iter_any():
                yield chunk

    def close(self) -> None:
        """Unless the body was read to its end, this closes the connection, which makes the engine stop."""
        self._response.close()


class Upstream:
    """Open it and close it inside the running loop."""

    def __init__(self, base_url: str, silence_seconds: float) -> None:
        self._base_url = base_url
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEP_ALIVE_SECONDS),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_TIMEOUT_SECONDS, sock_read=silence_seconds),
            skip_auto_headers=("accept", "user-agent", "content-type"),
            trust_env=False,
        )

    async def post(self, path: str, headers: Headers, body: bytes) -> UpstreamResponse:
        """Send a request and wait for the head of its answer; cancelling the call closes the connection."""
        with _as_failures():
            response = await self._session.post(
                self._base_url + path, headers=_decoded(headers), data=body, allow_redirects=False
            )
        if 300 <= response.status < 400:
            response.close()
            raise BackendBroken
        return UpstreamResponse(response)

    async def get(self, path: str, timeout_seconds: float) -> tuple[int, bytes]:
        """A short question to the engine: status and body."""
        timeout = aiohttp.ClientTimeout(total=timeout_seconds, sock_connect=_CONNECT_TIMEOUT_SECONDS)
        with _as_failures():
            async with self._session.get(
                self._base_url + path, headers={"accept-encoding": "identity"}, timeout=timeout, allow_redirects=False
            ) as response:
                return response.status, await response.read()

    async def close(self) -> None:
        await self._session.close()


def _decoded(headers: Headers) -> list[tuple[str, str]]:
    decoded = [(name.decode("ascii"), value.decode("utf-8", "replace")) for name, value in headers]
    # The answer is passed on as it is, so it must be one that every client reads.
    return [*decoded, ("accept-encoding", "identity")]


@contextmanager
def _as_failures() -> Iterator[None]:
    try:
        yield
    except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
        raise BackendAway from error
    except TimeoutError as error:
        raise BackendSilent from error
    except (aiohttp.ClientError, OSError) as error:
        raise BackendBroken from error
