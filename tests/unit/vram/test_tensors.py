import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pmpctl.vram.tensors import HeaderInvalid, Tensor, TensorTable, parse_header


def framed(header: object) -> bytes:
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text


def test_a_header_lists_its_tensors_with_their_bytes() -> None:
    header = {
        "__metadata__": {"format": "pt"},
        "w": {"dtype": "BF16", "shape": [4, 8], "data_offsets": [0, 64]},
        "packed": {"dtype": "F4", "shape": [16], "data_offsets": [64, 72]},
        "scalar": {"dtype": "F32", "shape": [], "data_offsets": [72, 76]},
    }
    start = framed(header)

    tensors = parse_header(start, len(start) + 76)

    assert tensors == (
        Tensor("w", "BF16", (4, 8), 64),
        Tensor("packed", "F4", (16,), 8),
        Tensor("scalar", "F32", (), 4),
    )
    assert TensorTable(tensors).total_bytes == 76


@pytest.mark.parametrize("surplus", [-1, 1])
def test_a_file_must_be_as_long_as_its_header_promises(surplus: int) -> None:
    start = framed({"w": {"dtype": "I8", "shape": [64], "data_offsets": [0, 64]}})

    with pytest.raises(HeaderInvalid, match="promises"):
        parse_header(start, len(start) + 64 + surplus)


@pytest.mark.parametrize(
    "entry",
    [
        None,
        [],
        {},
        {"dtype": "BF16", "shape": [1]},
        {"dtype": 1, "shape": [1], "data_offsets": [0, 2]},
        {"dtype": "BF16", "shape": [-1], "data_offsets": [0, 2]},
        {"dtype": "BF16", "shape": [1.5], "data_offsets": [0, 2]},
        {"dtype": "BF16", "shape": [True], "data_offsets": [0, 2]},
        {"dtype": "BF16", "shape": [1], "data_offsets": [2, 0]},
        {"dtype": "BF16", "shape": [1], "data_offsets": [0, 2, 4]},
        {"dtype": "BF16", "shape": [1], "data_offsets": [0, 10**30]},
    ],
)
def test_an_entry_that_describes_no_tensor_is_refused(entry: object) -> None:
    with pytest.raises(HeaderInvalid, match="damaged entry for 'w'"):
        parse_header(framed({"w": entry}), None)


@given(st.binary(max_size=200))
def test_no_bytes_do_worse_than_be_refused(start: bytes) -> None:
    with contextlib.suppress(HeaderInvalid):
        parse_header(start, len(start))


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
)
_entries = st.fixed_dictionaries({"dtype": _json, "shape": _json, "data_offsets": _json})


@given(_json | st.dictionaries(st.text(max_size=5), _entries, max_size=3))
def test_no_header_does_worse_than_be_refused(header: object) -> None:
    try:
        tensors = parse_header(framed(header), None)
    except HeaderInvalid:
        return
    assert all(tensor.size_bytes >= 0 for tensor in tensors)
