"""Devstral's template: the token text that Mistral's format prescribes for each conversation."""

import json
from typing import Any

import pytest
from jinja2.exceptions import TemplateError

from pmpctl.smoke.tools_shapes import Recorded, recorded_shapes
from tests.unit.chat_templates.render import render

WEATHER: dict[str, Any] = {
    "type": "function",
    "function": {"name": "get_weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
}


def rendered(*messages: dict[str, Any], tools: list[dict[str, Any]] | None = None) -> str:
    return render("devstral", list(messages), tools)


def system(text: str) -> dict[str, Any]:
    return {"role": "system", "content": text}


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def assistant(content: str | None, *calls: dict[str, Any]) -> dict[str, Any]:
    return {"role": "assistant", "content": content, **({"tool_calls": list(calls)} if calls else {})}


def call(name: str, arguments: Any, call_id: Any = "abcdefghi") -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def result(content: Any, call_id: Any = "abcdefghi") -> dict[str, Any]:
    return {"role": "tool", "content": content, "tool_call_id": call_id}


def test_a_conversation_without_tools() -> None:
    assert rendered(system("Be brief."), user("Hi"), assistant("Hello"), user("Bye")) == (
        "<s>[SYSTEM_PROMPT]Be brief.[/SYSTEM_PROMPT][INST]Hi[/INST]Hello</s>[INST]Bye[/INST]"
    )


def test_tools_stand_between_the_system_prompt_and_the_first_turn() -> None:
    assert rendered(system("Be brief."), user("Hi"), tools=[WEATHER]) == (
        "<s>[SYSTEM_PROMPT]Be brief.[/SYSTEM_PROMPT]"
        f"[AVAILABLE_TOOLS][{json.dumps(WEATHER)}][/AVAILABLE_TOOLS][INST]Hi[/INST]"
    )
    assert rendered(user("Hi"), tools=[]) == "<s>[INST]Hi[/INST]"


def test_calls_results_and_answers_go_on_over_many_turns() -> None:
    text = rendered(
        user("Weather in Zürich?"),
        assistant(None, call("get_weather", {"city": "Zürich"})),
        result("sunny"),
        assistant("It is sunny."),
        user("And in Rome and Paris?"),
        assistant(
            "I look.", call("get_weather", '{"city": "Rome"}'), call("get_weather", {"city": "Paris"}, "jklmnopqr")
        ),
        result("rain"),
        result("snow", "jklmnopqr"),
    )
    assert text == (
        "<s>[INST]Weather in Zürich?[/INST]"
        '[TOOL_CALLS]get_weather[ARGS]{"city": "Zürich"}</s>'
        "[TOOL_RESULTS]sunny[/TOOL_RESULTS]"
        "It is sunny.</s>"
        "[INST]And in Rome and Paris?[/INST]"
        'I look.[TOOL_CALLS]get_weather[ARGS]{"city": "Rome"}[TOOL_CALLS]get_weather[ARGS]{"city": "Paris"}</s>'
        "[TOOL_RESULTS]rain[/TOOL_RESULTS][TOOL_RESULTS]snow[/TOOL_RESULTS]"
    )


@pytest.mark.parametrize("arguments", ["", None, {}, "{}"])
def test_a_call_without_arguments_has_an_empty_object(arguments: Any) -> None:
    assert rendered(user("Go"), assistant("", call("go", arguments))).endswith("[TOOL_CALLS]go[ARGS]{}</s>")


@pytest.mark.parametrize("call_id", ["abcdefghi", "chatcmpl-tool-0123456789abcdef", "call_4Fz9_x-1"])
def test_ids_of_nine_characters_and_more_are_fine(call_id: str) -> None:
    text = rendered(user("Go"), assistant("", call("go", {}, call_id)), result("done", call_id))
    assert text.endswith("[TOOL_RESULTS]done[/TOOL_RESULTS]")


@pytest.mark.parametrize("call_id", ["abcdefgh", "", None, 123456789])
def test_shorter_or_missing_ids_are_refused_with_the_field_and_the_value(call_id: Any) -> None:
    shown = json.dumps(call_id)
    with pytest.raises(TemplateError) as caught:
        rendered(user("Go"), assistant("", call("go", {}, call_id)))
    assert caught.value.message == f'"tool_calls[].id" must be text of at least 9 characters, not {shown}.'
    with pytest.raises(TemplateError) as caught:
        rendered(user("Go"), assistant("", call("go", {})), result("done", call_id))
    assert caught.value.message == f'"tool_call_id" must be text of at least 9 characters, not {shown}.'


def test_a_result_that_names_no_call_is_refused() -> None:
    with pytest.raises(TemplateError, match='"tool_call_id" must be text'):
        rendered(user("Go"), assistant("", call("go", {})), {"role": "tool", "content": "done"})


def test_content_in_blocks_reads_like_text_and_images_get_their_place() -> None:
    blocks = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert rendered(user(blocks)) == rendered(user("a\n\nb")) == "<s>[INST]a\n\nb[/INST]"
    assert rendered(user([{"type": "image"}, {"type": "text", "text": "what?"}])) == "<s>[INST][IMG]what?[/INST]"
    assert rendered(user("Go"), assistant("", call("go", {})), result([{"type": "text", "text": "done"}])).endswith(
        "[TOOL_RESULTS]done[/TOOL_RESULTS]"
    )
    with pytest.raises(TemplateError, match='"audio" is neither text nor an image'):
        rendered(user([{"type": "audio"}]))


def test_turns_of_one_speaker_in_a_row_become_one_turn() -> None:
    assert rendered(user("a"), user("b"), assistant("c"), assistant("d"), user("e")) == (
        "<s>[INST]a\n\nb[/INST]c\n\nd</s>[INST]e[/INST]"
    )
    assert rendered(user("a"), assistant("b"), assistant(None, call("go", {})), result("c")) == (
        "<s>[INST]a[/INST]b[TOOL_CALLS]go[ARGS]{}</s>[TOOL_RESULTS]c[/TOOL_RESULTS]"
    )


def test_a_developer_speaks_as_the_system_and_other_roles_are_refused() -> None:
    assert rendered({"role": "developer", "content": "x"}, user("y")) == rendered(system("x"), user("y"))
    with pytest.raises(TemplateError, match='The role "function" is none of system, user, assistant and tool'):
        rendered(user("a"), {"role": "function", "content": "b"})


@pytest.mark.parametrize("shape", recorded_shapes(), ids=lambda shape: shape.client)
def test_what_clients_send_is_taken_with_their_calls_and_results(shape: Recorded) -> None:
    for request in shape.requests:
        text = render("devstral", request["messages"], request.get("tools"))
        results = sum(message["role"] == "tool" for message in request["messages"])
        assert text.count('[TOOL_CALLS]get_weather[ARGS]{"city": "Rome"}') == results
        assert text.count('[TOOL_RESULTS]{"city": "Rome", "sky": "windy", "celsius": 19}[/TOOL_RESULTS]') == results
