"""Weights of any configuration: no crash but the named error, and what must hold for every model."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pmpctl.errors import ModelConfigInvalid
from pmpctl.vram.counting.families import WEIGHT_FAMILIES
from pmpctl.vram.tensors import Tensor, TensorTable
from pmpctl.vram.weights import WeightsEstimate, estimate_weights
from tests.unit.vram.oracle import rows

CONFIGS = [row["config"] for row in rows("vllm-oracle.jsonl")]
CONFIGS += [row["config"] for row in rows("vllm-weights.jsonl") if "config" in row]
FIELDS = sorted({name for config in CONFIGS for name in config} | {"vision_config", "block_configs", "ffn_config"})
INNER_FIELDS = sorted(
    {name for config in CONFIGS for each in config.values() if isinstance(each, dict) for name in each}
    | {"quant_method", "config_groups", "dynamic", "extra_config", "exclude_modules", "layer_quant_config"}
)
METHODS = ["awq", "gptq", "fp8", "compressed-tensors", "modelopt", "mxfp4", "quark", "bitsandbytes", "auto-round"]

words = st.sampled_from([*sorted(WEIGHT_FAMILIES), *METHODS, "re:(", "re:.*mlp", "*.gate", "lm_head", "NVFP4", "group"])
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | words,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.sampled_from(INNER_FIELDS), inner, max_size=6),
    max_leaves=12,
)
damages = st.dictionaries(st.sampled_from(FIELDS), anything, max_size=3)
ranks = st.sampled_from([1, 2, 3, 4, 8, 16])
tensors = st.builds(
    Tensor,
    st.sampled_from(
        ["lm_head.weight", "model.layers.0.mlp.gate.weight", "model.layers.61.eh_proj.weight", "visual.x", ""]
    ),
    st.sampled_from(["BF16", "F32", "I32", "F8_E4M3", "F4", "?"]),
    st.lists(st.integers(0, 1 << 40), max_size=4).map(tuple),
    st.integers(0, 1 << 50),
    st.integers(1, 1 << 12),
)


def weights_if_valid(config: dict[str, Any], **more: Any) -> WeightsEstimate | None:
    try:
        return estimate_weights(config, **more)
    except ModelConfigInvalid as error:
        assert error.cure
        return None


@given(st.dictionaries(st.sampled_from(FIELDS), anything, max_size=12), ranks)
def test_no_configuration_does_more_than_raise_the_named_error(config: dict[str, Any], tensor_parallel: int) -> None:
    weights_if_valid(config, tensor_parallel_size=tensor_parallel)


@given(st.sampled_from(CONFIGS), damages, ranks, st.booleans())
def test_a_damaged_configuration_of_a_real_model_does_no_more_either(
    config: dict[str, Any], damage: dict[str, Any], tensor_parallel: int, language_only: bool
) -> None:
    weights = weights_if_valid(config | damage, tensor_parallel_size=tensor_parallel, language_only=language_only)

    if weights is not None:
        assert all(held >= 0 for held in weights.by_part.values())
        assert weights.loaded_bytes >= weights.bytes_per_rank


@given(
    st.sampled_from(CONFIGS),
    st.dictionaries(st.sampled_from(INNER_FIELDS), anything, max_size=6),
    st.sampled_from(METHODS),
)
def test_a_quantization_may_say_anything(config: dict[str, Any], said: dict[str, Any], method: str) -> None:
    weights_if_valid(config | {"quantization_config": said | {"quant_method": method}})


@given(st.sampled_from(CONFIGS), st.lists(tensors, max_size=6), ranks)
def test_tensors_of_any_name_and_shape_are_counted(
    config: dict[str, Any], listed: list[Tensor], tensor_parallel: int
) -> None:
    weights = estimate_weights(config, TensorTable(tuple(listed)), tensor_parallel_size=tensor_parallel)

    assert weights.source == "tensors"
    assert weights.bytes_per_rank >= 0


@given(st.sampled_from(CONFIGS), ranks)
def test_ranks_share_the_weights_and_repeat_some(config: dict[str, Any], tensor_parallel: int) -> None:
    whole = estimate_weights(config).bytes_per_rank
    on_rank = estimate_weights(config, tensor_parallel_size=tensor_parallel).bytes_per_rank

    assert whole <= on_rank * tensor_parallel <= whole * tensor_parallel


@given(st.sampled_from(CONFIGS))
def test_a_model_without_its_tower_is_no_larger(config: dict[str, Any]) -> None:
    seeing, blind = estimate_weights(config), estimate_weights(config, language_only=True)

    assert blind.bytes_per_rank <= seeing.bytes_per_rank


@given(st.sampled_from([config for config in CONFIGS if "quantization_config" not in config]))
def test_quantizing_on_loading_never_adds(config: dict[str, Any]) -> None:
    plain, halved = estimate_weights(config), estimate_weights(config, quantization="fp8")

    assert halved.bytes_per_rank <= plain.bytes_per_rank
