from typing import Any

import pytest

from pmpctl.errors import ModelConfigInvalid
from pmpctl.vram.architecture import read_architecture
from pmpctl.vram.kv_cache import kv_layout
from pmpctl.vram.kv_pages import KvSettings
from pmpctl.vram.layers import Architecture, AttentionKv, LatentKv, RecurrentKv

LLAMA: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "num_hidden_layers": 4,
    "hidden_size": 1024,
    "num_attention_heads": 16,
    "num_key_value_heads": 4,
    "intermediate_size": 4096,
    "vocab_size": 32001,
    "max_position_embeddings": 8192,
    "torch_dtype": "float16",
}


def windows(model: Architecture) -> list[int | None]:
    return [cache.window for cache in model.caches if isinstance(cache, AttentionKv)]


def test_a_plain_decoder_is_read_as_it_says() -> None:
    model = read_architecture(LLAMA)

    assert model.known
    assert model.caches == (AttentionKv(kv_heads=4, head_size=64, head_size_v=64),) * 4
    assert (model.dtype, model.vocab_size) == ("float16", 32001)
    assert (model.context_limit, model.default_context) == (8192, 8192)
    assert not model.is_multimodal
    assert not model.is_moe


def test_an_unknown_architecture_is_taken_as_full_attention_and_says_so() -> None:
    model = read_architecture(
        LLAMA | {"architectures": ["NovelForCausalLM"], "model_type": "novel", "sliding_window": 128}
    )

    assert not model.known
    assert "NovelForCausalLM" in model.unknown_reason
    assert model.caches == (AttentionKv(4, 64, 64),) * 4


def test_an_unknown_latent_attention_is_not_taken_for_less_than_its_full_heads() -> None:
    novel = LLAMA | {"architectures": ["NovelForCausalLM"], "model_type": "novel", "kv_lora_rank": 512}

    model = read_architecture(novel | {"qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128})

    assert model.caches[0] == AttentionKv(4, 192, 192)


def test_a_type_of_its_own_with_a_known_architecture_is_read_as_that() -> None:
    model = read_architecture(LLAMA | {"model_type": "mine"})

    assert (model.known, model.model_type) == (True, "llama")


@pytest.mark.parametrize(
    "damage",
    [
        {"num_hidden_layers": 0},
        {"num_hidden_layers": -1},
        {"num_hidden_layers": "32"},
        {"num_hidden_layers": 10**9},
        {"num_hidden_layers": None},
        {"hidden_size": 1.5},
        {"num_attention_heads": True},
        {"num_attention_heads": 0},
        {"vocab_size": 10**30},
        {"max_position_embeddings": "long"},
        {"layer_types": ["full_attention"]},
        {"layer_types": 7},
        {"sliding_window": -4},
        {"head_dim": float("nan")},
    ],
)
def test_absurd_numbers_are_refused_by_name(damage: dict[str, Any]) -> None:
    with pytest.raises(ModelConfigInvalid) as caught:
        read_architecture(LLAMA | damage)

    assert next(iter(damage)) in caught.value.message
    assert caught.value.cure


@pytest.mark.parametrize("missing", ["num_hidden_layers", "hidden_size", "num_attention_heads"])
def test_a_truncated_configuration_is_refused_rather_than_completed(missing: str) -> None:
    with pytest.raises(ModelConfigInvalid, match=missing):
        read_architecture({name: value for name, value in LLAMA.items() if name != missing})


def test_the_text_part_of_a_multimodal_model_may_say_little() -> None:
    model = read_architecture(
        {
            "architectures": ["Gemma3ForConditionalGeneration"],
            "model_type": "gemma3",
            "text_config": {
                "model_type": "gemma3_text",
                "num_hidden_layers": 34,
                "hidden_size": 2560,
                "sliding_window": 1024,
            },
            "vision_config": {"hidden_size": 1152},
            "torch_dtype": "bfloat16",
        }
    )

    assert (model.known, model.is_multimodal, model.kv_heads, model.head_size) == (True, True, 4, 256)
    assert windows(model) == [None if (i + 1) % 6 == 0 else 1024 for i in range(34)]


def test_null_switches_a_window_off_that_silence_leaves_on() -> None:
    mistral = LLAMA | {"architectures": ["MistralForCausalLM"], "model_type": "mistral"}

    assert windows(read_architecture(mistral)) == [4096] * 4
    assert windows(read_architecture(mistral | {"sliding_window": None})) == [None] * 4


def test_layers_that_reuse_a_cache_have_none() -> None:
    model = read_architecture(
        LLAMA
        | {
            "architectures": ["Gemma3nForCausalLM"],
            "model_type": "gemma3n_text",
            "num_hidden_layers": 10,
            "num_kv_shared_layers": 4,
        }
    )

    assert (model.layers, len(model.caches)) == (10, 6)


def test_heads_are_those_of_each_block_where_blocks_differ() -> None:
    def block(shared_by: int | None) -> dict[str, Any]:
        return {"attention": {"n_heads_in_group": shared_by, "no_op": shared_by is None}}

    model = read_architecture(
        LLAMA
        | {
            "architectures": ["DeciLMForCausalLM"],
            "model_type": "nemotron-nas",
            "num_key_value_heads": None,
            "block_configs": [block(8), block(None), block(4), block(None)],
        }
    )

    assert [cache.kv_heads for cache in model.caches if isinstance(cache, AttentionKv)] == [2, 4]


def test_sparse_attention_has_an_index_beside_its_latent_vector_and_packs_fp8() -> None:
    deepseek = {
        "architectures": ["DeepseekV32ForCausalLM"],
        "model_type": "deepseek_v32",
        "kv_lora_rank": 512,
        "qk_rope_head_dim": 64,
        "index_topk": 2048,
        "index_head_dim": 128,
    }
    model = read_architecture(LLAMA | deepseek)

    assert model.layer_caches[0] == (LatentKv(576, is_sparse=True), LatentKv(132, is_sparse=True, is_index=True))
    bf16 = kv_layout(model, KvSettings(max_model_len=4096, block_size=64))
    fp8 = kv_layout(model, KvSettings(max_model_len=4096, block_size=64, kv_cache_dtype="fp8"))
    assert bf16.bytes_per_token == 4 * (576 * 2 + 132)
    assert fp8.bytes_per_token == 4 * (656 + 132)
    assert len(fp8.groups) == 1


def test_states_are_split_over_ranks_and_their_groups_repeated() -> None:
    state = RecurrentKv(3, 8192, state_heads=64, state_rows=64, state_columns=128, conv_groups=1, conv_group_size=128)

    assert state.elements_per_rank(1) == (3 * (8192 + 2 * 128), 64 * 64 * 128)
    assert state.elements_per_rank(4) == (3 * (8192 + 2 * 4 * 128) // 4, 16 * 64 * 128)


def test_a_checkpoint_quantized_with_its_cache_says_so() -> None:
    scheme = {"quant_method": "compressed-tensors", "kv_cache_scheme": {"num_bits": 8, "type": "float"}}

    model = read_architecture(LLAMA | {"quantization_config": scheme})

    half = kv_layout(model, KvSettings(max_model_len=4096)).bytes_per_token
    assert model.kv_cache_dtype == "fp8"
    assert half * 2 == kv_layout(model, KvSettings(max_model_len=4096, kv_cache_dtype="bfloat16")).bytes_per_token


@pytest.mark.parametrize(
    ("rope", "limit"),
    [
        ({"rope_type": "linear", "factor": 2.5}, 20480),
        ({"type": "dynamic", "factor": 2.0}, 16384),
        ({"rope_type": "yarn", "factor": 4.0}, 8192),
        ({"rope_type": "llama3", "factor": 8.0}, 8192),
    ],
)
def test_the_context_limit_grows_with_rope_scaling_unless_it_is_counted_already(
    rope: dict[str, Any], limit: int
) -> None:
    assert read_architecture(LLAMA | {"rope_scaling": rope}).context_limit == limit


def test_longrope_starts_at_its_original_length_and_may_be_stretched() -> None:
    phi = LLAMA | {"max_position_embeddings": 131072, "original_max_position_embeddings": 4096}

    model = read_architecture(phi | {"rope_scaling": {"type": "longrope"}})

    assert (model.default_context, model.context_limit) == (4096, 131072)
