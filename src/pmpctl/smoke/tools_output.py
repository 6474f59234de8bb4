"""Checks of constrained output and of reasoning that is kept apart."""

from typing import Any

from pmpctl.smoke import prompts
from pmpctl.smoke.answer import excerpt, parse_json
from pmpctl.smoke.api import Api
from pmpctl.smoke.check import Check, Failed, Group, Passed, Skipped, Warned
from pmpctl.smoke.tool_calling import ask, ask_streamed

_SCHEMA_CURE = "The server does not hold the model to response_format: use a vLLM with structured outputs."
_THINK_TAGS = ("<think>", "</think>", "[THINK]")


def _schema(api: Api) -> Passed:
    answer = ask(api, [prompts.user(prompts.SCHEMA_REQUEST)], response_format=prompts.SCHEMA_FORMAT)
    if not _obeys(_parsed(answer.text)):
        raise Failed(f"the answer does not obey the schema: {excerpt(answer.text.encode())!r}", _SCHEMA_CURE)
    simple = ask(api, [prompts.user(prompts.OBJECT_REQUEST)], response_format=prompts.OBJECT_FORMAT)
    if not isinstance(_parsed(simple.text), dict):
        raise Failed(f"json_object: the answer is no JSON object: {excerpt(simple.text.encode())!r}", _SCHEMA_CURE)
    return Passed(excerpt(answer.text.encode()))


def _parsed(text: str) -> Any:
    try:
        return parse_json(text)
    except ValueError:
        return None


def _obeys(value: Any) -> bool:
    properties = prompts.WEATHER_SCHEMA["properties"]
    return (
        isinstance(value, dict)
        and value.keys() == properties.keys()
        and isinstance(value["city"], str)
        and value["sky"] in properties["sky"]["enum"]
        and type(value["celsius"]) is int
    )


def _reasoning(api: Api) -> Passed:
    parser = api.target.reasoning_parser
    if parser is None:
        raise Skipped("no reasoning_parser is set")
    whole = ask(api, [prompts.user(prompts.REASONING)])
    stream, _ = ask_streamed(api, [prompts.user(prompts.REASONING)])
    for text, reasoning, how in ((whole.text, whole.reasoning, ""), (stream.text, stream.reasoning, ", streamed")):
        if any(tag in text for tag in _THINK_TAGS):
            raise Failed(
                f"the reasoning stands in the answer{how}: {excerpt(text.encode())!r}",
                f"The reasoning parser {parser!r} does not match the model: set another `reasoning_parser`.",
            )
        if not reasoning:
            raise Warned(
                f"no reasoning came{how}, only the answer",
                f"If the model can think, {parser!r} is not its `reasoning_parser`, or thinking is off.",
            )
    return Passed()


OUTPUT: tuple[Check, ...] = (
    Check("schema", Group.TOOLS, "Output that obeys a JSON schema", _schema),
    Check("reasoning", Group.TOOLS, "Reasoning apart from the answer", _reasoning),
)
