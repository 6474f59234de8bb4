"""Faults of tool calls, chat templates and constrained output."""

import itertools
import json
from dataclasses import replace
from typing import Any

from tests.unit.smoke.zoo.api import Message, Refusal, WellBehaved
from tests.unit.smoke.zoo.mind import Call, Reply, say


class LongIdsRefused(WellBehaved):
    """A template that takes ids of exactly nine characters."""

    def check_id(self, call_id: str) -> None:
        if len(call_id) > 9:
            raise Refusal(400, f"Tool call id was {call_id} but must be a-z, A-Z, 0-9, with a length of 9.")


class ShortIdsFail(WellBehaved):
    def check_id(self, call_id: str) -> None:
        if len(call_id) < 9:
            raise Refusal(500, "Internal server error", "InternalServerError")


class ResultsDropped(WellBehaved):
    """A template without a word for the role `tool`."""

    def understand(self, body: dict[str, Any]) -> dict[str, Any]:
        told = [message for message in body["messages"] if message["role"] != "tool"]
        return {**body, "messages": told}


class ResultsForgotten(WellBehaved):
    """The results are in the prompt, but empty; the model says so."""

    def understand(self, body: dict[str, Any]) -> dict[str, Any]:
        told = [{**message, "content": ""} if message["role"] == "tool" else message for message in body["messages"]]
        return {**body, "messages": told}


class CallsAsText(WellBehaved):
    """No tool parser, or the wrong one: the call stays in the text."""

    def shape(self, reply: Reply, body: dict[str, Any]) -> Reply:
        if not reply.calls:
            return reply
        said = "".join(f"<tool_call>{json.dumps({'name': c.name, 'arguments': c.arguments})}" for c in reply.calls)
        return replace(reply, words=say(said).words, calls=(), finish_reason="stop")


class CallsAsTextInStream(CallsAsText):
    def shape(self, reply: Reply, body: dict[str, Any]) -> Reply:
        return super().shape(reply, body) if body.get("stream") else reply


class ArgumentsBroken(WellBehaved):
    def shape(self, reply: Reply, body: dict[str, Any]) -> Reply:
        return replace(reply, calls=tuple(replace(call, arguments=call.arguments[:-1]) for call in reply.calls))


class ArgumentsBrokenInStream(WellBehaved):
    """A piece is lost between two chunks."""

    def call_deltas(self, index: int, call: Call) -> list[dict[str, Any]]:
        head, first, _, *rest = super().call_deltas(index, call)
        return [head, first, *rest]


class SecondCallLost(WellBehaved):
    def shape(self, reply: Reply, body: dict[str, Any]) -> Reply:
        return replace(reply, calls=reply.calls[:1])


class SameIndexInStream(WellBehaved):
    """All calls carry the index 0, so that clients glue their arguments together."""

    def call_deltas(self, index: int, call: Call) -> list[dict[str, Any]]:
        return super().call_deltas(0, call)


class SameIds(WellBehaved):
    def shape(self, reply: Reply, body: dict[str, Any]) -> Reply:
        return replace(reply, calls=tuple(replace(call, id="call00000") for call in reply.calls))


class NoIds(WellBehaved):
    def shape(self, reply: Reply, body: dict[str, Any]) -> Reply:
        return replace(reply, calls=tuple(replace(call, id="") for call in reply.calls))


class CallsFinishWithStop(WellBehaved):
    def shape(self, reply: Reply, body: dict[str, Any]) -> Reply:
        return replace(reply, finish_reason="stop") if reply.calls else reply


class NamedChoiceIgnored(WellBehaved):
    def understand(self, body: dict[str, Any]) -> dict[str, Any]:
        return {**body, "tool_choice": "none"} if isinstance(body.get("tool_choice"), dict) else body


class RequiredIgnored(WellBehaved):
    def understand(self, body: dict[str, Any]) -> dict[str, Any]:
        return {**body, "tool_choice": "none"} if body.get("tool_choice") == "required" else body


class NoneIgnored(WellBehaved):
    def understand(self, body: dict[str, Any]) -> dict[str, Any]:
        return {**body, "tool_choice": "auto"} if body.get("tool_choice") == "none" else body


class ToolsRefused(WellBehaved):
    """An engine that was started without a tool parser."""

    def check(self, body: dict[str, Any]) -> None:
        super().check(body)
        if body.get("tools") and body.get("tool_choice", "auto") == "auto":
            raise Refusal(400, '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set')


class NullContentFails(WellBehaved):
    def check_message(self, message: Message) -> None:
        super().check_message(message)
        if message.get("content") is None:
            raise Refusal(500, "Internal server error", "InternalServerError")


class PartsRefused(WellBehaved):
    def check_message(self, message: Message) -> None:
        super().check_message(message)
        if isinstance(message.get("content"), list):
            raise Refusal(400, 'can only concatenate str (not "list") to str')


class SystemRefused(WellBehaved):
    def check_message(self, message: Message) -> None:
        super().check_message(message)
        if message["role"] == "system":
            raise Refusal(400, "System role not supported")


class UsersMustAlternate(WellBehaved):
    def check(self, body: dict[str, Any]) -> None:
        super().check(body)
        roles = [message["role"] for message in body["messages"]]
        if ("user", "user") in itertools.pairwise(roles):
            raise Refusal(400, "Conversation roles must alternate user/assistant/user/assistant/...")


class SchemaIgnored(WellBehaved):
    def understand(self, body: dict[str, Any]) -> dict[str, Any]:
        return {**body, "response_format": None}


class SchemaRefused(WellBehaved):
    def check(self, body: dict[str, Any]) -> None:
        super().check(body)
        if (body.get("response_format") or {}).get("type") == "json_schema":
            raise Refusal(400, "response_format json_schema is not supported")
