"""What single families have in their layers, or beside them, that no other has."""

from dataclasses import dataclass

from pmpctl.vram.attention_layers import FULL, head_count
from pmpctl.vram.counting.feed_forward import expert_count, mixture, mlp_width
from pmpctl.vram.counting.layers import FLOAT32_BYTES, Decoder, attention, experts, mlp, router
from pmpctl.vram.counting.mixers import mixer
from pmpctl.vram.counting.modules import Module, Part, Split, column, norm, padded, row
from pmpctl.vram.counting.states import mamba2
from pmpctl.vram.layers import AttentionKv, LayerKv, RecurrentKv


@dataclass(frozen=True, slots=True)
class Layer:
    decoder: Decoder
    caches: tuple[LayerKv, ...]
    index: int
    layers: int
    prefix: str


GEMMAS_WITH_INPUTS = ("gemma3n_text", "gemma4_text", "gemma4_unified_text")


def own_layer(layer: Layer) -> list[Module] | None:
    """The mixer and feed-forward of a layer that is built unlike all others; None for the usual."""
    build = OWN_LAYERS.get(layer.decoder.model_type)
    return None if build is None else build(layer)


def nemotron_h(layer: Layer) -> list[Module]:
    """Each layer is one thing: a state, attention, an MLP or experts (vLLM: NemotronHModel)."""
    decoder, prefix = layer.decoder, layer.prefix
    if layer.caches:
        return mixer(decoder, layer.caches, prefix)
    letters = decoder.config.text("hybrid_override_pattern")
    words = decoder.config.items("layers_block_type") or decoder.config.items("layer_types") or letters
    if words and layer.index < len(words) and words[layer.index] in ("E", "moe"):
        return mixture(decoder, f"{prefix}.mixer")
    width = mlp_width(decoder, layer.index)
    return mlp(decoder, f"{prefix}.mixer", width)


def granite_hybrid(layer: Layer) -> list[Module]:
    """Experts, where there are any, beside a shared MLP that is always there (vLLM: GraniteMoeHybridDecoderLayer)."""
    decoder, prefix = layer.decoder, layer.prefix
    modules = mixer(decoder, layer.caches, prefix)
    if expert_count(decoder.config) > 0:
        return modules + mixture(decoder, f"{prefix}.block_sparse_moe")
    return modules + mlp(decoder, f"{prefix}.shared_mlp", mlp_width(decoder, layer.index))


def gemma4(layer: Layer) -> list[Module]:
    """One that reuses another's cache has queries alone; its MLP may be wider (vLLM: Gemma4DecoderLayer)."""
    decoder, prefix = layer.decoder, layer.prefix
    config, hidden = decoder.config, decoder.hidden
    reuses = not layer.caches
    modules = (
        _gemma_queries(decoder, layer.index, layer.layers, prefix) if reuses else mixer(decoder, layer.caches, prefix)
    )
    width = mlp_width(decoder, layer.index) * (2 if reuses and config.flag("use_double_wide_mlp") else 1)
    modules += mlp(decoder, f"{prefix}.mlp", width)
    count = expert_count(config)
    if count and config.flag("enable_moe_block", otherwise=True):
        modules += mixture(decoder, f"{prefix}.moe")
        modules += [norm(f"{prefix}.moe_norm_{number}", hidden) for number in range(3)]
        modules += [norm(f"{prefix}.router.scale", hidden), norm(f"{prefix}.router.per_expert_scale", count)]
    return modules


def _gemma_queries(decoder: Decoder, index: int, layers: int, prefix: str) -> list[Module]:
    config, heads = decoder.config, head_count(decoder.config)
    said = config.per_layer("layer_types", layers)
    is_full = index == layers - 1 if said is None else said[index] == FULL
    is_full = is_full or (said is None and (index + 1) % (5 if decoder.model_type == "gemma3n_text" else 6) == 0)
    size = config.count("head_dim", otherwise=256)
    if is_full and decoder.model_type != "gemma3n_text":
        size = config.count("global_head_dim", otherwise=512) or size
    return [
        column(f"{prefix}.self_attn.q_proj", Part.ATTENTION, heads * size, decoder.hidden),
        row(f"{prefix}.self_attn.o_proj", Part.ATTENTION, decoder.hidden, heads * size),
        norm(f"{prefix}.self_attn.q_norm", size),
    ]


def gemma3n(layer: Layer) -> list[Module]:
    """Alternating updates of several hidden states, and a low-rank residual (vLLM: Gemma3nDecoderLayer)."""
    decoder, prefix = layer.decoder, layer.prefix
    config, hidden = decoder.config, decoder.hidden
    modules = (
        mixer(decoder, layer.caches, prefix)
        if layer.caches
        else _gemma_queries(decoder, layer.index, layer.layers, prefix)
    )
    modules += mlp(decoder, f"{prefix}.mlp", mlp_width(decoder, layer.index))
    inputs, rank = config.count("altup_num_inputs", otherwise=4), config.count("laurel_rank", otherwise=64)
    return [
        *modules,
        Module(f"{prefix}.altup.correction_coefs", Part.OTHER, inputs, inputs),
        Module(f"{prefix}.altup.prediction_coefs", Part.OTHER, inputs**2, inputs),
        Module(f"{prefix}.altup.modality_router", Part.OTHER, inputs, hidden),
        norm(f"{prefix}.altup.router_norm", hidden),
        Module(f"{prefix}.altup.correct_output_scale", Part.OTHER, hidden, element_bytes=FLOAT32_BYTES),
        column(f"{prefix}.laurel.linear_left", Part.OTHER, rank, hidden),
        row(f"{prefix}.laurel.linear_right", Part.OTHER, hidden, rank),
        norm(f"{prefix}.laurel.post_laurel_norm", hidden),
    ]


def zamba2(layer: Layer) -> list[Module]:
    """A state in each layer; a hybrid one has its own adapters to blocks that all share (vLLM: Zamba2HybridLayer)."""
    decoder, prefix = layer.decoder, layer.prefix
    modules = [
        module
        for cache in layer.caches
        if isinstance(cache, RecurrentKv)
        for module in mamba2(decoder, cache, f"{prefix}.mamba")
    ]
    if not any(isinstance(cache, AttentionKv) for cache in layer.caches):
        return modules
    config, hidden = decoder.config, decoder.hidden
    rank, width = config.count("adapter_rank", otherwise=128), _zamba2_width(decoder)
    modules += [Module(f"{prefix}.linear", Part.OTHER, hidden, hidden, quantizable=True)]
    adapters = [(2 * width, "mlp", hidden)]
    if config.flag("use_shared_attention_adapter"):
        adapters += [(2 * hidden, f"attention_{name}", 2 * hidden) for name in "qkv"]
    for outputs, name, inputs in adapters:
        modules += [
            Module(f"{prefix}.{name}_adapter.A", Part.OTHER, rank, inputs),
            column(f"{prefix}.{name}_adapter.B", Part.OTHER, outputs, rank),
        ]
    return modules


def _zamba2_width(decoder: Decoder) -> int:
    return decoder.config.optional_size("intermediate_size", "ffn_hidden_size") or 4 * decoder.hidden


def longcat(layer: Layer) -> list[Module]:
    """Two attentions and two MLPs, and experts, some of which hold nothing (vLLM: FlashDecoderLayer)."""
    decoder, prefix = layer.decoder, layer.prefix
    config = decoder.config
    width = config.size("expert_ffn_hidden_size", "moe_intermediate_size")
    modules = mixer(decoder, layer.caches, prefix)
    for number in range(2):
        modules += mlp(decoder, f"{prefix}.mlps.{number}", config.size("ffn_hidden_size", "intermediate_size"))
    routed, count = config.size("n_routed_experts"), config.size("n_routed_experts") + config.count("zero_expert_num")
    modules += router(f"{prefix}.mlp", count=count, hidden=decoder.hidden, float32=True, bias=False, correction=True)
    return modules + experts(f"{prefix}.mlp", count=routed, width=width, hidden=decoder.hidden)


def nemotron_nas(layer: Layer) -> list[Module]:
    """Each block says how wide it is, or that a half of it is missing (vLLM: DeciLMDecoderLayer)."""
    decoder, prefix = layer.decoder, layer.prefix
    hidden = decoder.hidden
    modules = [*mixer(decoder, layer.caches, prefix), norm(f"{prefix}.input_layernorm", hidden)] if layer.caches else []
    blocks = decoder.config.sections("block_configs")
    ffn = blocks[layer.index].section("ffn") if layer.index < len(blocks) else None
    if ffn is None or ffn.flag("no_op") or ffn.flag("replace_with_linear"):
        return modules
    multiple = ffn.number("ffn_mult")
    width = ffn.size("intermediate_size") if multiple is None else -(-int(2 * multiple * hidden / 3) // 256) * 256
    return [*modules, *mlp(decoder, f"{prefix}.mlp", width), norm(f"{prefix}.post_attention_layernorm", hidden)]


OWN_LAYERS = {
    "nemotron_h": nemotron_h,
    "nemotron-nas": nemotron_nas,
    "granitemoehybrid": granite_hybrid,
    "gemma4_text": gemma4,
    "gemma4_unified_text": gemma4,
    "gemma3n_text": gemma3n,
    "zamba2": zamba2,
    "longcat_flash": longcat,
}


def layer_extras(decoder: Decoder, prefix: str) -> list[Module]:
    hidden = decoder.hidden
    if decoder.model_type in GEMMAS_WITH_INPUTS:
        width = _inputs_width(decoder)
        if width:
            return [
                Module(f"{prefix}.per_layer_input_gate", Part.OTHER, width, hidden, quantizable=True),
                Module(f"{prefix}.per_layer_projection", Part.OTHER, hidden, width, quantizable=True),
                norm(f"{prefix}.post_per_layer_input_norm", hidden),
            ]
    if decoder.model_type == "apertus":
        return [Module(f"{prefix}.mlp.act_fn", Part.OTHER, 2)]
    return []


def _inputs_width(decoder: Decoder) -> int:
    return decoder.config.count("hidden_size_per_layer_input", otherwise=256)


def hidden_extras(decoder: Decoder, layers: int) -> list[Module]:
    """Beside the layers: embeddings for each layer, blocks that layers share."""
    config, hidden = decoder.config, decoder.hidden
    modules: list[Module] = []
    if decoder.model_type in GEMMAS_WITH_INPUTS and (width := _inputs_width(decoder)):
        vocabulary = config.count("vocab_size_per_layer_input", otherwise=262144)
        modules += [
            Module("embed_tokens_per_layer", Part.EMBED, padded(vocabulary), layers * width, Split.OUTPUTS),
            column("per_layer_model_projection", Part.OTHER, layers * width, hidden),
            norm("per_layer_projection_norm", width),
        ]
    if decoder.model_type == "gemma3n_text":
        between = config.count("altup_num_inputs", otherwise=4) - 1
        modules += [
            column(f"altup_{name}.{i}", Part.OTHER, hidden, hidden)
            for name in ("projections", "unembed_projections")
            for i in range(between)
        ]
    if decoder.model_type == "zamba2":
        size = config.optional_size("attention_head_dim") or 2 * hidden // head_count(config)
        cache = AttentionKv(config.optional_size("num_key_value_heads") or head_count(config), size, size)
        for i in range(config.count("num_mem_blocks", otherwise=1)):
            modules += attention(decoder, cache, f"shared.{i}.self_attn")
            modules += mlp(decoder, f"shared.{i}.feed_forward", _zamba2_width(decoder))
            modules += [norm(f"shared.{i}.input_layernorm", 2 * hidden), norm(f"shared.{i}.pre_ff_layernorm", hidden)]
    return modules
