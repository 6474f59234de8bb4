"""Attention layers of a model from its configuration: heads, windows, chunks, latent vectors and reused caches."""

from collections.abc import Callable, Sequence

from pmpctl.vram.config_reader import LONGEST_CONTEXT, MOST_LAYERS, ConfigReader
from pmpctl.vram.layers import AttentionKv, LatentKv, LayerKv

LayerCaches = list[tuple[LayerKv, ...]]

SLIDING = "sliding_attention"
FULL = "full_attention"

LAYER_COUNT_NAMES = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
HIDDEN_SIZE_NAMES = ("hidden_size", "n_embd", "d_model", "dim")
HEAD_COUNT_NAMES = ("num_attention_heads", "n_head", "n_heads")
KV_HEAD_NAMES = ("n_head_kv", "num_kv_heads", "num_key_value_heads", "multi_query_group_num", "num_attention_groups")


def layer_count(config: ConfigReader) -> int:
    return config.size(*LAYER_COUNT_NAMES, at_most=MOST_LAYERS)


def head_count(config: ConfigReader) -> int:
    return config.size(*HEAD_COUNT_NAMES)


def kv_head_count(config: ConfigReader) -> int:
    """vLLM: ModelArchConfigConvertorBase.get_total_num_kv_heads, with Falcon's and GPTBigCode's own rules."""
    model_type = config.text("model_type")
    if model_type in ("falcon", "RefinedWeb", "RefinedWebModel"):
        if config.flag("multi_query") and not config.flag("new_decoder_architecture"):
            return 1
    elif model_type == "gpt_bigcode" and config.flag("multi_query", otherwise=True):
        return 1
    elif model_type == "dbrx":
        nested = config.section("attn_config")
        return (nested.optional_size("kv_n_heads") if nested else None) or head_count(config)
    return config.optional_size(*KV_HEAD_NAMES) or head_count(config)


def head_size(config: ConfigReader) -> int:
    """vLLM: ModelArchConfigConvertorBase.get_head_size, latent attention aside."""
    explicit = config.count("head_dim") or config.optional_size("hidden_size_per_head")
    return explicit or max(1, config.size(*HIDDEN_SIZE_NAMES) // head_count(config))


def plain(config: ConfigReader, *, window: int | None = None, chunk: int | None = None) -> AttentionKv:
    size = head_size(config)
    return AttentionKv(kv_head_count(config), size, size, window, chunk)


def window_of(config: ConfigReader) -> int | None:
    """The sliding window; 0 and null mean none, as does `use_sliding_window: false` where a class reads it."""
    if config.text("model_type") in USE_SLIDING_WINDOW_TYPES and not config.flag("use_sliding_window"):
        return None
    return config.count("sliding_window", at_most=LONGEST_CONTEXT) or None


USE_SLIDING_WINDOW_TYPES = frozenset(
    {"qwen2", "qwen2_moe", "qwen3", "qwen3_moe", "qwen2_vl", "qwen2_vl_text", "qwen2_5_vl", "qwen2_5_vl_text"}
)


LayerTypes = Sequence[object] | None
LayerTypesRule = Callable[[ConfigReader, int], LayerTypes]


def every(pattern: int, otherwise: str = SLIDING) -> LayerTypesRule:
    """Full attention in each `pattern`-th layer, for a class that derives `layer_types` where config.json has none."""
    return lambda _, layers: [FULL if (i + 1) % pattern == 0 else otherwise for i in range(layers)]


def every_said(name: str, otherwise_every: int) -> LayerTypesRule:
    """As `every`, with the pattern named by config.json: a number, or letters such as "LLLG"."""

    def rule(config: ConfigReader, layers: int) -> LayerTypes:
        said = config.value(name)
        if isinstance(said, str) and said:
            return [SLIDING if said[i % len(said)] == "L" else FULL for i in range(layers)]
        pattern = config.count(name, otherwise=otherwise_every)
        return every(pattern)(config, layers) if pattern else [FULL] * layers

    return rule


def first_of_four(_: ConfigReader, layers: int) -> LayerTypes:
    return [SLIDING if i % 4 else FULL for i in range(layers)]


def alternating(_: ConfigReader, layers: int) -> LayerTypes:
    return [FULL if i % 2 else SLIDING for i in range(layers)]


def from_max_window_layers(config: ConfigReader, layers: int) -> LayerTypes:
    if window_of(config) is None:
        return [FULL] * layers
    first = config.count("max_window_layers")
    return [SLIDING if i >= first else FULL for i in range(layers)]


def layer_types(config: ConfigReader, layers: int, rule: LayerTypesRule | None) -> LayerTypes:
    said = config.per_layer("layer_types", layers)
    if said is None and rule is not None:
        return rule(config, layers)
    return said


def windows(
    config: ConfigReader, layers: int, types: LayerTypes, *, window_offset: int = 0, model_wide: bool = True
) -> list[int | None]:
    """The window of each layer.

    A model without `layer_types`, or with sliding ones alone, has its window in every layer (vLLM:
    EngineArgs.create_engine_config); otherwise those of type "sliding_attention" have it (the models' own classes).
    """
    window = window_of(config)
    if window is None:
        return [None] * layers
    everywhere = window if model_wide and (types is None or all(each == SLIDING for each in types[:layers])) else None
    if types is None:
        return [everywhere] * layers
    return [window + window_offset if types[i] == SLIDING else everywhere for i in range(layers)]


def decoder(
    rule: LayerTypesRule | None = None, *, by_type: bool = True, window_offset: int = 0, model_wide: bool = True
) -> Callable[[ConfigReader], LayerCaches]:
    """A decoder of equal heads. `by_type=False`: its class in vLLM has no windows of single layers."""

    def read(config: ConfigReader) -> LayerCaches:
        layers = layer_count(config)
        types = layer_types(config, layers, rule)
        found = windows(config, layers, types, window_offset=window_offset, model_wide=model_wide)
        if not by_type and len(set(found)) > 1:
            found = [None] * layers
        return [(plain(config, window=each),) for each in found]

    return read


def gpt_oss(config: ConfigReader) -> LayerCaches:
    """vLLM's GptOss alternates by parity whatever `layer_types` says; those only tell whether the rest has a window."""
    layers = layer_count(config)
    window = window_of(config)
    rest = windows(config, layers, layer_types(config, layers, alternating))
    return [(plain(config, window=rest[i] if i % 2 else window),) for i in range(layers)]


def gemma3n(config: ConfigReader) -> LayerCaches:
    read = decoder(every(5))(config)
    return without_last(read, config.count("num_kv_shared_layers", at_most=MOST_LAYERS))


def gemma4(config: ConfigReader) -> LayerCaches:
    """Full layers have heads of their own; the last layers reuse the cache of earlier ones (vLLM: Gemma4Attention)."""
    layers = layer_count(config)
    types = list(layer_types(config, layers, every(6)) or ())[:layers]
    types[-1] = FULL
    full_size = config.count("global_head_dim", otherwise=512) or head_size(config)
    full_heads = config.optional_size("num_global_key_value_heads") if config.flag("attention_k_eq_v") else None
    full = AttentionKv(full_heads or kv_head_count(config), full_size, full_size)
    caches: LayerCaches = [
        (plain(config, window=window) if kind == SLIDING else full,)
        for kind, window in zip(types, windows(config, layers, types), strict=True)
    ]
    return without_last(caches, config.count("num_kv_shared_layers", at_most=MOST_LAYERS))


def without_last(caches: LayerCaches, reusing: int) -> LayerCaches:
    own = max(1, len(caches) - reusing)
    return [*caches[:own], *[()] * (len(caches) - own)]


def llama4(config: ConfigReader) -> LayerCaches:
    layers = layer_count(config)
    interval = config.count("no_rope_layer_interval", otherwise=4) or 4
    said = config.per_layer("no_rope_layers", layers) or [(i + 1) % interval != 0 for i in range(layers)]
    chunk = config.optional_size("attention_chunk_size", at_most=LONGEST_CONTEXT)
    return [(plain(config, chunk=chunk if said[i] else None),) for i in range(layers)]


def mimo_v2(config: ConfigReader) -> LayerCaches:
    """Windowed layers have heads of their own, and values are narrower than keys (vLLM: MiMoV2FlashDecoderLayer)."""
    layers = layer_count(config)
    sliding = config.per_layer("hybrid_layer_pattern", layers)
    if sliding is None:
        sliding = [i != 0 and (i + 1) % 6 != 0 for i in range(layers)]
    size = head_size(config)
    full = AttentionKv(kv_head_count(config), size, config.optional_size("v_head_dim") or size)
    own_size = config.optional_size("swa_head_dim") or size
    windowed = AttentionKv(
        config.optional_size("swa_num_key_value_heads") or full.kv_heads,
        own_size,
        config.optional_size("swa_v_head_dim") or own_size,
        window=config.optional_size("sliding_window_size", "sliding_window", at_most=LONGEST_CONTEXT),
    )
    return [(windowed if sliding[i] else full,) for i in range(layers)]


def step3p5(config: ConfigReader) -> LayerCaches:
    """Sliding layers may have heads of their own, in `attention_other_setting` (vLLM: Step3p5DecoderLayer)."""
    layers = layer_count(config)
    types = config.per_layer("layer_types", layers)
    other = config.section("attention_other_setting")
    window = window_of(config)
    caches: LayerCaches = []
    for i in range(layers):
        kind = types[i] if types else (SLIDING if i % 2 == 0 else FULL)
        special = other if other is not None and types and kind == other.text("attention_type") else config
        size = special.optional_size("head_dim") or head_size(config)
        heads = special.optional_size("num_attention_groups") or kv_head_count(config)
        caches.append((AttentionKv(heads, size, size, window=window if kind == SLIDING else None),))
    return caches


def exaone_moe(config: ConfigReader) -> LayerCaches:
    layers = layer_count(config)
    types = layer_types(config, layers, every_said("sliding_window_pattern", 4)) or ()
    own = config.per_layer("sliding_windows", layers)
    windows_said = config.whole_numbers("sliding_windows", at_most=LONGEST_CONTEXT) if own else None
    found = windows(config, layers, types)
    if windows_said:
        found = [windows_said[i] or None if types[i] != FULL else None for i in range(layers)]
    return [(plain(config, window=each),) for each in found]


def nemotron_nas(config: ConfigReader) -> LayerCaches:
    """Each block says how many query heads share a key, or that it has no attention (vLLM: DeciLMDecoderLayer)."""
    caches: LayerCaches = []
    for block in config.sections("block_configs")[: layer_count(config)]:
        attention = block.section("attention")
        if attention is None or attention.flag("no_op") or attention.flag("replace_with_linear"):
            caches.append(())
            continue
        heads = max(1, head_count(config) // attention.size("n_heads_in_group"))
        caches.append((AttentionKv(heads, head_size(config), head_size(config)),))
    return caches or decoder()(config)


def minicpm3(config: ConfigReader) -> LayerCaches:
    """vLLM does not keep MiniCPM3's latent vectors, but the full keys, and values padded to their size."""
    size = config.size("qk_nope_head_dim") + config.size("qk_rope_head_dim")
    return [(AttentionKv(head_count(config), size, size),)] * layer_count(config)


def latent(config: ConfigReader) -> LatentKv:
    """vLLM: MLAAttention.get_kv_cache_spec: the compressed vector and the rotary part, no separate value."""
    size = config.size("kv_lora_rank") + config.count("qk_rope_head_dim")
    return LatentKv(size, is_sparse=config.has("index_topk"))


def deepseek(config: ConfigReader) -> LayerCaches:
    """Latent attention; with `index_topk` an index beside it, of uint8 with a float32 scale each 128."""
    if not config.has("kv_lora_rank"):
        return decoder()(config)
    caches: tuple[LayerKv, ...] = (latent(config),)
    if config.has("index_topk"):
        width = config.count("index_head_dim", otherwise=128)
        caches += (LatentKv(width + width // 128 * 4, is_sparse=True, is_index=True),)
    return [caches] * layer_count(config)


def longcat(config: ConfigReader) -> LayerCaches:
    """Two attentions in each layer (vLLM: FlashDecoderLayer)."""
    return [(latent(config), latent(config))] * config.size("num_layers", "num_hidden_layers", at_most=MOST_LAYERS)
