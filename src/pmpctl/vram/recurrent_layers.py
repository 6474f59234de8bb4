"""Layers with a recurrent state beside, or instead of, attention; shapes after vLLM's MambaStateShapeCalculator."""

from collections.abc import Callable, Iterable

from pmpctl.errors import ModelConfigInvalid
from pmpctl.vram.attention_layers import (
    HIDDEN_SIZE_NAMES,
    LayerCaches,
    deepseek,
    head_count,
    latent,
    layer_count,
    plain,
    window_of,
)
from pmpctl.vram.config_reader import CURE, ConfigReader
from pmpctl.vram.layers import LayerKv, RecurrentKv

ATTENTION_TYPES = frozenset({"full_attention", "attention", "sliding_attention"})
STATE_DTYPES = frozenset({"auto", "float32", "float16", "bfloat16"})


def state_dtype(config: ConfigReader, name: str, otherwise: str) -> str:
    said = config.text(name, otherwise)
    return said if said in STATE_DTYPES else "float32"


def mixed(state: RecurrentKv, attends: Iterable[bool], attention: LayerKv) -> LayerCaches:
    return [(attention,) if each else (state,) for each in attends]


def mamba1_state(channels: int, state_size: int, kernel: int) -> RecurrentKv:
    return RecurrentKv(kernel - 1, channels, state_heads=channels, state_rows=1, state_columns=state_size)


def mamba2_state(
    *, channels: int, groups: int, heads: int, head_size: int, state_size: int, kernel: int, dtype: str = "auto"
) -> RecurrentKv:
    """In align mode its prefill exports one more block (vLLM: MambaMixer2.get_kv_cache_spec)."""
    return RecurrentKv(
        conv_steps=kernel - 1,
        conv_channels=channels,
        state_heads=heads,
        state_rows=head_size,
        state_columns=state_size,
        conv_groups=groups,
        conv_group_size=state_size,
        state_dtype=dtype,
        checkpoint_blocks=1,
    )


def delta_net_state(config: ConfigReader, dtype: str = "auto") -> RecurrentKv:
    """vLLM: gated_delta_net_state_shape."""
    keys, values = config.size("linear_num_key_heads"), config.size("linear_num_value_heads")
    key_size, value_size = config.size("linear_key_head_dim"), config.size("linear_value_head_dim")
    return RecurrentKv(
        conv_steps=config.size("linear_conv_kernel_dim") - 1,
        conv_channels=2 * keys * key_size + values * value_size,
        state_heads=values,
        state_rows=value_size,
        state_columns=key_size,
        state_dtype=dtype,
    )


def linear_types(config: ConfigReader, layers: int, interval_name: str, otherwise: int) -> list[bool]:
    """Which layers attend: by `layer_types`, else each `interval`-th."""
    said = config.per_layer("layer_types", layers)
    if said is not None:
        return [said[i] in ATTENTION_TYPES for i in range(layers)]
    interval = config.count(interval_name, otherwise=otherwise) or otherwise
    return [(i + 1) % interval == 0 for i in range(layers)]


def qwen_next(config: ConfigReader) -> LayerCaches:
    """Qwen3-Next keeps its state in the model's dtype, Qwen3.5 in `mamba_ssm_dtype`."""
    state = delta_net_state(config, state_dtype(config, "mamba_ssm_dtype", "auto"))
    attends = linear_types(config, layer_count(config), "full_attention_interval", 4)
    return mixed(state, attends, plain(config))


def olmo_hybrid(config: ConfigReader) -> LayerCaches:
    heads = head_count(config)
    keys = config.optional_size("linear_num_key_heads") or heads
    key_size = config.optional_size("linear_key_head_dim") or int(0.75 * config.size(*HIDDEN_SIZE_NAMES) / keys)
    defaults = {
        "linear_num_key_heads": heads,
        "linear_num_value_heads": heads,
        "linear_key_head_dim": key_size,
        "linear_value_head_dim": 2 * key_size,
        "linear_conv_kernel_dim": 4,
    }
    named = {name: config.value(name) or value for name, value in defaults.items()}
    attends = linear_types(config, layer_count(config), "full_attention_interval", 4)
    return mixed(delta_net_state(ConfigReader(named)), attends, plain(config))


def nemotron_h(config: ConfigReader) -> LayerCaches:
    """A letter a layer: M state, * attention, the rest MLP; or the same in words."""
    dtype = state_dtype(config, "mamba_ssm_cache_dtype", "float32")
    heads, size = config.size("mamba_num_heads"), config.size("mamba_head_dim")
    state = mamba2_state(
        channels=heads * size,
        groups=config.size("n_groups", "mamba_n_groups"),
        heads=heads,
        head_size=size,
        state_size=config.size("ssm_state_size"),
        kernel=config.size("conv_kernel", "mamba_d_conv"),
        dtype=dtype,
    )
    attention = plain(config, window=window_of(config))
    letters = config.text("hybrid_override_pattern")
    words = config.items("layers_block_type") or config.items("layer_types") or letters or ("linear_attention",)
    return [
        (state,)
        if each in ("M", "mamba", "linear_attention")
        else (attention,)
        if each in ("*", *ATTENTION_TYPES)
        else ()
        for each in words
    ]


def hybrid_mamba2(config: ConfigReader) -> RecurrentKv:
    """The field names of Bamba, Granite 4 and Falcon-H1."""
    inner = config.optional_size("mamba_d_ssm") or int(
        (config.number("mamba_expand") or 2) * config.size("hidden_size")
    )
    heads = config.size("mamba_n_heads")
    said = config.value("mamba_d_head")
    return mamba2_state(
        channels=inner,
        groups=config.size("mamba_n_groups"),
        heads=heads,
        head_size=max(1, inner // heads) if said in (None, "auto") else config.size("mamba_d_head"),
        state_size=config.size("mamba_d_state"),
        kernel=config.size("mamba_d_conv"),
    )


def granite_hybrid(config: ConfigReader) -> LayerCaches:
    layers = layer_count(config)
    said = config.per_layer("layer_types", layers) or config.per_layer("layers_block_type", layers)
    attends = [said[i] in ATTENTION_TYPES for i in range(layers)] if said else [False] * layers
    return mixed(hybrid_mamba2(config), attends, plain(config))


def bamba(config: ConfigReader) -> LayerCaches:
    attending = config.whole_numbers("attn_layer_indices") or ()
    return mixed(hybrid_mamba2(config), [i in attending for i in range(layer_count(config))], plain(config))


def falcon_h1(config: ConfigReader) -> LayerCaches:
    """Attention and state side by side in each layer."""
    return [(plain(config), hybrid_mamba2(config))] * layer_count(config)


def jamba(config: ConfigReader) -> LayerCaches:
    layers = layer_count(config)
    period = config.size("attn_layer_period")
    offset = config.count("attn_layer_offset")
    inner = int((config.number("mamba_expand") or 2) * config.size("hidden_size"))
    state = mamba1_state(inner, config.size("mamba_d_state"), config.size("mamba_d_conv"))
    return mixed(state, [i % period == offset for i in range(layers)], plain(config))


def mamba(config: ConfigReader) -> LayerCaches:
    inner = config.optional_size("intermediate_size")
    inner = inner or int((config.number("expand") or 2) * config.size(*HIDDEN_SIZE_NAMES))
    state = mamba1_state(inner, config.size("state_size"), config.size("conv_kernel"))
    return [(state,)] * layer_count(config)


def mamba2(config: ConfigReader) -> LayerCaches:
    heads = config.size("num_heads")
    state = mamba2_state(
        channels=int((config.number("expand") or 2) * config.size(*HIDDEN_SIZE_NAMES)),
        groups=config.size("n_groups"),
        heads=heads,
        head_size=config.size("head_dim"),
        state_size=config.size("state_size"),
        kernel=config.size("conv_kernel"),
    )
    return [(state,)] * layer_count(config)


def zamba2(config: ConfigReader) -> LayerCaches:
    """A state in every layer, and before it, in the hybrid ones, attention over twice the hidden size."""
    layers = layer_count(config)
    hidden, heads = config.size("hidden_size"), config.size("n_mamba_heads")
    inner = int((config.number("mamba_expand") or 2) * hidden)
    state = mamba2_state(
        channels=inner,
        groups=config.size("mamba_ngroups"),
        heads=heads,
        head_size=max(1, inner // heads),
        state_size=config.size("mamba_d_state"),
        kernel=config.size("mamba_d_conv"),
    )
    size = zamba2_head_size(config)
    attention = plain(ConfigReader({"head_dim": size}, {name: config.value(name) for name in ZAMBA2_HEADS}))
    said = config.per_layer("layers_block_type", layers)
    ids = config.whole_numbers("hybrid_layer_ids")
    if said is None and ids is None:
        raise ModelConfigInvalid("config.json does not say which layers attend (`layers_block_type`)", cure=CURE)
    hybrid = {i for i in range(layers) if said[i] == "hybrid"} if said is not None else set(ids or ())
    return [(attention, state) if i in hybrid else (state,) for i in range(layers)]


ZAMBA2_HEADS = ("model_type", "hidden_size", "num_attention_heads", "num_key_value_heads")


def zamba2_head_size(config: ConfigReader) -> int:
    return config.optional_size("attention_head_dim") or 2 * config.size("hidden_size") // head_count(config)


def lfm2(*conv_size_names: str) -> Callable[[ConfigReader], LayerCaches]:
    """Short convolutions: a convolution's state and no recurrence."""

    def read(config: ConfigReader) -> LayerCaches:
        layers = layer_count(config)
        said = config.per_layer("layer_types", layers)
        attending = config.whole_numbers("full_attn_idxs")
        state = RecurrentKv(config.size("conv_L_cache") - 1, config.size(*conv_size_names))
        if said is not None:
            attends = [said[i] in ATTENTION_TYPES for i in range(layers)]
        else:
            attends = [attending is None or i in attending for i in range(layers)]
        return mixed(state, attends, plain(config))

    return read


def kimi_linear(config: ConfigReader) -> LayerCaches:
    """Kimi's delta attention (state in float32) between layers of latent attention; layers are counted from 1."""
    section = config.section("linear_attn_config")
    if section is None:
        return deepseek(config)
    heads, size = section.size("num_heads"), section.size("head_dim")
    state = RecurrentKv(
        conv_steps=section.size("short_conv_kernel_size") - 1,
        conv_channels=3 * heads * size,
        state_heads=heads,
        state_rows=size,
        state_columns=size,
        state_dtype="float32",
    )
    linear = set(section.whole_numbers("kda_layers") or ())
    return mixed(state, [i + 1 not in linear for i in range(layer_count(config))], latent(config))


def bailing_linear(config: ConfigReader) -> LayerCaches:
    """Lightning attention (one matrix a head, in the model's dtype) between layers of latent attention."""
    group = config.count("layer_group_size", otherwise=1)
    heads = head_count(config)
    size = config.optional_size("head_dim") or config.size(*HIDDEN_SIZE_NAMES) // heads
    state = RecurrentKv(0, 0, heads, size, size, forces_fp32_on_cpu=False)
    attends = [group <= 0 or (i + 1) % group == 0 for i in range(layer_count(config))]
    return mixed(state, attends, latent(config))
