"""What the zoo's model says: a few rules instead of weights, so that every answer is known beforehand."""

import itertools
import json
import re
from dataclasses import dataclass, field, replace
from typing import Any

CITIES = ("Paris", "London", "Berlin", "Madrid", "Rome", "Vienna", "Oslo", "Lisbon", "Dublin", "Tokyo")

_NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


@dataclass(frozen=True, slots=True)
class Call:
    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Reply:
    words: tuple[str, ...] = ()
    calls: tuple[Call, ...] = ()
    reasoning: str = ""
    finish_reason: str = "stop"
    prompt_tokens: int = 0

    @property
    def text(self) -> str:
        return "".join(self.words)

    @property
    def completion_tokens(self) -> int:
        return max(1, len(self.words) + 8 * len(self.calls))


@dataclass
class Mind:
    """`thinks`: it has a reasoning parser, which keeps what it thinks out of what it says."""

    thinks: bool = False
    _ids: "itertools.count[int]" = field(default_factory=itertools.count)

    def reply(self, body: dict[str, Any]) -> Reply:
        messages = body["messages"]
        reply = replace(self._answer(body, messages), prompt_tokens=prompt_tokens(messages))
        if self.thinks:
            reply = replace(reply, reasoning="The user asks something, and I know the answer.")
        return _within_limits(reply, body)

    def _answer(self, body: dict[str, Any], messages: list[dict[str, Any]]) -> Reply:
        last = messages[-1]
        asked = text_of(last)
        if last["role"] == "tool":
            results = [text_of(message) for message in _turn_of_tools(messages)]
            return say("It is as the tool says: " + "; ".join(results) + ".")
        if calls := self._calls(body, asked):
            return Reply(calls=tuple(calls), finish_reason="tool_calls")
        if schema := _schema(body):
            return say(json.dumps(_instance(schema, asked)))
        if wanted := re.search(r"\b(?:say|reply with|answer with)\b\W*(\w+)", asked, re.IGNORECASE):
            return say(wanted[1])
        if body.get("tools"):
            return say("That needs no tool.")
        return Reply(words=tuple(f"{word} " for word in itertools.islice(itertools.cycle(_NUMBERS), 4096)))

    def _calls(self, body: dict[str, Any], asked: str) -> list[Call]:
        offered = {tool["function"]["name"]: tool["function"] for tool in body.get("tools") or []}
        choice = body.get("tool_choice", "auto")
        if not offered or choice == "none":
            return []
        cities = [city for city in CITIES if city.lower() in asked.lower()]
        forced = choice if choice == "required" or isinstance(choice, dict) else None
        if not forced and not (cities and "weather" in asked.lower()):
            return []
        name = forced["function"]["name"] if isinstance(forced, dict) else _for_cities(offered)
        calls = [self._call(offered[name], name, city) for city in cities or ["Paris"]]
        return calls if body.get("parallel_tool_calls", True) and not isinstance(forced, dict) else calls[:1]

    def _call(self, tool: dict[str, Any], name: str, city: str) -> Call:
        arguments = _instance(tool.get("parameters") or {"type": "object"}, city)
        return Call(f"call{next(self._ids):05d}", name, json.dumps(arguments))


def _for_cities(offered: dict[str, dict[str, Any]]) -> str:
    """The tool that takes a city, or else the first."""
    taking = (name for name, tool in offered.items() if "city" in (tool.get("parameters") or {}).get("properties", {}))
    return next(taking, next(iter(offered)))


def say(text: str) -> Reply:
    return Reply(words=tuple(re.findall(r"\S+\s*", text)))


def text_of(message: dict[str, Any]) -> str:
    content = message.get("content")
    if isinstance(content, list):
        return " ".join(part.get("text", "") for part in content)
    return content or ""


def prompt_tokens(messages: list[dict[str, Any]]) -> int:
    return sum(4 + max(len(text.split()), len(text) // 6) for text in map(text_of, messages))


def _turn_of_tools(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    backwards = itertools.takewhile(lambda message: message["role"] == "tool", reversed(messages))
    return list(backwards)[::-1]


def _schema(body: dict[str, Any]) -> dict[str, Any] | None:
    wanted = body.get("response_format") or {}
    if wanted.get("type") == "json_schema":
        schema: dict[str, Any] = wanted["json_schema"]["schema"]
        return schema
    return {"type": "object", "properties": {}} if wanted.get("type") == "json_object" else None


def _instance(schema: dict[str, Any], asked: str) -> Any:
    """The least value that fits; a string without an enumeration is the city that was asked for."""
    if "enum" in schema:
        return schema["enum"][0]
    match schema.get("type"):
        case "object":
            return {name: _instance(part, asked) for name, part in schema.get("properties", {}).items()}
        case "array":
            return [_instance(schema.get("items", {}), asked)]
        case "integer" | "number":
            return schema.get("minimum", 1)
        case "boolean":
            return True
        case _:
            return next((city for city in CITIES if city.lower() in asked.lower()), "Paris")


def _within_limits(reply: Reply, body: dict[str, Any]) -> Reply:
    """What `stop` and `max_tokens` leave of it."""
    if reply.calls:
        return reply
    stops = body.get("stop") or []
    for stop in [stops] if isinstance(stops, str) else stops:
        before, found, _ = reply.text.partition(stop)
        if found:
            reply = replace(reply, words=say(before).words)
    limit = body.get("max_completion_tokens") or body.get("max_tokens") or 4096
    thoughts = say(reply.reasoning).words
    if len(thoughts) + len(reply.words) <= limit:
        return reply
    said = reply.words[: max(0, limit - len(thoughts))]
    return replace(reply, reasoning="".join(thoughts[:limit]), words=said, finish_reason="length")
