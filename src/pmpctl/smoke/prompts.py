"""What the checks say to a model: short, and easy for any model."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

Message = dict[str, Any]

# Room to think aloud before the call; an answer itself takes a few dozen tokens.
ANSWER_TOKENS = 1024

SAY_OK = "Say OK"
SYSTEM = "You are a helpful assistant. Use the tools when they help."
ONE_CITY = "What is the weather in Paris?"
TWO_CITIES = "What is the weather in Paris and in Tokyo? Call get_weather once for each city."
SHAPE_QUESTION = "What is the weather in Rome?"
HURRY = "Please be brief."
REASONING = "What is 17 plus 25? Think before you answer."
SCHEMA_REQUEST = "What is the weather in Paris on a fine day in June? Answer as JSON."
OBJECT_REQUEST = "Name the capital of France. Answer with a JSON object that has the key city, and nothing else."

CITIES = ("Paris", "Tokyo")
# Of nine letters and digits, as every template takes them.
CALL_IDS = ("call00001", "call00002")
# What a model says only if it was shown the result: no model expects fog in Paris and snow in Tokyo.
RESULTS: Mapping[str, str] = {
    "Paris": '{"city": "Paris", "sky": "foggy", "celsius": 7}',
    "Tokyo": '{"city": "Tokyo", "sky": "snowy", "celsius": -3}',
    "Rome": '{"city": "Rome", "sky": "windy", "celsius": 19}',
}
SKIES: Mapping[str, str] = {"Paris": "fog", "Tokyo": "snow", "Rome": "wind"}

WEATHER: Mapping[str, Any] = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the current weather in a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "description": "The city, such as Paris."}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}
# Beside it, so that a named or required choice has something to choose from.
READ_FILE: Mapping[str, Any] = {
    "type": "function",
    "function": {
        "name": "read_file",
        "description": "Read a file of the project.",
        "parameters": {
            "type": "object",
            "properties": {"path": {"type": "string"}},
            "required": ["path"],
            "additionalProperties": False,
        },
    },
}
NAMED_CHOICE: Mapping[str, Any] = {"type": "function", "function": {"name": "get_weather"}}

# No model answers in this form by itself: what obeys it was constrained.
WEATHER_SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "maxLength": 20},
        "sky": {"type": "string", "enum": ["SKY_CLEAR", "SKY_CLOUDY"]},
        "celsius": {"type": "integer", "minimum": 0, "maximum": 50},
    },
    "required": ["city", "sky", "celsius"],
    "additionalProperties": False,
}
SCHEMA_FORMAT: Mapping[str, Any] = {
    "type": "json_schema",
    "json_schema": {"name": "weather", "schema": WEATHER_SCHEMA, "strict": True},
}
OBJECT_FORMAT: Mapping[str, Any] = {"type": "json_object"}


def system(content: Any = SYSTEM) -> Message:
    return {"role": "system", "content": content}


def user(content: Any = ONE_CITY) -> Message:
    return {"role": "user", "content": content}


def parts(*texts: str) -> list[Message]:
    """Content as a list of blocks, as many clients send it."""
    return [{"type": "text", "text": text} for text in texts]


def call(city: str, call_id: str) -> Message:
    return {
        "id": call_id,
        "type": "function",
        "function": {"name": "get_weather", "arguments": json.dumps({"city": city})},
    }


def calls(cities: Sequence[str], ids: Sequence[str], content: Any = "") -> Message:
    """The assistant's turn that calls the tool for each city."""
    made = [call(city, call_id) for city, call_id in zip(cities, ids, strict=True)]
    return {"role": "assistant", "content": content, "tool_calls": made}


def result(city: str, call_id: str) -> Message:
    return {"role": "tool", "tool_call_id": call_id, "content": RESULTS[city]}


def tool_round(cities: Sequence[str], ids: Sequence[str], question: str = ONE_CITY) -> list[Message]:
    """Question, calls and results, so that the answer from the results is due."""
    found = [result(city, call_id) for city, call_id in zip(cities, ids, strict=True)]
    return [user(question), calls(cities, ids), *found]
