"""Devstral's template beside the one that Mistral's own library generates for the same format."""

from pathlib import Path
from typing import Any

import pytest

from pmpctl.profiles.templates import builtin_templates
from pmpctl.smoke.tools_shapes import recorded_shapes
from tests.e2e.ask_vllm import ask_vllm
from tests.unit.chat_templates.render import render

pytestmark = pytest.mark.vllm

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "Wetter für <Ort>",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
        },
    }
]


def call(call_id: str, arguments: Any) -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": "get_weather", "arguments": arguments}}


CONVERSATIONS: list[list[dict[str, Any]]] = [
    [{"role": "user", "content": "Hi"}],
    [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Weather in Zürich?"},
        {"role": "assistant", "content": None, "tool_calls": [call("abcdefghi", {"city": "Zürich"})]},
        {"role": "tool", "content": "sunny", "tool_call_id": "abcdefghi"},
        {"role": "assistant", "content": "It is sunny."},
        {"role": "user", "content": "And in Rome and Paris?"},
        {
            "role": "assistant",
            "content": "I look.",
            "tool_calls": [call("jklmnopqr", '{"city": "Rome"}'), call("stuvwxyz0", {"city": "Paris"})],
        },
        {"role": "tool", "content": "rain", "tool_call_id": "jklmnopqr"},
        {"role": "tool", "content": "snow", "tool_call_id": "stuvwxyz0"},
    ],
    [
        {"role": "user", "content": "a"},
        {"role": "user", "content": "b"},
        {"role": "assistant", "content": "c"},
        {"role": "assistant", "content": "d"},
        {"role": "assistant", "content": None, "tool_calls": [call("abcdefghi", "")]},
        {"role": "tool", "content": "e", "tool_call_id": "abcdefghi"},
        {"role": "user", "content": "f"},
    ],
    [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}],
    [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "what is this?"}]}],
]


CLIENTS = [(request["messages"], request.get("tools")) for shape in recorded_shapes() for request in shape.requests]
CASES = [(messages, tools) for messages in CONVERSATIONS for tools in (None, TOOLS)] + CLIENTS


def for_mistral(message: dict[str, Any]) -> dict[str, Any]:
    """Of a result in parts Mistral's template writes the list as Python shows it; what is meant is the text."""
    if message["role"] != "tool" or isinstance(message["content"], str):
        return message
    return {**message, "content": "".join(part["text"] for part in message["content"])}


@pytest.fixture(scope="module")
def mistral(vllm_program: Path) -> Any:
    question = {
        "conversations": [
            {"messages": [for_mistral(message) for message in messages], "tools": tools} for messages, tools in CASES
        ],
        "ours": builtin_templates()["devstral"].read_text(),
    }
    return ask_vllm(vllm_program, "mistral_templates.py", question)


def test_both_write_the_same_text(mistral: dict[str, Any]) -> None:
    assert [render("devstral", messages, tools) for messages, tools in CASES] == mistral["rendered"]


def test_vllm_hands_the_template_content_in_blocks(mistral: dict[str, Any]) -> None:
    assert mistral["content_format"] == "openai"
