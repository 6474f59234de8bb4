"""How deep and how long a body may be."""

import pytest

from pmp_gateway.body import check_body
from pmp_gateway.failures import InvalidJson, ValueTooLarge
from pmp_gateway.request_policy import RequestPolicy
from tests.unit.gateway.body.checks import CHAT, sent


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
