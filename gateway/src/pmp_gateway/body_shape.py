"""How deep and how long a JSON text is, told from its bytes: nothing is built that an attacker could make large.

All but `check_members` expects valid JSON.
"""

import re
from itertools import accumulate

from msgspec import DecodeError, Raw
from msgspec.json import Decoder

from pmp_gateway.failures import InvalidJson, ValueTooLarge

# More strings, or more objects and lists, than any real request holds; it bounds the work done here.
MAX_VALUES = 250_000

_FEW_VALUES = 100_000
_LARGE_BYTES = 1024**2

_BRACKETS = b"[]{}"
_MARKS = _BRACKETS + b","
_STRING = re.compile(rb'"[^"]*"')
_FLAT = re.compile(rb"[\[{],*[\]}]")
_STEPS = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")
_ANY = Decoder()
_ITEMS = Decoder(list[Raw] | dict[str, Raw])


def check_members(raw: bytes | bytearray) -> None:
    """Refuses what would take seconds to read."""
    if len(raw) > _LARGE_BYTES and raw.count(b":") > MAX_VALUES and len(outside_strings(raw, b":")) > MAX_VALUES:
        raise ValueTooLarge(f"The request body holds more than {MAX_VALUES} members.")


def check_depth(raw: bytes | bytearray, limit: int) -> None:
    if _opens_at_most(raw, limit):
        return
    # For long texts with few values, as people send, building them is the faster way.
    has_few_values = raw.count(b"[") + raw.count(b"{") + raw.count(b",") <= _FEW_VALUES
    is_shallow = _is_shallow if has_few_values else _is_shallow_by_bytes
    if not is_shallow(raw, limit):
        raise InvalidJson(f"The request body is nested deeper than {limit} levels.")


def _opens_at_most(raw: bytes | bytearray, limit: int) -> bool:
    """Whether there are so few objects and lists. Finding the next one is many times faster than counting all."""
    left = limit
    for bracket in (b"[", b"{"):
        at = raw.find(bracket)
        while at >= 0:
            left -= 1
            if left < 0:
                return False
            at = raw.find(bracket, at + 1)
    return True


def _is_shallow(raw: bytes | bytearray, limit: int) -> bool:
    try:
        level = [_ANY.decode(raw)]
    except RecursionError:
        return False
    except DecodeError:
        # A number that Python cannot hold.
        return _is_shallow_by_bytes(raw, limit)
    for _ in range(limit):
        nodes = (node.values() if isinstance(node, dict) else node for node in level)
        level = [child for children in nodes for child in children if isinstance(child, dict | list)]
        if not level:
            return True
    return False


def _is_shallow_by_bytes(raw: bytes | bytearray, limit: int) -> bool:
    brackets = outside_strings(raw, _BRACKETS)
    if len(brackets) > 2 * MAX_VALUES:
        raise ValueTooLarge(f"The request body holds more than {MAX_VALUES} objects and lists.")
    return max(accumulate(memoryview(brackets.translate(_STEPS)).cast("b")), default=0) <= limit


def has_more_items(raw: bytes, limit: int) -> bool:
    """Whether an object or a list holds more members than `limit`; anything else holds none."""
    if raw[:1] not in (b"[", b"{") or raw.count(b",") < limit:
        return False
    marks = _FLAT.sub(b"", outside_strings(raw, _MARKS)[1:-1])
    commas = marks.count(b",")
    if len(marks) == commas or commas < limit:
        return commas >= limit
    return commas > MAX_VALUES or len(_ITEMS.decode(raw)) > limit


def count_values(raw: bytes) -> int:
    """An upper bound, and a close one, of how many values building this text would make."""
    marks = outside_strings(raw, _MARKS)
    return len(marks) - marks.count(b"]") - marks.count(b"}") + 1


def outside_strings(raw: bytes | bytearray, kept: bytes) -> bytes:
    """Those bytes of `kept` that stand outside the strings."""
    text = bytes(raw)
    if b"\\" in text:
        # All that may follow a backslash stays beside it, so that no escape changes its meaning.
        text = text.translate(None, _all_but(b'"\\/bfnrtu' + kept))
        text = text.replace(b"\\\\", b"").replace(b'\\"', b"")
    text = text.translate(None, _all_but(b'"' + kept))
    if text.count(b'"') > 2 * MAX_VALUES:
        raise ValueTooLarge(f"The request body holds more than {MAX_VALUES} strings.")
    return _STRING.sub(b"", text)


def _all_but(kept: bytes) -> bytes:
    return bytes(set(range(256)) - set(kept))
