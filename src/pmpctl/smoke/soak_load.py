"""The load of a soak: what a few clients do again and again, and what is remembered of it."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from pmpctl.smoke import prompts
from pmpctl.smoke.api import Api
from pmpctl.smoke.check import Failed

_GREETING = [prompts.user("Hello")]
_ANSWER_TOKENS = 128
# After an error, so that a dead API is not asked thousands of times.
_PAUSE_SECONDS = 0.5


@dataclass(slots=True)
class Seen:
    """What came of all requests so far; several threads add to it under its lock."""

    requests: int = 0
    first_token_seconds: list[float] = field(default_factory=list)
    whole_seconds: list[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)
    examples: dict[str, Failed] = field(default_factory=dict)
    """The first error of each kind of turn."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, whole_seconds: float, first_token_seconds: float | None = None) -> None:
        with self.lock:
            self.requests += 1
            self.whole_seconds.append(whole_seconds)
            if first_token_seconds is not None:
                self.first_token_seconds.append(first_token_seconds)

    def error(self, kind: str, failed: Failed) -> None:
        with self.lock:
            self.requests += 1
            self.errors[kind] += 1
            self.examples.setdefault(kind, failed)


def plain(api: Api, seen: Seen) -> None:
    seen.answer(api.chat(_GREETING, max_tokens=_ANSWER_TOKENS).seconds)


def stream(api: Api, seen: Seen) -> None:
    began = time.monotonic()
    with api.stream_chat(_GREETING, max_tokens=_ANSWER_TOKENS) as chunks:
        chunks.read_all()
    seen.answer(time.monotonic() - began, chunks.first_token_seconds)


def leave_early(api: Api, seen: Seen) -> None:
    """Counts as answered by its first token."""
    began = time.monotonic()
    with api.stream_chat(_GREETING, max_tokens=_ANSWER_TOKENS) as chunks:
        for _ in chunks:
            if chunks.arrivals:
                break
    seen.answer(time.monotonic() - began, chunks.first_token_seconds)


def tool_round(api: Api, seen: Seen) -> None:
    asked = [prompts.user()]
    called = api.chat(asked, tools=[prompts.WEATHER], max_tokens=prompts.ANSWER_TOKENS, temperature=0)
    seen.answer(called.seconds)
    if not called.tool_calls:
        raise Failed("the tool was not called", "See `pmpctl smoke --tools`.")
    call_id = called.tool_calls[0].id
    told = [*asked, prompts.calls(["Paris"], [call_id]), prompts.result("Paris", call_id)]
    seen.answer(api.chat(told, tools=[prompts.WEATHER], max_tokens=prompts.ANSWER_TOKENS).seconds)


TURNS: tuple[tuple[str, Callable[[Api, Seen], None]], ...] = (
    ("plain", plain),
    ("stream", stream),
    ("tools", tool_round),
    ("early leaver", leave_early),
)


def turns_for(api: Api) -> Sequence[tuple[str, Callable[[Api, Seen], None]]]:
    """With tools only where the profile has a parser for them."""
    return TURNS if api.target.tool_call_parser else [turn for turn in TURNS if turn[0] != "tools"]


def work(api: Api, seen: Seen, first: int, stop: threading.Event) -> None:
    """One turn after the other until told to stop; each client begins with another."""
    turns = turns_for(api)
    number = first
    while not stop.is_set():
        kind, turn = turns[number % len(turns)]
        number += 1
        try:
            turn(api, seen)
        except Failed as failed:
            if stop.is_set():
                return
            seen.error(kind, failed)
            stop.wait(_PAUSE_SECONDS)
        except Exception:
            # At the end the connections are closed under those that still wait.
            if not stop.is_set():
                raise
