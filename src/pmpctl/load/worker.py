"""Carries a level out; a helper process, so that neither progress bars nor results disturb the clock.

The order: `target` (`url`, `token`, `model`, `timeout_seconds`), `level`, `filler` and `fields` as data. It tells
`warmed`, then a `sample` for each request, and at the end `seconds`, `cpu` and `lag_p99_ms`.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import Iterator
from typing import Any

import httpx
import msgspec
import uvloop

from pmpctl.helper import Tell, serve
from pmpctl.load.chunks import BrokenStream, ChunkReader
from pmpctl.load.filler import Filler
from pmpctl.load.probe import Fields
from pmpctl.load.sample import Level, Sample
from pmpctl.smoke.answer import Answer, is_event_stream
from pmpctl.smoke.api import CHAT, bearer, connection_settings
from pmpctl.smoke.check import Failed
from pmpctl.smoke.faults import failed_connection
from pmpctl.smoke.prompts import user
from pmpctl.smoke.target import Target

WARM_UP_TOKENS = 16
# After a failure, so that an API that refuses everything is not asked thousands of times a second.
_PAUSE_SECONDS = 0.2
_LAG_STEP_SECONDS = 0.02


class Order(msgspec.Struct):
    target: Target
    level: Level
    filler: Filler
    fields: Fields


class Client:
    def __init__(self, order: Order, http: httpx.AsyncClient) -> None:
        self._order = order
        self._http = http
        self._chance = random.SystemRandom()

    async def ask(self, output_tokens: int, level_began: float) -> Sample:
        text = self._order.filler.text(self._chance)
        body = msgspec.json.encode(
            {
                "model": self._order.target.model,
                "messages": [user(text)],
                **self._order.fields.of_request(output_tokens),
            }
        )
        reader = ChunkReader()
        began = time.monotonic()
        error, said = None, ""
        try:
            async with asyncio.timeout(self._order.target.timeout_seconds):
                await self._stream(body, reader)
        except BrokenStream as broken:
            error, said = broken.kind, broken.said
        except (TimeoutError, httpx.HTTPError, httpx.StreamError) as fault:
            error, said = self._worded(fault, reader)
        ended = time.monotonic()
        if error is not None or reader.last_token_at is None:
            return Sample(began=began - level_began, whole_seconds=ended - began, error=error, said=said)
        return Sample(
            began=began - level_began,
            whole_seconds=ended - began,
            first_token_seconds=reader.arrivals[0] - began,
            last_token_seconds=reader.last_token_at - began,
            gaps_seconds=tuple(
                round(later - earlier, 6) for earlier, later in zip(reader.arrivals, reader.arrivals[1:], strict=False)
            ),
            prompt_tokens=reader.prompt_tokens,
            output_tokens=reader.output_tokens,
        )

    async def _stream(self, body: bytes, reader: ChunkReader) -> None:
        headers = {b"content-type": b"application/json"} | bearer(self._order.target.token)
        async with self._http.stream("POST", CHAT, content=body, headers=headers) as response:
            if response.status_code != httpx.codes.OK or not is_event_stream(response.headers):
                content = await response.aread()
                answer = Answer(f"POST {CHAT}", response.status_code, dict(response.headers), content, 0)
                try:
                    answer.require_ok()
                except Failed as failed:
                    raise BrokenStream(f"HTTP {response.status_code}", failed.what) from failed
                kind = response.headers.get("content-type") or "of no named type"
                raise BrokenStream("no stream", f"the answer is {kind}")
            async for received in response.aiter_bytes():
                reader.take(time.monotonic(), received)
        reader.finish()

    def _worded(self, fault: Exception, reader: ChunkReader) -> tuple[str, str]:
        if isinstance(fault, TimeoutError | httpx.TimeoutException):
            return "timeout", f"no whole answer within {self._order.target.timeout_seconds:g} s"
        host = httpx.URL(self._order.target.url).netloc.decode()
        failed = failed_connection(f"POST {CHAT}", host, fault, self._order.target.timeout_seconds)
        return ("broken stream" if reader.arrivals else "connection"), failed.what


async def carry_out(order: Order, tell: Tell) -> None:
    settings, level = connection_settings(order.target), order.level
    async with contextlib.AsyncExitStack() as open_clients:
        # Each its own: a pool that all share looks at all its connections for each request, hundreds of ms at 64.
        clients = [
            Client(order, await open_clients.enter_async_context(httpx.AsyncClient(**settings)))
            for _ in range(level.concurrency)
        ]
        await asyncio.gather(*(client.ask(min(level.output_tokens, WARM_UP_TOKENS), 0.0) for client in clients))
        tell(warmed=True)
        lags: list[float] = []
        watched = asyncio.create_task(_watch_lag(lags))
        cpu_began, began = time.process_time(), time.monotonic()
        turns = _turns(level, began)

        async def work(client: Client) -> None:
            for _ in turns:
                sample = await client.ask(level.output_tokens, began)
                tell(sample=msgspec.to_builtins(sample))
                if sample.error is not None:
                    await asyncio.sleep(_PAUSE_SECONDS)

        await asyncio.gather(*(work(client) for client in clients))
        seconds, cpu = time.monotonic() - began, time.process_time() - cpu_began
        watched.cancel()
        tell(seconds=seconds, cpu=cpu / seconds, lag_p99_ms=_p99_ms(lags))


def _turns(level: Level, began: float) -> Iterator[int]:
    """One for each request that is yet to begin, shared by all who make them."""
    number = 0
    while (level.requests is None or number < level.requests) and (
        level.seconds is None or time.monotonic() - began < level.seconds
    ):
        yield number
        number += 1


async def _watch_lag(lags: list[float]) -> None:
    """How late the loop turns to what is due."""
    while True:
        due = time.monotonic() + _LAG_STEP_SECONDS
        await asyncio.sleep(_LAG_STEP_SECONDS)
        lags.append(max(0.0, time.monotonic() - due))


def _p99_ms(lags: list[float]) -> float:
    return 1000 * sorted(lags)[int(0.99 * len(lags))] if lags else 0.0


def measure(order: dict[str, Any], tell: Tell) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(carry_out(msgspec.convert(order, Order), tell))


if __name__ == "__main__":
    # At the usual priority: a client that waits for the processor measures that.
    serve(measure, niceness=0)
