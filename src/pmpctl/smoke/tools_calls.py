"""Checks that a model's calls of tools arrive as calls: whole and streamed, free and forced, one and two."""

from collections.abc import Sequence

from pmpctl.smoke import prompts
from pmpctl.smoke.answer import ToolCall, excerpt
from pmpctl.smoke.api import Api
from pmpctl.smoke.check import Check, Failed, Group, Passed, Warned
from pmpctl.smoke.tool_calling import ask, ask_streamed, judge, judge_pieces, no_call, text_call, tools

_CHOICE_CURE = "The server does not honour tool_choice: use a newer vLLM; agents that force a tool fail with this one."


def _one(api: Api) -> Passed:
    answer = ask(api, [prompts.user()], tools=tools())
    judge(api, answer.tool_calls, answer.text, answer.finish_reason)
    return Passed(_shown(answer.tool_calls))


def _one_streamed(api: Api) -> Passed:
    stream, pieces = ask_streamed(api, [prompts.user()], tools=tools())
    judge_pieces(pieces)
    judge(api, stream.tool_calls, stream.text, stream.finish_reason)
    return Passed(_shown(stream.tool_calls))


def _two(api: Api) -> Passed:
    answer = ask(api, [prompts.user(prompts.TWO_CITIES)], tools=tools())
    return _judge_two(api, answer.tool_calls, answer.text, answer.finish_reason)


def _two_streamed(api: Api) -> Passed:
    stream, pieces = ask_streamed(api, [prompts.user(prompts.TWO_CITIES)], tools=tools())
    judge_pieces(pieces)
    return _judge_two(api, stream.tool_calls, stream.text, stream.finish_reason)


def _judge_two(api: Api, calls: Sequence[ToolCall], text: str, finish_reason: str | None) -> Passed:
    judge(api, calls, text, finish_reason)
    if len(calls) < len(prompts.CITIES):
        raise Warned(
            f"{len(calls)} of {len(prompts.CITIES)} calls came",
            "Many models make one call at a time: agents take longer.",
        )
    return Passed(_shown(calls))


def _required(api: Api) -> Passed:
    answer = ask(api, [prompts.user()], tools=tools(prompts.READ_FILE, prompts.WEATHER), tool_choice="required")
    if not answer.tool_calls:
        raise _ignored(api, answer.text, answer.finish_reason, "required")
    return Passed(_shown(answer.tool_calls))


def _named(api: Api) -> Passed:
    answer = ask(
        api, [prompts.user()], tools=tools(prompts.READ_FILE, prompts.WEATHER), tool_choice=prompts.NAMED_CHOICE
    )
    if not answer.tool_calls:
        raise _ignored(api, answer.text, answer.finish_reason, "of a named tool")
    if any(call.name != "get_weather" for call in answer.tool_calls):
        raise Failed(f"tool_choice names get_weather, but {answer.tool_calls[0].name!r} was called", _CHOICE_CURE)
    return Passed(_shown(answer.tool_calls))


def _ignored(api: Api, text: str, finish_reason: str | None, choice: str) -> Failed:
    if text_call(text) is not None:
        return no_call(api, text, finish_reason)
    return Failed(f"tool_choice {choice}, but no call came: {excerpt(text.encode())!r}", _CHOICE_CURE)


def _none(api: Api) -> Passed:
    answer = ask(api, [prompts.user()], tools=tools(), tool_choice="none")
    if answer.tool_calls:
        raise Failed(f"tool_choice none, but a call came: {_shown(answer.tool_calls)}", _CHOICE_CURE)
    if text_call(answer.text) is not None:
        raise Warned(
            f"tool_choice none, and the call came as text: {excerpt(answer.text.encode())!r}",
            'Hide the tools then: extra_args = ["--exclude-tools-when-tool-choice-none"] in the profile.',
        )
    return Passed()


def _shown(calls: Sequence[ToolCall]) -> str:
    return excerpt(", ".join(f"{call.name}({call.arguments})" for call in calls).encode())


CALLS: tuple[Check, ...] = (
    Check("tool-call", Group.TOOLS, "One tool call", _one),
    Check("tool-call-streamed", Group.TOOLS, "One tool call, streamed", _one_streamed),
    Check("tools-parallel", Group.TOOLS, "Two tool calls at once", _two),
    Check("tools-parallel-streamed", Group.TOOLS, "Two tool calls at once, streamed", _two_streamed),
    Check("tool-required", Group.TOOLS, "A tool call that is required", _required),
    Check("tool-named", Group.TOOLS, "A tool call that is named", _named),
    Check("tool-none", Group.TOOLS, "No tool call where it is forbidden", _none),
)
