"""Anthropic's messages as Claude's clients use them: plain, streamed, with a tool, counted, and by their own header."""

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from pmpctl.smoke import prompts
from pmpctl.smoke.answer import Answer
from pmpctl.smoke.api import Api
from pmpctl.smoke.check import Check, Failed, Group, Passed, Warned
from pmpctl.smoke.served import NO_CALL_CURE, UPDATE_CURE, ask, expected, presented_token, texts, tools_may_be_missing
from pmpctl.smoke.sse import NamedEvent, named_events

_PATH = "/v1/messages"
_COUNT_PATH = "/v1/messages/count_tokens"
_VERSION = {"anthropic-version": "2023-06-01"}
_SAY_OK = [prompts.user(prompts.SAY_OK)]
# What came from the cache is counted apart.
_INPUT_KEYS = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
_FUNCTION = prompts.WEATHER["function"]
_TOOL = {
    "name": _FUNCTION["name"],
    "description": _FUNCTION["description"],
    "input_schema": _FUNCTION["parameters"],
}

Block = dict[str, Any]


def plain(api: Api) -> Passed:
    message = _message(_ask(api, _SAY_OK))
    _require_content(message["content"])
    return Passed(f"stop_reason {message['stop_reason']}", {"output_tokens": message["usage"]["output_tokens"]})


def streamed(api: Api) -> Passed:
    answer = _ask(api, _SAY_OK, stream=True)
    events = named_events(answer)
    _require_order([event.name for event in events])
    with expected(answer, "stream of a message"):
        blocks = _assemble(events)
        stop_reason = next(event.data["delta"]["stop_reason"] for event in events if event.name == "message_delta")
    _require_content(blocks)
    if stop_reason is None:
        raise Failed("the stream ends without a stop_reason", UPDATE_CURE)
    return Passed(f"{len(events)} events in order", {"events": len(events)})


def tool_round(api: Api) -> Passed:
    asked = [prompts.user()]
    with tools_may_be_missing(api):
        call, content = _called(api, asked)
        result = {"type": "tool_result", "tool_use_id": call["id"], "content": prompts.RESULTS["Paris"]}
        told = [*asked, {"role": "assistant", "content": content}, prompts.user([result])]
        final = _message(_ask(api, told, tools=[_TOOL]))
        _require_content(final["content"])
    if any(block["type"] == "tool_use" for block in final["content"]):
        raise Warned("the model called the tool again instead of answering from its result")
    if prompts.SKIES["Paris"] not in texts(final["content"], "text").lower():
        raise Warned("the answer after the tool's result does not tell that result")
    return Passed("called, and answered from the result")


def counted(api: Api) -> Passed:
    answer = ask(api, _COUNT_PATH, messages=_SAY_OK)
    with expected(answer, "count of tokens"):
        counted = int(answer.json()["input_tokens"])
    with expected(usage_of := _ask(api, _SAY_OK), "message"):
        usage = usage_of.json()["usage"]
        used = sum(usage.get(key) or 0 for key in _INPUT_KEYS)
    if counted != used:
        raise Warned(f"{counted} tokens were counted, and the answer says {used}")
    return Passed(f"{counted} tokens, as the answer says", {"input_tokens": counted})


def own_header(api: Api) -> Passed:
    """Older clients of Anthropic's present the token as `x-api-key`."""
    token = presented_token(api)
    body = {"model": api.target.model, "max_tokens": 16, "messages": _SAY_OK}
    # Skipped here too where the API is not served.
    _ask(api, _SAY_OK)
    answer = api.request("POST", _PATH, body, {**_VERSION, "x-api-key": token}, token=None)
    if answer.status == 401:
        raise Failed(
            "the token is refused as x-api-key, where it is taken as Authorization: Bearer",
            "Have the gateway or proxy take `x-api-key` too; Claude's older clients send nothing else.",
        )
    _message(answer.require_ok())
    return Passed("taken")


def _ask(api: Api, messages: Sequence[Block], **fields: Any) -> Answer:
    return ask(api, _PATH, messages=list(messages), max_tokens=prompts.ANSWER_TOKENS, **fields)


def _message(answer: Answer) -> dict[str, Any]:
    """Raises Failed for what is no message; its content may still be empty."""
    with expected(answer, "message"):
        message: dict[str, Any] = answer.json()
        if (message["type"], message["role"]) != ("message", "assistant"):
            raise ValueError("neither an error nor a message")
        if [block["type"] for block in message["content"]] and message["stop_reason"] is None:
            raise ValueError("no reason to stop")
        int(message["usage"]["output_tokens"])
    return message


def _called(api: Api, asked: Sequence[Block]) -> tuple[Block, list[Block]]:
    """The call of the tool, and all the content it stands in."""
    answer = _ask(api, asked, tools=[_TOOL])
    message = _message(answer)
    content: list[Block] = message["content"]
    calls = [block for block in content if block["type"] == "tool_use"]
    if not calls:
        raise Failed("the tool was not called", NO_CALL_CURE)
    with expected(answer, "tool_use block"):
        call = calls[0]
        if not isinstance(call["id"], str) or not call["input"]["city"] or call["name"] != _TOOL["name"]:
            raise ValueError("no call of the tool that was offered")
    if message["stop_reason"] != "tool_use":
        raise Failed(f"a tool is called, and stop_reason is {message['stop_reason']!r}", UPDATE_CURE)
    return call, content


def _require_order(names: Iterable[str]) -> None:
    """`message_start`, blocks of start, deltas and stop one after the other, `message_delta`, `message_stop`."""
    allowed = {
        "": {"message_start"},
        "message_start": {"content_block_start", "message_delta"},
        "content_block_start": {"content_block_delta", "content_block_stop"},
        "content_block_delta": {"content_block_delta", "content_block_stop"},
        "content_block_stop": {"content_block_start", "message_delta"},
        "message_delta": {"message_delta", "message_stop"},
        "message_stop": set(),
    }
    before = ""
    for name in names:
        if name == "ping":
            continue
        if name not in allowed[before]:
            raise Failed(f"the stream has {name} after {before or 'nothing'}", UPDATE_CURE)
        before = name
    if before != "message_stop":
        raise Failed(f"the stream ends with {before or 'nothing'}, not with message_stop", UPDATE_CURE)


def _assemble(events: Iterable[NamedEvent]) -> list[Block]:
    blocks: list[Block] = []
    for event in events:
        if event.name == "content_block_start":
            blocks.append(dict(event.data["content_block"]))
        elif event.name == "content_block_delta":
            for key, value in event.data["delta"].items():
                if key in ("text", "thinking", "partial_json"):
                    blocks[event.data["index"]][key] = blocks[event.data["index"]].get(key, "") + value
    return blocks


def _require_content(blocks: Sequence[Block]) -> None:
    if not texts(list(blocks), "text", "thinking") and not any(block["type"] == "tool_use" for block in blocks):
        raise Failed(f"the message is empty: {json.dumps(blocks)}", UPDATE_CURE)


def _check(name: str, title: str, run: Callable[[Api], Passed]) -> Check:
    return Check(name, Group.APIS, title, run)


MESSAGES = (
    _check("messages-plain", "Anthropic messages: an answer", plain),
    _check("messages-stream", "Anthropic messages: a stream", streamed),
    _check("messages-tools", "Anthropic messages: a tool's round", tool_round),
    _check("messages-count", "Anthropic messages: a count of tokens", counted),
    _check("messages-x-api-key", "Anthropic messages: x-api-key", own_header),
)
