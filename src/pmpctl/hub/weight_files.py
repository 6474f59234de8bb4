"""Which of a model's files hold the weights that vLLM loads, and which of those are not there."""

import fnmatch
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

from pmpctl.errors import WeightsDamaged
from pmpctl.hub.files import Files

LARGEST_INDEX_BYTES = 128 << 20
LARGEST_MODEL_BYTES = 1 << 50


@dataclass(frozen=True, slots=True)
class Family:
    """Files that together are one copy of the weights, and the index that lists them."""

    pattern: re.Pattern[str]
    index: str


# vLLM prefers Mistral's own files where a repository has both.
SAFETENSORS = (
    Family(re.compile(r"consolidated.*\.safetensors"), "consolidated.safetensors.index.json"),
    Family(re.compile(r"(?!consolidated).*\.safetensors"), "model.safetensors.index.json"),
)
OTHER_FORMATS = (
    Family(re.compile(r"pytorch_model.*\.bin"), "pytorch_model.bin.index.json"),
    Family(re.compile(r".*\.(?:bin|gguf|pt)"), ""),
)
_NUMBERED = re.compile(r"(.+-)\d{5}(-of-(\d{5})\.\w+)")


class _Index(BaseModel):
    weight_map: dict[str, str]
    """The file of each tensor."""
    metadata: dict[str, Any] | None = None

    @property
    def total_bytes(self) -> int | None:
        total = (self.metadata or {}).get("total_size")
        # Some indexes were written with a float.
        return int(total) if isinstance(total, int | float) and 0 < total <= LARGEST_MODEL_BYTES else None


@dataclass(frozen=True, slots=True)
class WeightFiles:
    present: tuple[str, ...]
    missing: tuple[str, ...]
    total_bytes: int | None
    """All weights together, as the index says; None where it does not."""
    indexed_tensors: frozenset[str]


SMALL_FILES = ("*.json", "*.jinja", "*.txt", "*.model", "*.tiktoken")
"""Patterns of what vLLM reads of a model beside its weights; `*.py` too, where the model's code may run."""


def weights_to_load(names: Collection[str], load_format: str) -> frozenset[str]:
    """Which of a repository's files vLLM takes for the weights (DefaultModelLoader._prepare_weights).

    Formats of other loaders are taken for the usual ones.
    """
    patterns = _LOADED.get(load_format, _LOADED["auto"])
    found = next((matching for pattern in patterns if (matching := fnmatch.filter(names, pattern))), [])
    if "model.safetensors.index.json" in names and patterns[0] != "consolidated*.safetensors":
        found = [name for name in found if not name.startswith("consolidated")]
    return frozenset(found)


_LOADED = {
    "auto": ("consolidated*.safetensors", "*.safetensors", "*.bin", "*.pt"),
    "hf": ("*.safetensors", "*.bin", "*.pt"),
    "safetensors": ("*.safetensors",),
    "fastsafetensors": ("*.safetensors",),
    "mistral": ("consolidated*.safetensors",),
    "npcache": ("*.bin",),
    "pt": ("*.pt",),
}


def find_weight_files(files: Files, families: Iterable[Family] = SAFETENSORS) -> WeightFiles | None:
    """The first family that is complete, else the first of which anything is there, else None."""
    found = [each for family in families if (each := _members(files, family))]
    return next((each for each in found if not each.missing), found[0] if found else None)


def _members(files: Files, family: Family) -> WeightFiles | None:
    there = {name for name in files.names if family.pattern.fullmatch(name)}
    index = _read_index(files, family.index) if family.index in files.names else _Index(weight_map={})
    expected = set(index.weight_map.values()) or _with_all_numbers(there)
    if not expected:
        return None
    return WeightFiles(
        present=tuple(sorted(expected & there)),
        missing=tuple(sorted(expected - there)),
        total_bytes=index.total_bytes,
        indexed_tensors=frozenset(index.weight_map),
    )


def _with_all_numbers(names: set[str]) -> set[str]:
    """model-00002-of-00003.safetensors alone says that there are two more."""
    found = set(names)
    for name in names:
        if match := _NUMBERED.fullmatch(name):
            found |= {f"{match[1]}{number:05}{match[2]}" for number in range(1, int(match[3]) + 1)}
    return found


def _read_index(files: Files, name: str) -> _Index:
    try:
        return _Index.model_validate_json(files.head(name, LARGEST_INDEX_BYTES).data)
    except ValidationError as error:
        raise WeightsDamaged(
            f"{name} of {files.place} is not the index of a model's weights", cure="Download that file again."
        ) from error
