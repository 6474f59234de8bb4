"""Clients that ask all the time while models change behind the gateway, and what became of each of their requests."""

import asyncio
import itertools
import json
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

PAUSE_SECONDS = 0.05
NAMES = ("llm", "coding", "chat")


@dataclass(frozen=True, slots=True)
class Opening:
    """A switch as a client may notice it; times are seconds since the epoch, `model` is what the profile runs.

    The gateway held no earlier than `held_at`, and at most `unsure_seconds` later.
    """

    held_at: float
    opened_at: float
    model: str
    unsure_seconds: float = 0

    @classmethod
    def told_by(cls, result: Mapping[str, Any], opened_at: float, model: str) -> "Opening":
        """By what `pmpctl --json switch` says, which waits for the gateway's answers at both ends of the gap."""
        unsure_seconds = result["phases"]["hold"] + result["phases"]["open"]
        return cls(opened_at - result["gap_seconds"], opened_at, model, unsure_seconds)


@dataclass(slots=True)
class Answer:
    """`engines` are the fingerprints in it, `connection` is the number of the engine's connection that it came by."""

    tag: str
    is_stream: bool
    asked_at: float
    text: str = ""
    status: int = 0
    ended_at: float = 0.0
    engines: set[str] = field(default_factory=set)
    finish_reasons: list[str] = field(default_factory=list)
    connection: int = 0
    done: int = 0
    after_done: int = 0
    retry_after: str = ""
    error: dict[str, Any] = field(default_factory=dict)
    broken: str = ""

    @property
    def model(self) -> str:
        return next(iter(self.engines)).partition("@")[0]

    @property
    def fault(self) -> str:
        """What is wrong with it as an answer from one engine, whole and once; empty if nothing is."""
        if self.broken:
            return f"the connection broke: {self.broken}"
        if self.error or self.status != 200:
            return f"it is an error: {self.status} {self.error}"
        if self.text != self.tag:
            return f"its text is {self.text!r}"
        if self.finish_reasons != ["stop"]:
            return f"its ends are {self.finish_reasons}"
        if len(self.engines) != 1:
            return f"it came from {len(self.engines)} engines"
        if self.is_stream and (self.done, self.after_done) != (1, 0):
            return f"{self.done} times [DONE], and {self.after_done} events after it"
        return ""

    @property
    def was_refused_properly(self) -> bool:
        """It ended in the way that tells a client to come again."""
        if self.broken or not self.error:
            return False
        if self.is_stream and self.status == 200:
            return bool(self.error.get("message")) and not self.finish_reasons
        return self.status == 503 and int(self.retry_after or 0) > 0


class Load:
    """`concurrency` clients that ask in turns for whole answers and streams, of `words` words each."""

    def __init__(self, api_port: int, *, concurrency: int = 6, words: int = 3) -> None:
        self._url = f"http://127.0.0.1:{api_port}/v1/chat/completions"
        self._concurrency = concurrency
        self._words = words
        self._numbers = itertools.count()
        self._stopping = False
        self._answered = asyncio.Condition()
        self.answers: list[Answer] = []
        self.asked = 0

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """At the end every request that was sent has been answered."""
        async with httpx.AsyncClient(timeout=httpx.Timeout(90, connect=10)) as client:
            clients = [asyncio.create_task(self._client(client)) for _ in range(self._concurrency)]
            try:
                yield
            finally:
                self._stopping = True
                await asyncio.gather(*clients)

    async def some_more(self, count: int = 6) -> None:
        """Returns when so many requests have been answered that were asked after this call."""
        began, known = time.time(), len(self.answers)

        def enough() -> bool:
            return sum(answer.asked_at > began for answer in self.answers[known:]) >= count

        async with asyncio.timeout(60), self._answered:
            await self._answered.wait_for(enough)

    async def _client(self, client: httpx.AsyncClient) -> None:
        while not self._stopping:
            self.answers.append(await self._ask(client, next(self._numbers)))
            async with self._answered:
                self._answered.notify_all()
            await asyncio.sleep(PAUSE_SECONDS)

    async def _ask(self, client: httpx.AsyncClient, number: int) -> Answer:
        tag = " ".join([f"tag-{number}", *(f"word-{index}" for index in range(1, self._words))])
        is_stream = number % 2 == 1
        body = {
            "model": NAMES[number % len(NAMES)],
            "messages": [{"role": "user", "content": tag}],
            "stream": is_stream,
        }
        answer = Answer(tag, is_stream, asked_at=time.time())
        self.asked += 1
        try:
            async with client.stream("POST", self._url, json=body) as response:
                answer.status = response.status_code
                answer.retry_after = response.headers.get("retry-after", "")
                if is_stream and response.status_code == 200:
                    await _read_stream(response, answer)
                else:
                    _read_whole(await response.aread(), answer)
        except httpx.HTTPError as error:
            answer.broken = repr(error)
        answer.ended_at = time.time()
        return answer


async def _read_stream(response: httpx.Response, answer: Answer) -> None:
    async for line in response.aiter_lines():
        if not line.startswith("data: "):
            continue
        data = line.removeprefix("data: ")
        answer.after_done += answer.done
        if data == "[DONE]":
            answer.done += 1
        elif "error" in (event := json.loads(data)):
            answer.error = event["error"]
        else:
            _read_choice(event, "delta", answer)


def _read_whole(body: bytes, answer: Answer) -> None:
    data = json.loads(body)
    if "error" in data:
        answer.error = data["error"]
    else:
        _read_choice(data, "message", answer)


def _read_choice(data: dict[str, Any], part: str, answer: Answer) -> None:
    answer.engines.add(data["system_fingerprint"])
    answer.connection = int(data["id"].rpartition("-")[2])
    (choice,) = data["choices"]
    answer.text += choice[part].get("content") or ""
    if choice["finish_reason"] is not None:
        answer.finish_reasons.append(choice["finish_reason"])


def faults_of(load: Load) -> list[str]:
    """Of requests that were not answered as they should be; empty is how it shall be."""
    found = [f"{answer.tag.split()[0]}: {fault}" for answer in load.answers if (fault := answer.fault)]
    tags = [answer.tag for answer in load.answers]
    if len(tags) != load.asked or len(set(tags)) != len(tags):
        found.append(f"{load.asked} requests, {len(tags)} answers to {len(set(tags))} of them")
    return found


def meant_model(asked_at: float, openings: Sequence[Opening], margin_seconds: float = 0.5) -> str | None:
    """The model that was to answer what was asked then; None around a switch.

    What is asked after `held_at` waits for the new model; a client cannot tell the moment itself more exactly than by
    the margin.
    """
    for before, after in itertools.pairwise([*openings, None]):
        assert before is not None
        began = asked_at >= before.held_at + before.unsure_seconds + margin_seconds
        if began and (after is None or asked_at < after.held_at - margin_seconds):
            return before.model
    return None


def wrong_models(answers: Sequence[Answer], openings: Sequence[Opening]) -> list[str]:
    """Answers from another model than the one that was to answer them."""
    return [
        f"{answer.tag.split()[0]} was answered by {answer.model}, not by {meant}"
        for answer in answers
        if not answer.fault and (meant := meant_model(answer.asked_at, openings)) not in (None, answer.model)
    ]


def out_of_order(answers: Sequence[Answer], opening: Opening, apart_seconds: float = 0.02) -> list[str]:
    """Held requests that went to the engine before others that had been asked clearly earlier."""
    held = sorted(
        (
            answer
            for answer in answers
            if opening.held_at < answer.asked_at < opening.opened_at < answer.ended_at and not answer.fault
        ),
        key=lambda answer: answer.asked_at,
    )
    return [
        f"{second.tag.split()[0]} (connection {second.connection}) before {first.tag.split()[0]} ({first.connection})"
        for first, second in itertools.combinations(held, 2)
        if second.asked_at - first.asked_at > apart_seconds and second.connection < first.connection
    ]
