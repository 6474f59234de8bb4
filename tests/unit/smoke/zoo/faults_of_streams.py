"""Faults of answers and streams: their pace, their end, what is counted, and what they leave behind."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

from tests.unit.smoke.zoo.api import WellBehaved
from tests.unit.smoke.zoo.exchange import Exchange
from tests.unit.smoke.zoo.mind import Reply, say

Chunks = list[dict[str, Any]]


class LumpedStream(WellBehaved):
    """A proxy that gathers the stream and passes it on at its end."""

    async def paced(self, events: list[bytes]) -> AsyncIterator[bytes]:
        together = b"".join([event async for event in super().paced(events)])
        yield together


class NoDone(WellBehaved):
    def last(self) -> list[bytes]:
        return []


class NoUsageInStream(WellBehaved):
    def chunks(self, reply: Reply, body: dict[str, Any]) -> Chunks:
        return super().chunks(reply, {**body, "stream_options": None})


class NoFinishReasonInStream(WellBehaved):
    def chunks(self, reply: Reply, body: dict[str, Any]) -> Chunks:
        chunks = super().chunks(reply, body)
        return [chunk for chunk in chunks if not any(choice["finish_reason"] for choice in chunk["choices"])]


class MaxTokensIgnored(WellBehaved):
    def understand(self, body: dict[str, Any]) -> dict[str, Any]:
        return {**super().understand(body), "max_tokens": 512, "max_completion_tokens": 512}


class StopIgnored(WellBehaved):
    def understand(self, body: dict[str, Any]) -> dict[str, Any]:
        return {**super().understand(body), "stop": None}


class EmptyAbort(WellBehaved):
    """200 with nothing in it, as an engine answers what it has given up."""

    def shape(self, reply: Reply, body: dict[str, Any]) -> Reply:
        return replace(reply, words=(), calls=(), finish_reason="abort")


class EmptyAnswer(WellBehaved):
    def shape(self, reply: Reply, body: dict[str, Any]) -> Reply:
        return replace(reply, words=(), calls=(), finish_reason="stop")


class SlowFirstToken(WellBehaved):
    seconds = 12.0

    async def paced(self, events: list[bytes]) -> AsyncIterator[bytes]:
        await asyncio.sleep(self.seconds)
        async for event in super().paced(events):
            yield event


class BreaksOffInStream(WellBehaved):
    async def paced(self, events: list[bytes]) -> AsyncIterator[bytes]:
        for event in events[:4]:
            yield event
        raise ConnectionError("the engine died")


class ErrorInStream(WellBehaved):
    def events(self, reply: Reply, body: dict[str, Any]) -> list[bytes]:
        error = {"message": "EngineCore encountered an issue.", "type": "InternalServerError", "code": 500}
        return [*super().events(reply, body)[:4], b"data: " + json.dumps({"error": error}).encode() + b"\n\n"]


class BrokenEvent(WellBehaved):
    def events(self, reply: Reply, body: dict[str, Any]) -> list[bytes]:
        return [b'data: {"choices": [\n\n', *super().events(reply, body)]


class StreamIgnored(WellBehaved):
    """Answers whole, whatever was asked."""

    async def stream(self, exchange: Exchange, reply: Reply, body: dict[str, Any]) -> None:
        await exchange.answer(200, self.whole(reply))


class _Deaf(Exchange):
    @contextlib.asynccontextmanager
    async def until_gone(self) -> AsyncIterator[None]:
        yield


class KeepsGenerating(WellBehaved):
    """Does not notice that a client has left, and takes one request at a time."""

    exchange_type = _Deaf

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.slots = asyncio.Semaphore(1)


class ThinksAloud(WellBehaved):
    """No reasoning parser, or the wrong one, takes out what the model thinks."""

    def shape(self, reply: Reply, body: dict[str, Any]) -> Reply:
        thought = say(f"<think>{reply.reasoning or 'Let me see.'}</think> ").words
        return replace(reply, words=thought + reply.words, reasoning="")
