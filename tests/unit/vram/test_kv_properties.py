"""Arithmetic over any configuration: no crash but the named error, and what must hold for every model."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pmpctl.errors import ModelConfigInvalid
from pmpctl.vram.architecture import read_architecture
from pmpctl.vram.families import FAMILIES
from pmpctl.vram.kv_cache import KvLayout, kv_layout
from pmpctl.vram.kv_pages import FP8, PER_TOKEN_HEAD, KvSettings
from tests.unit.vram.oracle import rows

CONFIGS = [row["config"] for row in rows("vllm-oracle.jsonl", "vllm-oracle-more.jsonl")]
FIELDS = sorted(
    {name for config in CONFIGS for name in config} | {"text_config", "linear_attn_config", "block_configs"}
)

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(sorted(FAMILIES)),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=6),
    max_leaves=12,
)
sizes = st.integers(1, 4096)
settings = st.builds(
    KvSettings,
    max_model_len=st.integers(1, 1 << 21),
    max_num_batched_tokens=st.integers(1, 1 << 16),
    max_concurrent_batches=st.integers(1, 3),
    tensor_parallel_size=st.sampled_from([1, 2, 3, 4, 8, 16]),
    kv_cache_dtype=st.sampled_from(["auto", "bfloat16", *sorted(FP8 | PER_TOKEN_HEAD)]),
    block_size=st.sampled_from([None, 16, 32, 64, 128]),
    platform=st.sampled_from(["cuda", "cpu"]),
    prefix_caching=st.booleans(),
    hybrid_manager=st.booleans(),
)
models = st.sampled_from(CONFIGS).map(read_architecture)


def layout_if_valid(config: dict[str, Any], engine: KvSettings) -> KvLayout | None:
    try:
        return kv_layout(read_architecture(config), engine)
    except ModelConfigInvalid as error:
        assert error.cure
        return None


@given(st.dictionaries(st.sampled_from(FIELDS), anything, max_size=12), settings)
def test_no_configuration_does_more_than_raise_the_named_error(config: dict[str, Any], engine: KvSettings) -> None:
    layout_if_valid(config, engine)


@given(st.sampled_from(CONFIGS), st.dictionaries(st.sampled_from(FIELDS), anything, max_size=3), settings)
def test_a_damaged_configuration_of_a_real_model_does_no_more_either(
    config: dict[str, Any], damage: dict[str, Any], engine: KvSettings
) -> None:
    layout = layout_if_valid(config | damage, engine)

    if layout is not None:
        assert layout.bytes_of_request(1) >= 0
        assert layout.pool(1 << 30).blocks >= 0


@given(models, settings, st.integers(1, 1 << 20), st.integers(0, 1 << 20))
def test_a_longer_request_never_needs_less(model: Any, engine: KvSettings, tokens: int, more: int) -> None:
    layout = kv_layout(model, engine)

    assert layout.bytes_of_request(tokens) <= layout.bytes_of_request(tokens + more)


@given(models, settings, st.integers(0, 1 << 36))
def test_the_largest_context_fits_and_one_token_more_does_not(model: Any, engine: KvSettings, available: int) -> None:
    layout = kv_layout(model, engine)

    largest = layout.largest_context(available)

    if largest:
        assert layout.bytes_to_start(largest) <= available
    if largest < engine.max_model_len:
        assert layout.bytes_to_start(largest + 1) > available


@given(models, settings, st.integers(0, 1 << 40), st.integers(0, 1 << 36))
def test_a_larger_pool_never_holds_less(model: Any, engine: KvSettings, available: int, more: int) -> None:
    layout = kv_layout(model, engine)

    small, large = layout.pool(available), layout.pool(available + more)
    assert small.blocks <= large.blocks
    assert small.concurrency <= large.concurrency
    assert layout.largest_context(available) <= layout.largest_context(available + more)


@given(models, st.sampled_from([2, 4, 8, 16]))
def test_a_rank_never_stores_more_for_a_token_than_one_card_alone(model: Any, ranks: int) -> None:
    alone = kv_layout(model, KvSettings(max_model_len=4096))
    rank = kv_layout(model, KvSettings(max_model_len=4096, tensor_parallel_size=ranks))

    assert rank.bytes_per_token <= alone.bytes_per_token
    assert rank.bytes_per_token * ranks >= alone.bytes_per_token
    if model.uses_latent_attention:
        assert rank.bytes_per_token == alone.bytes_per_token


@given(models, settings)
def test_every_layer_that_caches_is_in_exactly_one_group(model: Any, engine: KvSettings) -> None:
    layout = kv_layout(model, engine)

    assert sum(group.layers for group in layout.groups) == len(model.caches)
    if len(layout.groups) > 1:
        assert len({page.bytes for group in layout.groups for page in group.pages}) == 1


@pytest.mark.parametrize("kv_cache_dtype", sorted(FP8))
def test_fp8_halves_a_token_and_scales_by_head_cost_eight_bytes(kv_cache_dtype: str) -> None:
    config = next(row["config"] for row in rows("vllm-oracle.jsonl") if row["name"] == "Qwen2.5-32B-Instruct-FP8-ct")
    model = read_architecture(config)

    def token(dtype: str) -> int:
        return kv_layout(model, KvSettings(max_model_len=4096, kv_cache_dtype=dtype)).bytes_per_token

    layers, heads, size = 64, 8, 128
    assert token("auto") == layers * heads * 2 * size * 2
    assert token(kv_cache_dtype) == layers * heads * 2 * size
    assert token("int8_per_token_head") == token("fp8_per_token_head") == layers * heads * (2 * size + 8)
    assert token("int4_per_token_head") == layers * heads * (size + 8)
    assert token("nvfp4") == layers * heads * 2 * (size // 2 + size // 16)


@given(settings)
def test_a_model_without_attention_costs_the_same_at_any_length(engine: KvSettings) -> None:
    config = next(row["config"] for row in rows("vllm-oracle-more.jsonl") if row["name"] == "falcon_mamba")
    layout = kv_layout(read_architecture(config), engine)

    assert layout.bytes_per_token == 0
    assert layout.bytes_of_request(1) == layout.bytes_of_request(1 << 20) == layout.bytes_per_block
    assert not math.isinf(layout.pool(1 << 30).concurrency)
