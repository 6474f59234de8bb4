"""What vLLM 0.32's own code says about models: one configuration a line, each in several modes of the engine."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pmpctl.vram.architecture import read_architecture
from pmpctl.vram.kv_cache import KvLayout, kv_layout
from pmpctl.vram.kv_groups import KvGroup
from pmpctl.vram.kv_pages import KvSettings
from pmpctl.vram.layers import Architecture, LayerKind

DATA = Path(__file__).parents[2] / "data"

SPEC_NAMES = {
    LayerKind.FULL: "FullAttentionSpec",
    LayerKind.SLIDING: "SlidingWindowSpec",
    LayerKind.CHUNKED: "ChunkedLocalAttentionSpec",
    LayerKind.LATENT: "MLAAttentionSpec",
    LayerKind.RECURRENT: "MambaSpec",
}


def rows(*names: str) -> Iterator[Any]:
    for name in names:
        yield from map(json.loads, (DATA / name).read_text().splitlines())


def cases(*names: str) -> list[Any]:
    """One parameter for each row and mode."""
    return [
        pytest.param(row, mode, said, id=f"{row['name']}-{mode.replace('/', '-')}")
        for row in rows(*names)
        for mode, said in row["modes"].items()
    ]


def settings_of(row: dict[str, Any], mode: str, said: dict[str, Any]) -> KvSettings:
    engine, kv_cache_dtype = mode.removeprefix("patched_").split("/")
    return KvSettings(
        max_model_len=said["max_model_len"],
        max_num_batched_tokens=said["max_num_batched_tokens"],
        max_concurrent_batches=said["max_concurrent_batches"],
        tensor_parallel_size=row.get("tensor_parallel_size", 1),
        kv_cache_dtype=kv_cache_dtype,
        block_size=None if engine == "cpu_default" else 16,
        platform="cuda" if engine == "cuda_like" else "cpu",
        prefix_caching=said["prefix_caching"],
    )


def model_and_layout(row: dict[str, Any], mode: str, said: dict[str, Any]) -> tuple[Architecture, KvLayout]:
    model = read_architecture(row["config"])
    return model, kv_layout(model, settings_of(row, mode, said))


def described(group: KvGroup, tokens: int, in_flight_tokens: int) -> dict[str, Any]:
    return {
        "layers": group.layers,
        "spec": "UniformTypeKVCacheSpecs" if group.is_mixed else SPEC_NAMES[group.kind],
        "block_size": group.block_size,
        "page_size_bytes": group.page_bytes,
        "blocks_per_request": group.blocks_of_request(tokens, in_flight_tokens),
    }
