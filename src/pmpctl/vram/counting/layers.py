"""The attention, MLP and experts of one decoder layer, with the sizes that config.json gives."""

from dataclasses import dataclass

from pmpctl.vram.attention_layers import head_count, head_size
from pmpctl.vram.config_reader import ConfigReader
from pmpctl.vram.counting.families import Family, QkNorm
from pmpctl.vram.counting.modules import Module, Part, Split, column, norm, row
from pmpctl.vram.layers import AttentionKv

FLOAT32_BYTES = 4


@dataclass(frozen=True, slots=True)
class Decoder:
    """What all layers of a model share."""

    config: ConfigReader
    model_type: str
    family: Family
    hidden: int


def attention(decoder: Decoder, cache: AttentionKv, prefix: str, *, heads: int | None = None) -> list[Module]:
    """vLLM: QKVParallelLinear and its RowParallelLinear."""
    config, family, hidden = decoder.config, decoder.family, decoder.hidden
    heads = heads or query_heads(config, cache)
    size, value_size, kv_heads = cache.head_size, cache.head_size_v, cache.kv_heads
    queries = heads * size * (2 if family.output_gate and decoder.model_type != "afmoe" else 1)
    bias = family.qkv_bias.of(config)
    part, width = Part.ATTENTION, attention_inputs(decoder)
    modules = [
        column(f"{prefix}.q_proj", part, queries, width, has_bias=bias),
        column(f"{prefix}.k_proj", part, kv_heads * size, width, has_bias=bias, groups=kv_heads, joined=True),
        column(f"{prefix}.v_proj", part, kv_heads * value_size, width, has_bias=bias, groups=kv_heads, joined=True),
        row(f"{prefix}.o_proj", part, hidden, heads * value_size, has_bias=family.output_bias.of(config)),
    ]
    if family.qk_norm is QkNorm.SIZE and family.qk_norm_if.of(config):
        modules += [norm(f"{prefix}.q_norm", size), norm(f"{prefix}.k_norm", size)]
    elif family.qk_norm is QkNorm.HEADS and family.qk_norm_if.of(config):
        modules += [norm(f"{prefix}.q_norm", heads * size, groups=heads)]
        modules += [norm(f"{prefix}.k_norm", kv_heads * size, groups=kv_heads)]
    if family.sinks or _has_sinks(config, cache):
        modules.append(Module(f"{prefix}.sinks", part, heads, split=Split.OUTPUTS))
    if decoder.model_type == "afmoe":
        modules.append(column(f"{prefix}.gate_proj", part, heads * size, hidden))
    if decoder.model_type == "laguna" or config.flag("use_head_wise_attn_gate"):
        modules.append(column(f"{prefix}.g_proj", part, heads, hidden))
    return modules


def _has_sinks(config: ConfigReader, cache: AttentionKv) -> bool:
    return config.flag("add_full_attention_sink_bias" if cache.window is None else "add_swa_attention_sink_bias")


def query_heads(config: ConfigReader, cache: AttentionKv) -> int:
    """Windowed layers may have more (vLLM: Step3p5DecoderLayer, MiMoV2FlashDecoderLayer)."""
    other = config.section("attention_other_setting")
    windowed = (
        other.optional_size("num_attention_heads")
        if other is not None
        else config.optional_size("swa_num_attention_heads")
    )
    return windowed if windowed and cache.window is not None else head_count(config)


def attention_inputs(decoder: Decoder) -> int:
    """Zamba 2's shared block reads the embedding beside the hidden state."""
    return 2 * decoder.hidden if decoder.model_type == "zamba2" else decoder.hidden


def latent_attention(decoder: Decoder, prefix: str) -> list[Module]:
    """vLLM: DeepseekV2MLAAttention; the compressing projections are whole on every rank."""
    config, hidden, part = decoder.config, decoder.hidden, Part.ATTENTION
    heads = head_count(config)
    nope, rope = config.count("qk_nope_head_dim"), config.count("qk_rope_head_dim")
    values, rank = config.count("v_head_dim") or head_size(config), config.size("kv_lora_rank")
    query_rank = config.optional_size("q_lora_rank")
    modules: list[Module] = []
    if query_rank:
        modules += [
            Module(f"{prefix}.q_a_proj", part, query_rank, hidden, quantizable=True),
            norm(f"{prefix}.q_a_layernorm", query_rank),
            column(f"{prefix}.q_b_proj", part, heads * (nope + rope), query_rank),
        ]
    else:
        modules.append(column(f"{prefix}.q_proj", part, heads * (nope + rope), hidden))
    modules += [
        Module(
            f"{prefix}.kv_a_proj_with_mqa", part, rank + rope, hidden, quantizable=True, joined=query_rank is not None
        ),
        norm(f"{prefix}.kv_a_layernorm", rank),
        column(f"{prefix}.kv_b_proj", part, heads * (nope + values), rank),
        row(f"{prefix}.o_proj", part, hidden, heads * values),
    ]
    if config.has("index_topk"):
        modules += _sparse_index(decoder, f"{prefix}.indexer", query_rank or hidden)
    return modules


def _sparse_index(decoder: Decoder, prefix: str, query_rank: int) -> list[Module]:
    """vLLM: the Indexer of DeepSeek V3.2, whole on every rank."""
    config = decoder.config
    heads, size = config.count("index_n_heads", otherwise=64), config.count("index_head_dim", otherwise=128)
    part = Part.ATTENTION
    return [
        Module(f"{prefix}.wq_b", part, heads * size, query_rank, quantizable=True),
        Module(f"{prefix}.wk", part, size, decoder.hidden, quantizable=True),
        norm(f"{prefix}.k_norm", size, bias=True),
        Module(f"{prefix}.weights_proj", part, heads, decoder.hidden),
    ]


def mlp(decoder: Decoder, prefix: str, width: int, *, part: Part = Part.MLP, gated: bool | None = None) -> list[Module]:
    family, hidden = decoder.family, decoder.hidden
    bias = family.mlp_bias.of(decoder.config)
    first = (
        [column(f"{prefix}.gate_proj", part, width, hidden, has_bias=bias)]
        if gated or (gated is None and family.gated)
        else []
    )
    return [
        *first,
        column(f"{prefix}.up_proj", part, width, hidden, has_bias=bias, joined=bool(first)),
        row(f"{prefix}.down_proj", part, hidden, width, has_bias=bias),
    ]


def experts(
    prefix: str, *, count: int, width: int, hidden: int, gated: bool = True, bias: bool = False, name: str = "experts"
) -> list[Module]:
    """vLLM: FusedMoE; each expert's matrices are split over the ranks."""
    path, part = f"{prefix}.{name}.0", Part.EXPERTS
    gate = [column(f"{path}.gate_proj", part, width, hidden, copies=count, has_bias=bias)] if gated else []
    return [
        *gate,
        column(f"{path}.up_proj", part, width, hidden, copies=count, has_bias=bias, joined=gated),
        row(f"{path}.down_proj", part, hidden, width, copies=count, has_bias=bias),
    ]


def router(prefix: str, *, count: int, hidden: int, float32: bool, bias: bool, correction: bool) -> list[Module]:
    width = FLOAT32_BYTES if float32 else None
    modules = [Module(f"{prefix}.gate", Part.ROUTER, count, hidden, has_bias=bias, element_bytes=width)]
    if correction:
        modules.append(
            Module(f"{prefix}.gate.e_score_correction_bias", Part.ROUTER, count, element_bytes=FLOAT32_BYTES)
        )
    return modules
