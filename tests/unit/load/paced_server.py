"""A real server that streams tokens at a known pace, and counts a token for each word of a prompt."""

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.unit.smoke.small_server import Asked, Reply, serving

TEMPLATE_TOKENS = 9
FIRST_TOKEN_SECONDS = 0.06
TOKEN_SECONDS = 0.01
MAX_MODEL_LEN = 2048


@dataclass
class Pace:
    """`fails` says with which status a measured request is refused, by its number among them from 1; 0 is not."""

    tokens_per_chunk: int = 1
    fails: Callable[[int], int] = lambda _: 0
    takes_ignore_eos: bool = True
    counts_prompts: bool = True
    tells_usage: bool = True
    token: str | None = None
    models: tuple[str, ...] = ("llm",)
    measured: list[Asked] = field(default_factory=list)
    most_at_a_time: int = 0


@contextmanager
def paced_server(pace: Pace, measured_tokens: int) -> Iterator[str]:
    """A request counts as measured when it is for an answer of `measured_tokens`."""
    numbers = itertools.count(1)
    lock = threading.Lock()
    now = 0

    def answer(reply: Reply) -> None:
        nonlocal now
        if pace.token is not None and reply.asked.headers.get("authorization") != f"Bearer {pace.token}":
            reply.json(_error("no such token", "invalid_api_key"), 401)
            return
        if reply.asked.path == "/v1/models":
            reply.json({"data": [{"id": name, "max_model_len": MAX_MODEL_LEN} for name in pace.models]})
            return
        if reply.asked.path != "/v1/chat/completions":
            reply.json(_error("no such route", "not_found"), 404)
            return
        body = reply.asked.body
        if "ignore_eos" in body and not pace.takes_ignore_eos:
            reply.json(_error("Unrecognized request argument: ignore_eos", "invalid_request_error"), 400)
            return
        if body["max_tokens"] != measured_tokens:
            _answer(reply, pace, body)
            return
        with lock:
            pace.measured.append(reply.asked)
            status = pace.fails(next(numbers))
            now += 1
            pace.most_at_a_time = max(pace.most_at_a_time, now)
        try:
            if status:
                reply.json(_error("out of luck", "server_error"), status)
            else:
                _answer(reply, pace, body)
        finally:
            with lock:
                now -= 1

    with serving(answer) as server:
        yield server.url


def words_of(asked: Asked) -> list[str]:
    content: str = asked.body["messages"][0]["content"]
    return content.split()


def _answer(reply: Reply, pace: Pace, body: dict[str, Any]) -> None:
    tokens = body["max_tokens"]
    prompt = TEMPLATE_TOKENS + len(body["messages"][0]["content"].split())
    usage = {"prompt_tokens": prompt if pace.counts_prompts else 1, "completion_tokens": tokens}
    if not body.get("stream"):
        message = {"role": "assistant", "content": "word"}
        reply.json({"choices": [{"index": 0, "message": message, "finish_reason": "length"}], "usage": usage})
        return
    reply.begin_stream()
    reply.event(_chunk({"role": "assistant", "content": ""}))
    began = time.monotonic()
    for done in range(0, tokens, pace.tokens_per_chunk):
        due = began + FIRST_TOKEN_SECONDS + TOKEN_SECONDS * done
        time.sleep(max(0.0, due - time.monotonic()))
        last = done + pace.tokens_per_chunk >= tokens
        reply.event(_chunk({"content": " word" * pace.tokens_per_chunk}, "length" if last else None))
    if pace.tells_usage:
        reply.event({"choices": [], "usage": usage})
    reply.event("[DONE]")
    reply.part(b"")


def _chunk(delta: dict[str, str], finish_reason: str | None = None) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}]}


def _error(message: str, kind: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "code": kind}}
