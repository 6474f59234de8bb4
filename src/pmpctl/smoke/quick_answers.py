"""The model, its context, and answers that obey their limits."""

from typing import Any, Final

from pmpctl.smoke.answer import Answer, ChatAnswer, excerpt
from pmpctl.smoke.api import CHAT, Api
from pmpctl.smoke.check import Failed, Passed, Skipped, Warned
from pmpctl.smoke.models import max_model_len, model_names
from pmpctl.smoke.prompts import SAY_OK, Message, user

LONG_ANSWER: Final = [user("Count from one to one hundred in words.")]

# What and cure.
TRUNCATED: Final = (
    "a prompt longer than the context is answered, so its beginning is lost",
    "Switch truncation off: agents must be told that their prompt is too long.",
)

_SHORT_ANSWER: Final = [user(SAY_OK)]
_SHORT_TOKENS = 5
_STOPPED_TOKENS = 32
# Chunks may be halves of tokens, but not many.
_MOST_CHUNKS = 2 * _SHORT_TOKENS
_MOST_WORDS = 200_000


def beyond_context(api: Api) -> list[Message]:
    """A prompt that no answer is due to; raises Skipped where it would be too large."""
    words = max_model_len(api) + 1
    if words > _MOST_WORDS:
        raise Skipped(f"a prompt of {words} words is too large to send")
    return [user("word " * words)]


def models(api: Api) -> Passed:
    names = model_names(api.request("GET", "/v1/models"))
    if api.target.model not in names:
        raise Failed(
            f"there is no model {api.target.model!r}, but {excerpt(', '.join(names).encode()) or 'none at all'}",
            "Name the model with --model, or have the gateway serve it under that name.",
        )
    return Passed(api.target.model)


def context(api: Api) -> Passed:
    try:
        tokens = max_model_len(api)
    except Skipped as skipped:
        raise Warned(skipped.what, "Have the server tell max_model_len: agents cut their prompts by it.") from skipped
    planned = api.target.max_model_len
    if planned is not None and tokens != planned:
        raise Failed(
            f"max_model_len is {tokens}, but the profile says {planned}",
            "Another engine answers than the one that was started: see `pmpctl status`.",
        )
    return Passed(f"{tokens} tokens", {"max_model_len": tokens})


def short_chat(api: Api) -> ChatAnswer:
    return api.chat(_SHORT_ANSWER, max_tokens=_SHORT_TOKENS, temperature=0)


def short_answer(api: Api) -> Passed:
    chat = short_chat(api)
    return Passed(repr(excerpt((chat.text or chat.reasoning).encode(), 20)), {"answer_ms": chat.seconds * 1000})


def max_tokens(api: Api) -> Passed:
    with api.stream_chat(LONG_ANSWER, max_tokens=_SHORT_TOKENS, temperature=0) as stream:
        for _ in stream:
            if len(stream.arrivals) > _MOST_CHUNKS:
                raise Failed(
                    f"max_tokens {_SHORT_TOKENS} is not honoured",
                    "See which server drops it: answers may go on without end.",
                )
    if stream.finish_reason == "stop" and len(stream.arrivals) <= _SHORT_TOKENS:
        raise Skipped("the model says too little to be cut off")
    if stream.finish_reason != "length":
        raise Failed(
            f"max_tokens {_SHORT_TOKENS} ends with finish_reason {stream.finish_reason}, not length",
            "Clients cannot tell a cut answer from a whole one: update the engine, or what stands before it.",
        )
    return Passed("honoured")


def stop(api: Api) -> Passed:
    options: dict[str, Any] = {"max_tokens": _STOPPED_TOKENS, "temperature": 0}
    words = api.chat(LONG_ANSWER, **options).text.split()
    if len(words) < 3:
        raise Skipped("the model says too little to be stopped")
    word = words[2]
    with api.stream_chat(LONG_ANSWER, stop=[word], **options) as stream:
        try:
            stream.read_all()
        except Failed:
            # Nothing may stand before the word.
            if stream.finish_reason != "stop":
                raise
    if word in stream.text:
        raise Failed(
            f"stop {word!r} is not honoured: {excerpt(stream.text.encode(), 60)!r}",
            "See which server drops it: agents end their turns by it.",
        )
    return Passed("honoured")


def too_long(api: Api) -> Passed:
    body = {"model": api.target.model, "messages": beyond_context(api), "max_tokens": 1}
    return require_refused(api.request("POST", CHAT, body))


def require_refused(answer: Answer) -> Passed:
    """Of a prompt beyond the context; raises Failed unless the refusal is one that clients understand."""
    if answer.status == 200:
        raise Failed(*TRUNCATED)
    if answer.status not in (400, 413):
        raise Failed(
            f"a prompt longer than the context: HTTP {answer.status}, where 400 is due",
            "Clients take it for an outage and try again: `pmpctl logs engine` says what happened.",
        )
    if answer.error is None:
        raise Failed(
            f"a prompt longer than the context: HTTP {answer.status} without an error in OpenAI's form: "
            f"{excerpt(answer.body)!r}",
            "See which server words the error: clients look for error.message to shorten their prompt.",
        )
    return Passed(f"HTTP {answer.status}")
