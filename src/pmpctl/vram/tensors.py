"""The tensors of a checkpoint, as the headers of its safetensors files list them."""

import json
from dataclasses import dataclass
from functools import cached_property
from typing import TypeGuard

LENGTH_BYTES = 8
LARGEST_HEADER_BYTES = 100_000_000
"""The format's own limit."""
_LARGEST_FILE_BYTES = 1 << 50


@dataclass(frozen=True, slots=True)
class Tensor:
    name: str
    dtype: str
    """As the format writes it: BF16, F8_E4M3, I32."""
    shape: tuple[int, ...]
    size_bytes: int
    copies: int = 1
    """So many equal tensors, in whose names a number is written as `*`."""


@dataclass(frozen=True)
class TensorTable:
    """Every tensor of a checkpoint, in the order of its files."""

    tensors: tuple[Tensor, ...]

    @cached_property
    def total_bytes(self) -> int:
        return sum(tensor.size_bytes * tensor.copies for tensor in self.tensors)


class HeaderInvalid(ValueError):
    """These bytes are no safetensors header; the message says why, in words that follow a file's name."""


def header_bytes(start: bytes) -> int:
    """How long the header is whose file starts with these bytes, its length field not counted."""
    if len(start) < LENGTH_BYTES:
        raise HeaderInvalid("is too short to be a safetensors file")
    length = int.from_bytes(start[:LENGTH_BYTES], "little")
    if not 2 <= length <= LARGEST_HEADER_BYTES:
        raise HeaderInvalid(f"claims a header of {length} bytes, which no safetensors file has")
    return length


def parse_header(start: bytes, file_bytes: int | None) -> tuple[Tensor, ...]:
    """The tensors that the header at the start of a file lists; `file_bytes`, if known, must be what it promises."""
    data_start = LENGTH_BYTES + header_bytes(start)
    if len(start) < data_start:
        raise HeaderInvalid("ends inside its header")
    try:
        header = json.loads(start[LENGTH_BYTES:data_start])
    except (ValueError, RecursionError) as error:
        raise HeaderInvalid("has a header that is not JSON") from error
    if not isinstance(header, dict):
        raise HeaderInvalid("has a header that lists no tensors")
    listed = [(name, entry) for name, entry in header.items() if name != "__metadata__"]
    spans = [_span(name, entry) for name, entry in listed]
    promised = data_start + max((end for _, end in spans), default=0)
    if file_bytes is not None and file_bytes != promised:
        raise HeaderInvalid(f"has {file_bytes} bytes, where its header promises {promised}")
    return tuple(
        Tensor(name, entry["dtype"], tuple(entry["shape"]), end - begin)
        for (name, entry), (begin, end) in zip(listed, spans, strict=True)
    )


def _span(name: str, entry: object) -> tuple[int, int]:
    """Where a tensor's data begins and ends; raises HeaderInvalid unless the whole entry is sound."""
    if isinstance(entry, dict) and isinstance(entry.get("dtype"), str):
        offsets, shape = entry.get("data_offsets"), entry.get("shape")
        if _are_counts(offsets) and len(offsets) == 2 and offsets[0] <= offsets[1] and _are_counts(shape):
            return offsets[0], offsets[1]
    raise HeaderInvalid(f"has a header with a damaged entry for {name[:80]!r}")


def _are_counts(value: object) -> TypeGuard[list[int]]:
    return isinstance(value, list) and all(type(each) is int and 0 <= each <= _LARGEST_FILE_BYTES for each in value)
