"""What of a request's body is read, and what reaches the engine."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pmp_gateway.body import check_body
from pmp_gateway.failures import FieldRefused, InvalidJson
from pmp_gateway.request_policy import DENIED_FIELDS, NEVER_ALLOWED, RequestPolicy
from tests.unit.gateway.body.checks import CHAT, ROUTES


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
