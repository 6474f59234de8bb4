"""How the tools checks ask, and what they find wrong with the calls that come back."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pmpctl.smoke import prompts
from pmpctl.smoke.answer import ChatAnswer, ToolCall, excerpt, parse_json
from pmpctl.smoke.api import Api, Message
from pmpctl.smoke.check import Failed
from pmpctl.smoke.stream import ChatStream

TEMPLATE_CURE = (
    "The chat template does not take this: set `chat_template` in the profile to one that does"
    " (for Mistral's models `builtin:devstral`)."
)
_NO_PARSER_CURE = "Set `tool_call_parser` in the profile to the one that fits the model, and start it again."
_BROKEN_CURE = "See whether another `tool_call_parser` fits the model, or a newer vLLM mends this one."

# Words of engines and templates that refuse a request, and what each means.
_REFUSALS: Sequence[tuple[str, str]] = (
    ("--enable-auto-tool-choice", _NO_PARSER_CURE),
    ("Tool call id", TEMPLATE_CURE),
    ("at least 9 characters", "Send ids of 9 or more characters, as all well-known clients do."),
    ("roles must alternate", TEMPLATE_CURE),
    ("Unexpected role", TEMPLATE_CURE),
    ("System role not supported", TEMPLATE_CURE),
    ("concatenate str", TEMPLATE_CURE),
    ("chat template", TEMPLATE_CURE),
)

# How models write calls, as it looks where no parser took them out of the text; the telling ones first.
_FORMATS: Sequence[tuple[str, str]] = (
    ("<minimax:tool_call>", "minimax_m2"),
    ("<function=", "qwen3_xml"),
    ("<arg_key>", "glm45"),
    ("<tool_call>", "hermes"),
    ("[TOOL_CALLS]", "mistral"),
    ("<|python_tag|>", "llama3_json"),
    ("<|tool_calls_section_begin|>", "kimi_k2"),
    ("tool▁calls▁begin", "deepseek_v3"),
    ("<|channel|>", "openai"),
    ("functools[", "phi4_mini_json"),
    ("<|tool_call|>", "granite"),
    ("[get_weather(", "pythonic"),
    ('{"name": "get_weather"', "llama3_json"),
    ("get_weather(", "pythonic"),
)


def tools(*offered: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return list(offered or (prompts.WEATHER,))


def fields(api: Api, given: Mapping[str, Any]) -> dict[str, Any]:
    """With room for an answer that is no more than a quarter of a small context."""
    limit = api.target.max_model_len
    room = prompts.ANSWER_TOKENS if limit is None else max(1, min(prompts.ANSWER_TOKENS, limit // 4))
    return {"temperature": 0, "max_tokens": room, **given}


def ask(api: Api, messages: Sequence[Message], **given: Any) -> ChatAnswer:
    """An answer; a refusal is worded by what it means."""
    try:
        return api.chat(messages, **fields(api, given))
    except Failed as refused:
        raise reworded(refused) from refused


def ask_streamed(api: Api, messages: Sequence[Message], **given: Any) -> tuple[ChatStream, list[dict[str, Any]]]:
    """The whole stream, and the pieces of calls in it one by one."""
    pieces: list[dict[str, Any]] = []
    try:
        with api.stream_chat(messages, **fields(api, given)) as stream:
            for chunk in stream:
                for choice in chunk.data.get("choices") or ():
                    pieces += (choice.get("delta") or {}).get("tool_calls") or ()
    except Failed as refused:
        raise reworded(refused) from refused
    return stream, pieces


def reworded(refused: Failed) -> Failed:
    cure = next((cure for words, cure in _REFUSALS if words in refused.what), refused.cure)
    return Failed(refused.what, cure)


def text_call(text: str) -> str | None:
    """The parser for the calls that stand in a text; None where there are none."""
    return next((parser for mark, parser in _FORMATS if mark in text), None)


def no_call(api: Api, text: str, finish_reason: str | None) -> Failed:
    """Why no call came."""
    said = excerpt(text.encode())
    configured = api.target.tool_call_parser
    if (fitting := text_call(text)) is not None:
        if configured == fitting:
            return Failed(
                f"the call came as text: {said!r}",
                f"The `tool_call_parser` {fitting!r} does not read what this model writes: use another.",
            )
        named = f"The tool-call parser {configured!r}" if configured else "The engine's tool-call parser"
        cure = f'{named} does not match the model: set tool_call_parser = "{fitting}" in the profile.'
        return Failed(f"the call came as text: {said!r}", cure)
    if finish_reason == "length":
        return Failed(
            f"the answer was cut off before any call: {said!r}",
            "The model thinks for long: set `reasoning_parser` if it has a format for that, or use a larger context.",
        )
    return Failed(
        f"no call came, but text: {said!r}",
        "The model does not know of the tools: see whether its chat template shows them,"
        " and whether `tool_call_parser` fits the model.",
    )


def judge(api: Api, calls: Sequence[ToolCall], text: str, finish_reason: str | None) -> None:
    """Raises Failed unless calls came as clients need them: with ids, names, arguments, and the reason to make them."""
    if not calls:
        raise no_call(api, text, finish_reason)
    for call in calls:
        judge_arguments(call)
        if not call.id:
            raise Failed(f"the call of {call.name} has no id", _BROKEN_CURE)
    if len({call.id for call in calls}) < len(calls):
        raise Failed(f"{len(calls)} calls have the same id {calls[0].id!r}", _BROKEN_CURE)
    if finish_reason != "tool_calls":
        raise Failed(
            f"calls came, but finish_reason is {finish_reason}, not tool_calls",
            f"Clients stop there without making the call. {_BROKEN_CURE}",
        )


def judge_arguments(call: ToolCall) -> None:
    if call.name != "get_weather":
        raise Failed(f"a tool was called that there is not: {call.name!r}", _BROKEN_CURE)
    try:
        arguments = parse_json(call.arguments)
    except ValueError as error:
        raise Failed(
            f"the call's arguments are no JSON: {excerpt(call.arguments.encode())!r}", _parser_cure()
        ) from error
    if not isinstance(arguments, dict) or arguments.keys() != {"city"} or not isinstance(arguments["city"], str):
        raise Failed(
            f"the call's arguments do not obey the tool's schema: {excerpt(call.arguments.encode())!r}", _parser_cure()
        )


def _parser_cure() -> str:
    return f"The `tool_call_parser` may not fit the model. {_BROKEN_CURE}"


def judge_pieces(pieces: Sequence[Mapping[str, Any]]) -> None:
    """Raises Failed where a stream repeats ids or names, which clients glue together."""
    for index in sorted({int(piece.get("index", 0)) for piece in pieces}):
        for word, said in (("id", _ids(pieces, index)), ("name", _names(pieces, index))):
            if len(list(said)) > 1:
                raise Failed(f"the stream sends the {word} of one call more than once", _BROKEN_CURE)


def _ids(pieces: Sequence[Mapping[str, Any]], index: int) -> Iterator[str]:
    return (piece["id"] for piece in pieces if piece.get("index", 0) == index and piece.get("id"))


def _names(pieces: Sequence[Mapping[str, Any]], index: int) -> Iterator[str]:
    functions = (piece.get("function") or {} for piece in pieces if piece.get("index", 0) == index)
    return (function["name"] for function in functions if function.get("name"))
