import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pmp_gateway.failures import InvalidJson
from pmp_gateway.json_body import JsonBody

_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
_objects = st.dictionaries(st.text() | st.just("model"), _values, max_size=5)


@given(_objects, st.text(min_size=1), st.sampled_from([None, 1, 3]), st.booleans())
def test_only_the_model_changes(members: dict[str, Any], model: str, indent: int | None, ascii_only: bool) -> None:
    raw = json.dumps(members, indent=indent, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    try:
        raw.decode()
    except UnicodeDecodeError:
        return
    body = JsonBody(raw)
    assert body.model == members.get("model")
    assert json.loads(body.naming(model)) == {**members, "model": model}


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (
            b' { "temperature" : 1.0,\n"model": "a" , "seed":1e400, "text":"\\u00e9\xc3\xa9" }\n',
            b' { "temperature" : 1.0,\n"model": "new" , "seed":1e400, "text":"\\u00e9\xc3\xa9" }\n',
        ),
        (b'{"nested":{"model":"a"},"model":null}', b'{"nested":{"model":"a"},"model":"new"}'),
        (b'{"model":"a","n":1,"model":"b"}', b'{"model":"new","n":1,"model":"new"}'),
        (b'{ "n":1}', b'{"model":"new", "n":1}'),
        (b"{ }", b'{"model":"new" }'),
        (b'{"mod\\u0065l":"a"}', b'{"mod\\u0065l":"new"}'),
    ],
)
def test_every_byte_outside_the_model_stays(raw: bytes, expected: bytes) -> None:
    assert JsonBody(raw).naming("new") == expected


def test_a_body_that_names_the_model_already_is_passed_on_untouched() -> None:
    raw = b'{"model" : "m\\u00f6del"}'
    assert JsonBody(raw).naming("mödel") is raw


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
        b"{1:2}",
        b'{"a" 1}',
        b'{"a":1}{"b":2}',
        b'{"a":1} x',
        b"{'a':1}",
        b'{"a":"\xff"}',
        b'\xef\xbb\xbf{"a":1}',
        b'{"a":' + b"[" * 200_000 + b"]" * 200_000 + b"}",
        b'{"a":' + b"9" * 5000 + b"}",
        b'{"a":"\n"}',
    ],
    ids=lambda raw: repr(raw[:20]),
)
def test_what_is_not_a_json_object_is_refused(raw: bytes) -> None:
    with pytest.raises(InvalidJson):
        JsonBody(raw)
