"""Which tensors of a checkpoint an engine holds, and how wide."""

import pytest

from pmpctl.vram.counting.modules import Part
from pmpctl.vram.counting.places import part_of
from pmpctl.vram.tensors import Tensor, TensorTable
from pmpctl.vram.weights import WeightsEstimate, estimate_weights

WIDTHS = {"BF16": 2, "F16": 2, "F32": 4, "I32": 4, "F8_E4M3": 1}
SMALL = {
    "architectures": ["Qwen3ForCausalLM"],
    "model_type": "qwen3",
    "num_hidden_layers": 2,
    "hidden_size": 64,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "intermediate_size": 128,
    "vocab_size": 1000,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
}
NORM = Tensor("model.norm.weight", "BF16", (64,), 128)


def tensor(name: str, *shape: int, dtype: str = "BF16") -> Tensor:
    size = WIDTHS[dtype]
    for each in shape:
        size *= each
    return Tensor(name, dtype, shape, size)


def held(*tensors: Tensor, ranks: int = 1, language_only: bool = False, **config: object) -> WeightsEstimate:
    table = TensorTable((NORM, *tensors))
    return estimate_weights(SMALL | config, table, tensor_parallel_size=ranks, language_only=language_only)


def bytes_of(*tensors: Tensor, ranks: int = 1, language_only: bool = False, **config: object) -> int:
    return held(*tensors, ranks=ranks, language_only=language_only, **config).bytes_per_rank - NORM.size_bytes


def test_a_tied_head_is_not_held_twice() -> None:
    head = tensor("lm_head.weight", 1024, 64)

    assert bytes_of(head, tie_word_embeddings=True) == 0
    assert bytes_of(head) == head.size_bytes


def test_layers_for_drafting_are_left_out() -> None:
    drafting = tensor("model.layers.2.mlp.up_proj.weight", 128, 64)

    assert bytes_of(drafting, num_nextn_predict_layers=1) == 0
    assert bytes_of(tensor("mtp.layers.0.mlp.up_proj.weight", 128, 64)) == 0


def test_what_is_computed_on_loading_is_not_loaded() -> None:
    assert bytes_of(tensor("model.layers.0.self_attn.rotary_emb.inv_freq", 8, dtype="F32")) == 0


def test_the_order_of_groups_is_kept_where_it_matters() -> None:
    order = tensor("model.layers.0.mlp.up_proj.g_idx", 64, dtype="I32")
    gptq = {"quant_method": "gptq", "bits": 4, "group_size": 32}

    assert bytes_of(order, quantization_config=gptq) == 0
    assert bytes_of(order, quantization_config=gptq | {"desc_act": True}) == order.size_bytes


def test_a_vision_tower_goes_with_images_alone() -> None:
    tower = tensor("model.vision_tower.transformer.layers.0.attention.q_proj.weight", 64, 64)
    projector = tensor("multi_modal_projector.linear_1.weight", 64, 64)

    assert bytes_of(tower, projector) == tower.size_bytes + projector.size_bytes
    assert bytes_of(tower, projector, language_only=True) == 0


def test_embeddings_are_padded_to_whole_blocks_of_the_vocabulary() -> None:
    assert bytes_of(tensor("model.embed_tokens.weight", 1000, 64)) == 1024 * 64 * 2


def test_weights_in_float32_are_cast_and_scales_are_not() -> None:
    assert bytes_of(tensor("model.layers.0.mlp.up_proj.weight", 128, 64, dtype="F32")) == 128 * 64 * 2
    assert bytes_of(tensor("model.layers.0.mlp.up_proj.weight_scale", 128, 1, dtype="F32")) == 128 * 4


def test_keys_are_repeated_where_ranks_outnumber_their_heads() -> None:
    shapes = {"q_proj": (64, 64), "k_proj": (32, 64), "v_proj": (32, 64), "o_proj": (64, 64)}
    attention = [tensor(f"model.layers.{i}.self_attn.{name}.weight", *shapes[name]) for i in (0, 1) for name in shapes]

    on_four = bytes_of(*attention, ranks=4)

    assert on_four == 2 * 2 * 64 * (16 + 16 + 16 + 16)


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("model.embed_tokens.weight", Part.EMBED),
        ("transformer.wte.weight", Part.EMBED),
        ("lm_head.weight", Part.LM_HEAD),
        ("output.weight", Part.LM_HEAD),
        ("model.layers.3.self_attn.q_proj.qweight", Part.ATTENTION),
        ("model.layers.3.self_attn.q_norm.weight", Part.NORMS),
        ("model.layers.3.mlp.gate_proj.weight", Part.MLP),
        ("model.layers.3.mlp.gate.weight", Part.ROUTER),
        ("model.layers.3.mlp.gate.e_score_correction_bias", Part.ROUTER),
        ("model.layers.3.mlp.shared_expert_gate.weight", Part.ROUTER),
        ("model.layers.3.mlp.shared_experts.up_proj.weight", Part.MLP),
        ("model.layers.3.mlp.experts.17.down_proj.weight_packed", Part.EXPERTS),
        ("model.layers.3.mlp.experts.gate_up_proj_blocks", Part.EXPERTS),
        ("model.layers.3.block_sparse_moe.experts.5.w2.weight", Part.EXPERTS),
        ("model.layers.3.linear_attn.in_proj_qkvz.weight", Part.STATE),
        ("backbone.layers.3.mixer.A_log", Part.STATE),
        ("visual.blocks.3.attn.qkv.weight", Part.VISION),
        ("model.vision_tower.encoder.layers.3.mlp.fc1.weight", Part.VISION),
        ("multi_modal_projector.linear_1.weight", Part.PROJECTOR),
        ("audio_tower.layers.3.fc1.weight", Part.AUDIO),
        ("model.norm.weight", Part.NORMS),
    ],
)
def test_each_tensor_belongs_to_a_part(name: str, part: Part) -> None:
    assert part_of(name) is part
