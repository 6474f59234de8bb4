"""OpenAI's own Python client, as programs use it: models, answers, streams, a tool, and the errors that it raises."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pmpctl.smoke import prompts
from pmpctl.smoke.answer import excerpt, parse_json, require_content
from pmpctl.smoke.api import Api
from pmpctl.smoke.check import Check, Failed, Group, Passed, Warned
from pmpctl.smoke.official_client import CLIENT_CURE, answer_of, in_time, official_client
from pmpctl.smoke.quick_access import WRONG_TOKEN
from pmpctl.smoke.quick_answers import TRUNCATED, beyond_context, require_refused
from pmpctl.smoke.served import NO_CALL_CURE, presented_token, tools_may_be_missing
from pmpctl.smoke.tool_calling import fields, tools

if TYPE_CHECKING:
    from openai import OpenAI
    from openai.types.chat import ChatCompletion, ChatCompletionChunk

_NAME = "openai"
_SHORT: dict[str, Any] = {"messages": [prompts.user(prompts.SAY_OK)], "max_tokens": 16, "temperature": 0}


def models(api: Api) -> Passed:
    with _client(api) as (client, _):
        names = [model.id for model in client.models.list()]
    if api.target.model not in names:
        raise Failed(f"the client finds no model {api.target.model!r}", "See what GET /v1/models answers.")
    return Passed(api.target.model)


def plain(api: Api) -> Passed:
    with _client(api) as (client, _):
        completion: ChatCompletion = client.chat.completions.create(model=api.target.model, **_SHORT)
        _require_said(completion)
        if completion.usage is None:
            raise Failed("the client gets no usage", CLIENT_CURE)
        return Passed(f"{completion.usage.completion_tokens} tokens")


def streamed(api: Api) -> Passed:
    chunks: list[ChatCompletionChunk] = []
    asked = {**_SHORT, "model": api.target.model, "stream": True, "stream_options": {"include_usage": True}}
    with _client(api) as (client, _):
        in_time(api, client.chat.completions.create(**asked), chunks.append)
        choices = [choice for chunk in chunks for choice in chunk.choices]
        ended = next((choice.finish_reason for choice in choices if choice.finish_reason), None)
        require_content("the client's stream", any(_said(choice.delta) for choice in choices), ended)
        usage = next((chunk.usage for chunk in reversed(chunks) if chunk.usage), None)
    if ended is None or usage is None:
        raise Failed(f"the client sees no {'finish_reason' if ended is None else 'usage'} in the stream", CLIENT_CURE)
    return Passed(f"{len(chunks)} chunks, {usage.completion_tokens} tokens")


def tool_round(api: Api) -> Passed:
    """The client's own objects go back as the next request's messages, as programs send them."""
    messages: list[Any] = [prompts.user()]
    asked = fields(api, {"model": api.target.model, "tools": tools(), "messages": messages})
    with tools_may_be_missing(api), _client(api) as (client, _):
        message = client.chat.completions.create(**asked).choices[0].message
        calls = message.tool_calls or []
        if not calls:
            raise Failed("the tool was not called", NO_CALL_CURE)
        for call in calls:
            _require_city(call)
        messages += [message, *(prompts.result("Paris", call.id) for call in calls)]
        told: ChatCompletion = client.chat.completions.create(**asked)
        _require_said(told)
        if prompts.SKIES["Paris"] not in (told.choices[0].message.content or "").lower():
            raise Warned("the answer after the tool's result does not tell that result")
    return Passed("called, and answered from the result")


def too_long(api: Api) -> Passed:
    messages: Any = beyond_context(api)
    with _client(api) as (client, openai):
        try:
            client.chat.completions.create(model=api.target.model, messages=messages, max_tokens=1)
        except openai.APIStatusError as error:
            require_refused(answer_of(_NAME, error))
            return Passed(type(error).__name__)
    raise Failed(*TRUNCATED)


def wrong_token(api: Api) -> Passed:
    presented_token(api)
    with _client(api) as (client, openai):
        try:
            client.with_options(api_key=WRONG_TOKEN).models.list()
        except (openai.AuthenticationError, openai.PermissionDeniedError) as error:
            return Passed(type(error).__name__)
    raise Failed("the client gets in with a wrong token", "See what the check of a wrong token says.")


@contextmanager
def _client(api: Api) -> Iterator[tuple["OpenAI", Any]]:
    """With its package, which has the errors that it raises."""
    with official_client(_NAME, api) as (openai, arguments):
        yield openai.OpenAI(base_url=f"{api.target.url}/v1", **arguments), openai


def _require_said(completion: "ChatCompletion") -> None:
    choice = completion.choices[0]
    require_content("the client's answer", _said(choice.message), choice.finish_reason)


def _said(message: Any) -> bool:
    """Anything at all, also as thoughts, which the client's types do not know."""
    return any(getattr(message, name, None) for name in ("content", "reasoning", "reasoning_content"))


def _require_city(call: Any) -> None:
    try:
        is_good = call.id and parse_json(call.function.arguments)["city"]
    except (ValueError, KeyError, TypeError, AttributeError):
        is_good = False
    if not is_good:
        raise Failed(f"a call that programs cannot use: {excerpt(call.model_dump_json().encode())}", CLIENT_CURE)


def _check(name: str, title: str, run: Callable[[Api], Passed]) -> Check:
    return Check(name, Group.CLIENTS, f"Client openai: {title}", run)


OPENAI = (
    _check("openai-models", "models", models),
    _check("openai-answer", "an answer", plain),
    _check("openai-stream", "a stream with usage", streamed),
    _check("openai-tools", "a tool is called and its result used", tool_round),
    _check("openai-too-long", "the error for a prompt that is too long", too_long),
    _check("openai-wrong-token", "the error for a wrong token", wrong_token),
)
