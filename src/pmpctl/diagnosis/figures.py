"""vLLM's own figures of its memory, read from the log of a start."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from pmpctl.diagnosis.log_lines import clean


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineFigures:
    """Each is None where the engine did not print it; of several ranks the fullest one counts."""

    version: str | None = None
    weights_gib: float | None = None
    activation_peak_gib: float | None = None
    non_torch_gib: float | None = None
    available_kv_gib: float | None = None
    """What was left for the KV cache once everything else was measured."""
    reserved_kv_gib: float | None = None
    """What was set aside because the size was given; nothing was measured then."""
    needed_kv_gib: float | None = None
    """For one request, where it was too much."""
    kv_cache_tokens: int | None = None
    block_count: int | None = None
    concurrency_tokens: int | None = None
    """The length of request that `max_concurrency` counts."""
    max_concurrency: float | None = None
    graphs_gib: float | None = None
    """What CUDA graphs took."""
    graphs_estimated_gib: float | None = None
    """What was taken off the budget for them before; printed from vLLM 0.21 on."""
    estimated_max_model_len: int | None = None

    @property
    def kv_gib(self) -> float | None:
        """The KV cache's memory, however it was come by."""
        return self.reserved_kv_gib if self.available_kv_gib is None else self.available_kv_gib


@dataclass(frozen=True, slots=True)
class _Field:
    read: Callable[[str], float]
    fullest: Callable[[float, float], float]
    """Of two ranks' figures, the one that leaves less room."""


def _count(text: str) -> int:
    return int(text.replace(",", ""))


_FIELDS: dict[str, _Field] = {
    "weights_gib": _Field(float, max),
    "activation_peak_gib": _Field(float, max),
    "non_torch_gib": _Field(float, max),
    "available_kv_gib": _Field(float, min),
    "reserved_kv_gib": _Field(float, min),
    "needed_kv_gib": _Field(float, max),
    "kv_cache_tokens": _Field(_count, min),
    "block_count": _Field(_count, min),
    "concurrency_tokens": _Field(_count, min),
    "max_concurrency": _Field(float, min),
    "graphs_gib": _Field(float, max),
    "graphs_estimated_gib": _Field(float, max),
    "estimated_max_model_len": _Field(_count, min),
}

# A new start: everything read before it is of another.
_START = re.compile(r"^vLLM (?:API )?server version (?P<version>[^\s,]+)|█  version (?P<banner>\S+)")
_ENGINE_VERSION = re.compile(r"^Initializing (?:a V1|an) LLM engine \(v(?P<version>[^)]+)\)")

_COUNT = r"\d[\d,]*"
_NUMBER = r"-?\d+(?:\.\d+)?"
# Where an old release says GB it divides by 2**30 as well.
_RULES = tuple(
    re.compile(pattern)
    for pattern in (
        rf"^(?:Model loading|Loading model weights) took (?P<weights_gib>{_NUMBER}) Gi?B",
        # V0, 0.6.4 and later; the parts stand on one line or on several.
        rf"model weights take (?P<weights_gib>{_NUMBER})\s?GiB",
        rf"non_torch_memory takes (?P<non_torch_gib>{_NUMBER})\s?GiB",
        rf"PyTorch activation peak memory takes (?P<activation_peak_gib>{_NUMBER})\s?GiB",
        rf"memory reserved for KV Cache is (?P<available_kv_gib>{_NUMBER})\s?GiB",
        # V0, 0.6.2 and 0.6.3.
        rf"non_torch_memory=(?P<non_torch_gib>{_NUMBER})GiB kv_cache_size=(?P<available_kv_gib>{_NUMBER})GiB",
        rf"# (?:GPU|cuda|cpu) blocks: (?P<block_count>{_COUNT})",
        rf"^Available KV cache memory: (?P<available_kv_gib>{_NUMBER}) GiB",
        rf"^Auto set \((?P<available_kv_gib>{_NUMBER})/",
        rf"^Explicitly set \((?P<reserved_kv_gib>{_NUMBER})/",
        rf"reserved (?P<reserved_kv_gib>{_NUMBER}) GiB memory for KV Cache",
        rf"^[A-Z]+(?: \+ host)? KV cache size: (?P<kv_cache_tokens>{_COUNT}) tokens",
        rf"Maximum concurrency for (?P<concurrency_tokens>{_COUNT}) tokens per request: (?P<max_concurrency>[\d.]+)x",
        rf"^Graph capturing finished in .*took (?P<graphs_gib>{_NUMBER}) GiB",
        rf"^Estimated CUDA graph memory: (?P<graphs_estimated_gib>{_NUMBER}) GiB total",
        rf"\((?P<needed_kv_gib>{_NUMBER}) GiB KV cache is needed",
        rf"available KV cache memory \((?P<available_kv_gib>{_NUMBER}) GiB\)",
        rf"estimated maximum model length is (?P<estimated_max_model_len>{_COUNT})",
        rf"^Auto-fit max_model_len: reduced from {_COUNT} to (?P<estimated_max_model_len>{_COUNT})",
        # V0, and V1 up to 0.8.
        rf"maximum number of tokens that can be stored in KV cache \((?P<estimated_max_model_len>{_COUNT})\)",
    )
)


def read_figures(lines: Iterable[str]) -> EngineFigures:
    """The figures of the last start in a log."""
    found: dict[str, Any] = {}
    version: str | None = None
    for line in lines:
        text = clean(line)
        if start := _START.search(text):
            found, version = {}, start["version"] or start["banner"]
        elif engine := _ENGINE_VERSION.match(text):
            version = version or engine["version"]
        for rule in _RULES:
            if match := rule.search(text):
                _note(found, match.groupdict())
    return EngineFigures(version=version, **found)


def _note(found: dict[str, Any], said: dict[str, str]) -> None:
    for name, text in said.items():
        value = _FIELDS[name].read(text)
        found[name] = _FIELDS[name].fullest(found[name], value) if name in found else value
