"""Fields that are denied, bounded, cut or left out."""

from typing import Any

import pytest

from pmp_gateway.failures import FieldNotAllowed, ValueTooLarge
from pmp_gateway.request_policy import DENIED_FIELDS, NEVER_ALLOWED, RequestPolicy
from tests.unit.gateway.body.checks import CHAT, ROUTES, refused, sent


@pytest.mark.parametrize("name", sorted((DENIED_FIELDS | NEVER_ALLOWED) - {"echo"}))
@pytest.mark.parametrize("path", ROUTES)
def test_a_dangerous_field_is_refused_on_every_route_however_it_is_spelled(name: str, path: bytes) -> None:
    escaped = name.replace("_", "\\u005f", 1).replace("a", "\\u0061", 1)
    for raw in (f'{{"{name}":1}}', f'{{"{escaped}":[1]}}', f'{{"{name}":null,"{name}":"x"}}', f'{{"{name}": true }}'):
        error = refused(raw.encode(), path)
        assert isinstance(error, FieldNotAllowed)
        assert error.param == name
        assert name in error.message


@pytest.mark.parametrize("value", [None, False, 0, "", {}, []])
def test_a_denied_field_may_say_what_leaving_it_out_says(value: object) -> None:
    body = dict.fromkeys(DENIED_FIELDS | NEVER_ALLOWED, value)
    assert sent(body) == body


def test_a_profile_allows_what_is_denied_by_default() -> None:
    body = {"chat_template": "{{ messages }}", "chat_template_kwargs": {"chat_template": "x"}, "priority": 5}
    assert sent(body, allow_fields=("chat_template", "priority")) == body
    assert refused(body, allow_fields=("priority",)).param == "chat_template"


def test_no_profile_allows_tensors() -> None:
    with pytest.raises(ValueError, match="prompt_embeds"):
        RequestPolicy(allow_fields=("prompt_embeds",))


def test_a_profile_denies_any_field_that_says_something() -> None:
    assert refused({"temperature": 0}, deny_fields=("temperature",)).param == "temperature"
    assert sent({"temperature": None}, deny_fields=("temperature",)) == {"temperature": None}


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"echo": True}, CHAT),
        ({"echo": True, "logprobs": 1}, b"/v1/completions"),
        ({"echo": 1, "logprobs": 0}, b"/v1/completions"),
        ({"echo": "yes", "logprob_token_ids": [1]}, b"/v1/completions"),
    ],
)
def test_the_prompt_is_not_scored_by_way_of_an_echo(body: dict[str, Any], path: bytes) -> None:
    assert refused(body, path).param == "echo"
    assert sent(body, path, allow_fields=("prompt_logprobs",)) == body
    assert sent({"echo": True, "prompt": "a"}, b"/v1/completions")


@pytest.mark.parametrize("name", ["n", "best_of"])
def test_the_number_of_answers_is_bounded(name: str) -> None:
    assert sent({name: 3}, max_n=3) == {name: 3}
    for value in (4, 3.5, 1e300, 10**30, "4", "1", [1], -1):
        error = refused({name: value}, max_n=3)
        assert isinstance(error, ValueTooLarge)
        assert error.param == name
        assert "3" in error.message
    assert refused(f'{{"{name}":1e400}}'.encode()).param == name
    assert refused(f'{{"{name}":{"9" * 5000}}}'.encode()).param == name
    assert sent({name: None}, max_n=3) == {name: None}


@pytest.mark.parametrize("name", ["logprobs", "top_logprobs"])
def test_logprobs_are_bounded_and_never_for_the_whole_vocabulary(name: str) -> None:
    assert sent({name: 20}) == {name: 20}
    assert refused({name: 21}).param == name
    assert refused({name: -1}).param == name
    assert sent({"logprobs": True, "top_logprobs": None}) == {"logprobs": True, "top_logprobs": None}


@pytest.mark.parametrize("name", ["stop", "stop_token_ids", "bad_words", "allowed_token_ids", "stop_sequences"])
def test_lists_that_are_gone_through_for_every_token_are_bounded(name: str) -> None:
    assert len(sent({name: ["a,b"] * 1024})[name]) == 1024
    assert sent({name: "one, two, " * 2000})
    assert refused({name: ["a"] * 1025}).param == name
    assert refused({name: [[1], *range(2000)]}).param == name
    assert sent({name: list(range(1025))}, allow_fields=(name,))


def test_a_logit_bias_is_bounded() -> None:
    assert len(sent({"logit_bias": {str(token): 1 for token in range(1024)}})["logit_bias"]) == 1024
    assert refused({"logit_bias": {str(token): 1 for token in range(1025)}}).param == "logit_bias"
    assert refused({"logit_bias": {str(token): [1] for token in range(1025)}}).param == "logit_bias"


@pytest.mark.parametrize("name", ["response_format", "structured_outputs", "guided_regex", "text", "output_config"])
def test_a_grammar_is_bounded(name: str) -> None:
    assert sent({name: {"regex": "a" * 100_000}})
    assert refused({name: {"regex": "a" * 200_000}}).param == name


@pytest.mark.parametrize(
    ("path", "name", "items"),
    [
        (b"/v1/completions", "prompt", ["a, b"]),
        (b"/v1/completions", "prompt", [[1, 2, 3]]),
        (b"/v1/embeddings", "input", ["a"]),
        (b"/v1/embeddings", "input", [[1, 2, 3]]),
        (b"/v1/rerank", "documents", ["a, [b], {c}"]),
        (b"/v1/rerank", "documents", [{"content": [{"type": "text", "text": "a, b"}]}]),
        (b"/v1/score", "data_2", [{"content": [{"type": "text", "text": "a, b"}]}, ""]),
        (b"/v1/score", "text_2", ["", ""]),
    ],
)
def test_prompts_and_documents_are_counted(path: bytes, name: str, items: list[Any]) -> None:
    assert sent({name: items * 6}, path, max_prompts=6 * len(items))
    error = refused({name: items * 6}, path, max_prompts=6 * len(items) - 1)
    assert (type(error), error.param) == (ValueTooLarge, name)


def test_what_is_one_prompt_is_not_counted() -> None:
    assert sent({"prompt": [1, 2, 3, 4]}, b"/v1/completions", max_prompts=1)
    assert sent({"prompt": "a, b, c"}, b"/v1/completions", max_prompts=1)
    assert sent({"input": [{"role": "user", "content": "a"}] * 5}, b"/v1/responses", max_prompts=1)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        (CHAT, "max_tokens"),
        (CHAT, "max_completion_tokens"),
        (b"/v1/completions", "max_tokens"),
        (b"/v1/responses", "max_output_tokens"),
        (b"/v1/messages", "max_tokens"),
    ],
)
def test_a_longer_answer_than_allowed_is_cut_to_what_is_allowed(path: bytes, name: str) -> None:
    assert sent({name: 101}, path, max_tokens=100) == {name: 100}
    assert sent({name: 1e9}, path, max_tokens=100) == {name: 100}
    assert sent({name: 99}, path, max_tokens=100) == {name: 99}
    assert sent({name: 10**9}, path) == {name: 10**9}
    assert refused({name: "101"}, path, max_tokens=100).param == name


def test_both_names_of_the_answers_length_are_cut() -> None:
    asked = {"max_tokens": 500, "max_completion_tokens": 600}
    assert sent(asked, max_tokens=100) == {"max_tokens": 100, "max_completion_tokens": 100}


@pytest.mark.parametrize("unsaid", [{}, {"max_tokens": None}])
def test_an_answer_without_end_gets_one(unsaid: dict[str, Any]) -> None:
    assert sent(unsaid, max_tokens=100) == {"max_tokens": 100}
    assert sent(unsaid, b"/v1/completions", max_tokens=100) == {"max_tokens": 16}
    assert sent({}, b"/v1/responses", max_tokens=100) == {"max_output_tokens": 100}
    assert sent({}, b"/v1/embeddings", max_tokens=100) == {}


@pytest.mark.parametrize("nothing", ["[]", "[ \n]"])
def test_an_empty_list_of_tools_is_left_out_since_the_engine_refuses_it(nothing: str) -> None:
    assert sent(b'{"tools":%b,"seed":1}' % nothing.encode()) == {"seed": 1}
    assert sent(b'{"tools":%b,"tool_choice":"auto"}' % nothing.encode()) == {}
    # That cannot be meant: the engine says so.
    assert sent({"tools": [], "tool_choice": "required"}) == {"tool_choice": "required"}
    tools = {"tools": [{"type": "function", "function": {"name": "f"}}], "tool_choice": "auto"}
    assert sent(tools) == tools
    assert sent({"tools": []}, b"/v1/responses") == {"tools": []}


@pytest.mark.parametrize("variable", ["chat_template", "tokenize", "padding", "max_length", "return_tensors"])
def test_the_templates_variables_cannot_be_its_renderers_arguments(variable: str) -> None:
    assert sent({"chat_template_kwargs": {"enable_thinking": False}})
    escaped = f"\\u{ord(variable[0]):04x}{variable[1:]}"
    for raw in (
        f'{{"chat_template_kwargs":{{"{variable}":1}}}}',
        f'{{"chat_template_kwargs":{{"a":1,"{escaped}":1}}}}',
    ):
        error = refused(raw.encode())
        assert error.param == "chat_template_kwargs"
        assert variable in error.message
