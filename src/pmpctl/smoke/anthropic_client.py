"""Anthropic's own Python client, where the engine serves messages: plain, streamed, counted, by its older header."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pmpctl.smoke import prompts
from pmpctl.smoke.api import Api
from pmpctl.smoke.check import Check, Failed, Group, Passed
from pmpctl.smoke.official_client import CLIENT_CURE, answer_of, in_time, official_client
from pmpctl.smoke.served import presented_token, require_served

if TYPE_CHECKING:
    from anthropic import Anthropic
    from anthropic.types import Message

_NAME = "anthropic"
_SAY_OK: Any = [prompts.user(prompts.SAY_OK)]


def plain(api: Api) -> Passed:
    with _client(api) as client:
        message = client.messages.create(model=api.target.model, max_tokens=prompts.ANSWER_TOKENS, messages=_SAY_OK)
        return _passed(message)


def streamed(api: Api) -> Passed:
    kinds: list[str] = []
    with (
        _client(api) as client,
        client.messages.stream(model=api.target.model, max_tokens=prompts.ANSWER_TOKENS, messages=_SAY_OK) as stream,
    ):
        in_time(api, stream, lambda event: kinds.append(event.type))
        if "message_stop" not in kinds:
            raise Failed(
                f"the stream ends with {kinds[-1] if kinds else 'nothing'}, not with message_stop", CLIENT_CURE
            )
        return _passed(stream.get_final_message())


def counted(api: Api) -> Passed:
    with _client(api) as client:
        tokens: Any = client.messages.count_tokens(model=api.target.model, messages=_SAY_OK).input_tokens
        if not isinstance(tokens, int) or tokens < 1:
            raise Failed(f"the client counts {tokens!r} tokens", CLIENT_CURE)
        return Passed(f"{tokens} tokens")


def older_header(api: Api) -> Passed:
    token = presented_token(api)

    def as_older_ones(request: Any) -> None:
        request.headers.pop("authorization", None)
        request.headers["x-api-key"] = token

    with _client(api, event_hooks={"request": [as_older_ones]}) as client:
        return _passed(
            client.messages.create(model=api.target.model, max_tokens=prompts.ANSWER_TOKENS, messages=_SAY_OK)
        )


@contextmanager
def _client(api: Api, **connection: Any) -> Iterator["Anthropic"]:
    """Raises Skipped where messages are not served."""
    with official_client(_NAME, api, **connection) as (anthropic, arguments):
        try:
            yield anthropic.Anthropic(base_url=api.target.url, **arguments)
        except anthropic.APIStatusError as error:
            require_served(answer_of(_NAME, error))
            raise


def _passed(message: "Message") -> Passed:
    if not any(block.type == "tool_use" or _said(block) for block in message.content):
        raise Failed("the client's message is empty", CLIENT_CURE)
    if message.stop_reason is None:
        raise Failed("the client sees no stop_reason", CLIENT_CURE)
    return Passed(f"stop_reason {message.stop_reason}, {message.usage.output_tokens} tokens")


def _said(block: Any) -> bool:
    return any(getattr(block, name, None) for name in ("text", "thinking"))


def _check(name: str, title: str, run: Callable[[Api], Passed]) -> Check:
    return Check(name, Group.CLIENTS, f"Client anthropic: {title}", run)


ANTHROPIC = (
    _check("anthropic-message", "a message", plain),
    _check("anthropic-stream", "a streamed message", streamed),
    _check("anthropic-count", "tokens are counted", counted),
    _check("anthropic-x-api-key", "the token as x-api-key", older_header),
)
