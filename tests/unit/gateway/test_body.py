"""What of a request's body reaches the engine."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pmp_gateway.body import check_body
from pmp_gateway.failures import FieldNotAllowed, FieldRefused, InvalidJson, ValueTooLarge
from pmp_gateway.request_policy import DENIED_FIELDS, NEVER_ALLOWED, RequestPolicy

CHAT = b"/v1/chat/completions"
ROUTES = (
    CHAT,
    b"/v1/completions",
    b"/v1/embeddings",
    b"/v1/responses",
    b"/v1/messages",
    b"/v1/messages/count_tokens",
    b"/v1/score",
    b"/v1/rerank",
    b"/v2/rerank",
    b"/tokenize",
    b"/detokenize",
)


def sent(body: dict[str, Any] | bytes, path: bytes = CHAT, **policy: Any) -> dict[str, Any]:
    """What the engine reads of a body that named no model or any."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    read = json.loads(check_body(path, raw, RequestPolicy(**policy)).naming("the-model"))
    assert read.pop("model") == "the-model"
    return dict(read)


def refused(body: dict[str, Any] | bytes, path: bytes = CHAT, **policy: Any) -> FieldRefused:
    with pytest.raises(FieldRefused) as caught:
        sent(body, path, **policy)
    return caught.value


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b" ",
        b"null",
        b"[]",
        b'"text"',
        b"{",
        b'{"a"',
        b'{"a":',
        b'{"a":1',
        b'{"a":1,',
        b'{"a":1,}',
        b'{"a":[1,]}',
        b"{1:2}",
        b'{"a" 1}',
        b'{"a":1}{"b":2}',
        b'{"a":1} x',
        b'{"a":1}\x00',
        b"{'a':1}",
        b'{"a":1/*no*/}',
        b'{"a":NaN}',
        b'{"a":[-Infinity]}',
        b'{"a":01}',
        b'{"a":1.}',
        b'{"a":[{"b":tru}]}',
        b'{"a":"\xff"}',
        b'{"a":["\xed\xa0\x80"]}',
        b'{"\xff":1}',
        b'{"a":"\\ud800"}',
        b'{"a":["\\udc00 and more"]}',
        b'{"a":"\\x41"}',
        b'{"a":"\n"}',
        b'\xef\xbb\xbf{"a":1}',
        '{"a":1}'.encode("utf-16"),
        '{"a":1}'.encode("utf-16-le"),
        '{"a":1}'.encode("utf-32-le"),
        b"\x1f\x8b\x08",
    ],
    ids=lambda raw: repr(raw[:24]),
)
def test_what_is_not_a_json_object_in_utf_8_is_refused(raw: bytes) -> None:
    with pytest.raises(InvalidJson):
        check_body(CHAT, raw, RequestPolicy())


def test_nested_values_pass_byte_for_byte() -> None:
    messages = b'[ {"role":"user", "content":"\\u00e9\xc3\xa9\\/", "n": 1e400, "big": ' + b"9" * 5000 + b"} ]"
    forwarded = check_body(CHAT, b' {\n"messages" : ' + messages + b' , "model":"x"}\n', RequestPolicy()).naming("m")
    assert b'"messages":' + messages in forwarded


def test_one_body_can_be_named_twice() -> None:
    body = check_body(CHAT, b'{"model":"a","seed":1}', RequestPolicy())
    assert json.loads(body.naming("b")) == {"model": "b", "seed": 1}
    assert json.loads(body.naming('c"ü')) == {"model": 'c"ü', "seed": 1}


def test_a_body_may_come_in_a_bytearray() -> None:
    body = check_body(CHAT, bytearray(b'{"model":"a","text":"\xc3\xa9"}'), RequestPolicy())
    assert (body.model, body.size_bytes) == ("a", 25)


@pytest.mark.parametrize(
    ("raw", "model"),
    [
        (b"{}", None),
        (b'{"model":null}', None),
        (b'{"model":["a"]}', None),
        (b'{"model":5}', None),
        (b'{"model":"a"}', "a"),
        (b'{"model":"a","model":"b"}', "b"),
        (b'{"mod\\u0065l":"\\u0061"}', "a"),
    ],
)
def test_the_model_that_is_asked_for_is_the_one_that_the_engine_would_read(raw: bytes, model: str | None) -> None:
    assert check_body(CHAT, raw, RequestPolicy()).model == model


@pytest.mark.parametrize(
    ("raw", "stream"),
    [(b"{}", False), (b'{"stream":false}', False), (b'{"stream":true}', True), (b'{"stream":null}', False)],
)
def test_a_stream_is_one_that_is_asked_for(raw: bytes, stream: bool) -> None:
    assert check_body(CHAT, raw, RequestPolicy()).stream is stream


_SCALARS = (
    st.none() | st.booleans() | st.integers(-20, 5000) | st.floats(allow_nan=False, allow_infinity=False) | st.text()
)
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
_KEYS = st.sampled_from(
    [*sorted(DENIED_FIELDS | NEVER_ALLOWED), "model", "n", "stream", "stop", "prompt", "messages", "max_tokens"]
) | st.text(max_size=6)
_SPACES = st.text(" \t\r\n", max_size=2)


@st.composite
def _spelled(draw: st.DrawFn, text: str) -> str:
    """A JSON string of `text`, with any of its characters escaped."""
    escaped = draw(st.sets(st.integers(0, max(len(text) - 1, 0))))

    def one(index: int, character: str) -> str:
        if index not in escaped:
            return json.dumps(character, ensure_ascii=False)[1:-1]
        units = character.encode("utf-16-be")
        return "".join(f"\\u{int.from_bytes(units[at : at + 2]):04x}" for at in range(0, len(units), 2))

    return '"' + "".join(one(index, character) for index, character in enumerate(text)) + '"'


@st.composite
def _bodies(draw: st.DrawFn) -> bytes:
    """Objects with keys that come twice and in any spelling."""
    members: list[str] = []
    for key, value in draw(st.lists(st.tuples(_KEYS, _VALUES), max_size=6)):
        space = draw(_SPACES)
        members.append(
            f"{space}{draw(_spelled(key))}{space}:{space}{json.dumps(value, ensure_ascii=draw(st.booleans()))}"
        )
    return ("{" + ",".join(members) + "}").encode("utf-8", "surrogatepass")


@given(_bodies(), st.sampled_from(ROUTES), st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_the_engine_reads_what_was_checked_and_the_model_that_was_set(raw: bytes, path: bytes, model: str) -> None:
    try:
        forwarded = check_body(path, raw, RequestPolicy(media_domains=("example.com",))).naming(model)
    except (InvalidJson, FieldRefused):
        return
    pairs: list[tuple[str, Any]] = json.loads(forwarded, object_pairs_hook=lambda found: found)
    keys = [key for key, _ in pairs]
    assert len(keys) == len(set(keys))
    read = json.loads(forwarded)
    assert read == {**json.loads(raw), "model": model}
    for name in (DENIED_FIELDS | NEVER_ALLOWED) - {"echo"}:
        assert not read.get(name)


@given(_bodies(), st.data())
def test_whatever_comes_is_read_or_refused(raw: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(raw)))
    spoilt = raw[:at] + data.draw(st.binary(max_size=4)) + raw[at + data.draw(st.integers(0, 3)) :]
    try:
        forwarded = check_body(data.draw(st.sampled_from(ROUTES)), spoilt, RequestPolicy(max_tokens=5)).naming("m")
    except (InvalidJson, FieldRefused):
        return
    assert json.loads(forwarded)["model"] == "m"


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


def _nested(levels: int, opening: str = '{"a":', closing: str = "}") -> bytes:
    return (opening * (levels - 1) + "{}" + closing * (levels - 1)).encode()


@pytest.mark.parametrize("padding", [b"", b" " * 10 + b'"[[[[{{{{\\"\\\\",' * 10, b"1," * 200_000])
def test_nesting_is_bounded(padding: bytes) -> None:
    for inner, fits in (
        (_nested(18), True),
        (_nested(19), False),
        (b"[" * 18 + b"]" * 18, True),
        (b"[" * 19 + b"]" * 19, False),
    ):
        raw = b'{"a":[' + padding + inner + b"]}"
        if fits:
            assert check_body(CHAT, raw, RequestPolicy(max_json_depth=20)).size_bytes == len(raw)
        else:
            with pytest.raises(InvalidJson, match="20 levels"):
                check_body(CHAT, raw, RequestPolicy(max_json_depth=20))


def test_no_depth_is_too_much_for_the_check_itself() -> None:
    for levels in range(800, 1100):
        with pytest.raises(InvalidJson):
            check_body(CHAT, b'{"a":' + b"[" * levels + b"]" * levels + b"}", RequestPolicy())


@pytest.mark.parametrize(
    "raw",
    [
        b'{"a":' + b"[" * 200_000 + b"]" * 200_000 + b"}",
        b'{"a":' + b"[" * 5_000_000,
        b'{"a":' * 200_000 + b"1" + b"}" * 200_000,
        b'{"a":[' + b"[]," * 5_000_000 + b"[]]}",
        b'{"a":[' + b'"[",' * 5_000_000 + b'"["]}',
        b'{"a":[' + b'{"url":"http:"},' * 500_000 + b"1]}",
        b'{"data_1":[{},' + b'"",' * 5_000_000 + b'""]}',
        b'{"stop":[[],' + b"1," * 5_000_000 + b"1]}",
        b"{" + b",".join(b'"%x" :1' % number for number in range(1_000_000)) + b"}",
    ],
    ids=lambda raw: repr(raw[:16]),
)
def test_bombs_are_refused(raw: bytes) -> None:
    with pytest.raises((InvalidJson, ValueTooLarge)):
        check_body(CHAT, raw, RequestPolicy())


@pytest.mark.parametrize(
    "text",
    ["[" * 3_000_000, '["{' * 1_000_000, '\\"[' * 1_000_000, '"url":"http://x",' * 100_000, "é[" * 1_000_000],
    ids=lambda text: text[:8],
)
def test_a_text_may_hold_anything(text: str) -> None:
    body = {"messages": [{"role": "user", "content": text}]}
    assert sent(body) == body


def _shapes(url: str) -> Sequence[dict[str, Any]]:
    """Every place from which an engine fetches."""
    image = {"type": "image_url", "image_url": {"url": url}}
    anthropic = {"type": "image", "source": {"type": "url", "url": url}}
    return [
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}, image]}]},
        {"messages": [{"role": "user", "content": [{"image_url": url, "uuid": "x"}]}]},
        {"messages": [{"role": "user", "content": [{"type": "url_citation", "image_url": url, "uuid": "x"}]}]},
        {
            "messages": [
                {"role": "user", "content": [{"type": "audio_url", "audio_url": {"url": url, "type": "url_citation"}}]}
            ]
        },
        {"messages": [{"role": "user", "content": [{"type": "video_url", "video_url": {"url": url}}]}]},
        {"messages": [[{"role": "user", "content": [image]}]]},
        {"messages": [{"role": "tool", "tool_call_id": "1", "content": [image]}]},
        {"messages": [{"role": "user", "content": [anthropic]}]},
        {"messages": [{"role": "user", "content": [{"type": "tool_result", "content": [anthropic]}]}]},
        {"system": [anthropic]},
        {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": url}]}]},
        {"input": [{"role": "user", "content": [{"type": "input_file", "file_url": url}]}]},
        {"input": [{"type": "function_call_output", "output": [{"type": "input_image", "image_url": url}]}]},
        {"documents": [{"content": [image]}]},
        {"query": {"content": [image]}},
        {"data_1": {"content": [image]}},
    ]


PLACES = range(len(_shapes("")))


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/a.png",
        "https://10.0.0.1/latest/meta-data",
        "HTTP://example.com",
        "file:///etc/passwd",
        "FILE:/etc/passwd",
        " http://example.com",
        "//example.com/a.png",
        "example.com/a.png",
        "ftp://example.com",
        " data:image/png;base64,AAAA",
    ],
)
def test_media_from_elsewhere_are_refused_wherever_they_stand(place: int, url: str) -> None:
    body = _shapes(url)[place]
    assert isinstance(refused(body), FieldNotAllowed)
    plain = json.dumps(body)
    for name in ("image_url", "audio_url", "video_url", "file_url", "url", "source", "type"):
        escaped = "".join(f"\\u{ord(character):04X}" for character in name)
        assert isinstance(refused(plain.replace(f'"{name}":', f'"{escaped}" :').encode()), FieldNotAllowed)
    doubled = plain.replace(json.dumps(url), json.dumps(url) + ', "url": ' + json.dumps(url))
    assert isinstance(refused(doubled.encode()), FieldNotAllowed)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("url", ["data:image/png;base64,AAAA", "DATA:image/png;base64,AAAA", ""])
def test_media_in_the_request_itself_pass(place: int, url: str) -> None:
    body = _shapes(url)[place]
    assert sent(body) == body


@pytest.mark.parametrize("place", PLACES)
def test_media_of_a_host_on_the_profiles_list_pass(place: int) -> None:
    body = _shapes("https://Media.Example.com:8443/a.png?size=1")[place]
    assert sent(body, media_domains=("media.example.com",)) == body


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com.evil.org/",
        "https://evil.org/example.com",
        "https://example.com@evil.org/",
        "https://evil.org\\@example.com/",
        "https://example.com\\.evil.org/",
        "https://example.com /",
        "https://example.com\n/",
        "https://example.com?@evil.org/",
        "https://example.com#@evil.org/",
        "https://sub.example.com/",
        "https://example.com./",
        "https://[::1]/",
        "file://example.com/etc/passwd",
        "http:example.com",
        "http:///example.com",
    ],
)
def test_no_spelling_of_a_url_passes_for_a_listed_host(url: str) -> None:
    body = {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}]}
    error = refused(body, media_domains=("example.com",))
    assert error.param == "url"
    assert "example.com" in error.message


@pytest.mark.parametrize(
    "body",
    [
        {"messages": [{"role": "user", "content": 'see {"image_url": {"url": "http://example.com"}}'}]},
        {"messages": [{"role": "user", "content": "image_url"}, {"role": "user", "content": "http://example.com"}]},
        {"tools": [{"type": "mcp", "server_url": "http://example.com"}]},
        {"tools": [{"type": "function", "function": {"parameters": {"properties": {"url": {"default": "http://x"}}}}}]},
        {
            "response_format": {
                "json_schema": {"schema": {"properties": {"url": {"const": "http://x"}, "source_url": "http"}}}
            }
        },
        {
            "messages": [
                {"role": "assistant", "content": [{"type": "tool_use", "input": {"url": "https://example.com"}}]}
            ]
        },
        {"messages": [{"role": "assistant", "tool_calls": [{"function": {"arguments": {"image_url": "http://x"}}}]}]},
        {
            "input": [
                {"content": [{"type": "output_text", "annotations": [{"type": "url_citation", "url": "http://x"}]}]}
            ]
        },
        {"metadata": {"url": "https://example.com"}},
        {"user": "http://example.com"},
        {"messages": [{"role": "user", "content": "<\u00e9\u2028>"}]},
    ],
)
def test_a_url_that_nobody_fetches_passes(body: dict[str, Any]) -> None:
    assert sent(body) == body
    escaped = json.dumps(body).replace("<", "\\u003c").replace("_", "\\u005f").encode()
    assert sent(escaped) == body


@pytest.mark.parametrize(
    "part",
    [
        {"type": "prompt_embeds", "data": "AAAA"},
        {"type": "image_embeds", "image_embeds": "AAAA"},
        {"image_embeds": {"a": "AAAA"}, "uuid": "x"},
        {"audio_embeds": "AAAA"},
        {"image_pil": "/etc/passwd", "uuid": "x"},
        {"type": "image_pil", "image_pil": [[[1, 2, 3]]]},
    ],
)
def test_tensors_and_pictures_as_such_are_refused_among_the_messages(part: dict[str, Any]) -> None:
    body = {"messages": [{"role": "user", "content": [part]}]}
    assert isinstance(refused(body), FieldNotAllowed)
    escaped = json.dumps(body).replace("embeds", "\\u0065mbeds").replace("pil", "\\u0070il")
    assert isinstance(refused(escaped.encode()), FieldNotAllowed)
