"""The quick checks: what any client needs before tools, long prompts or a load come into play."""

from collections.abc import Callable

from pmpctl.smoke import quick_access, quick_answers, quick_cancel, quick_streams
from pmpctl.smoke.api import Api
from pmpctl.smoke.check import Check, Group, Passed


def _check(name: str, title: str, run: Callable[[Api], Passed]) -> Check:
    return Check(name, Group.QUICK, title, run)


QUICK: tuple[Check, ...] = (
    _check("health", "Health is open", quick_access.health),
    _check("health-silent", "Health tells nothing", quick_access.health_silent),
    _check("auth-no-token", "No token", quick_access.without_token),
    _check("auth-wrong-token", "A wrong token", quick_access.with_wrong_token),
    _check("auth-empty-token", "An empty token", quick_access.with_empty_token),
    _check("engine-hidden", "The engine itself is hidden", quick_access.engine_hidden),
    _check("models", "The model is listed", quick_answers.models),
    _check("unknown-route", "An unknown route is refused", quick_access.unknown_route),
    _check("context", "The context's length", quick_answers.context),
    _check("answer", "A short answer", quick_answers.short_answer),
    _check("stream", "A stream comes in pieces", quick_streams.in_chunks),
    _check("first-token", "The first token", quick_streams.first_token),
    _check("stream-end", "The stream's end", quick_streams.end),
    _check("stream-usage", "Usage in the stream", quick_streams.usage),
    _check("max-tokens", "max_tokens is honoured", quick_answers.max_tokens),
    _check("stop", "stop is honoured", quick_answers.stop),
    _check("too-long", "A prompt that is too long is refused", quick_answers.too_long),
    _check("cancel", "A client that leaves frees the engine", quick_cancel.cancel),
)
