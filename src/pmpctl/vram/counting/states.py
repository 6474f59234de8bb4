"""Layers that keep a recurrent state instead of attention; their sizes are those of the state."""

from dataclasses import replace

from pmpctl.vram.counting.layers import FLOAT32_BYTES, Decoder
from pmpctl.vram.counting.modules import Module, Part, Split, column, norm, row
from pmpctl.vram.layers import RecurrentKv


def mamba1(decoder: Decoder, state: RecurrentKv, prefix: str) -> list[Module]:
    """vLLM: MambaMixer."""
    config, hidden, part = decoder.config, decoder.hidden, Part.STATE
    inner, states = state.conv_channels, state.state_columns
    rank = config.value("time_step_rank", "mamba_dt_rank")
    steps = -(-hidden // 16) if rank in (None, "auto") else config.size("time_step_rank", "mamba_dt_rank")
    bias = config.flag("use_bias") or config.flag("mamba_proj_bias")
    modules = [
        column(f"{prefix}.in_proj", part, 2 * inner, hidden, has_bias=bias),
        _convolution(
            prefix,
            inner,
            state,
            bias=config.flag("use_conv_bias", otherwise=config.flag("mamba_conv_bias", otherwise=True)),
        ),
        Module(f"{prefix}.x_proj", part, steps + 2 * states, inner, Split.INPUTS, quantizable=True),
        Module(f"{prefix}.dt_proj", part, inner, steps, Split.OUTPUTS, has_bias=True),
        Module(f"{prefix}.A", part, inner, states, Split.OUTPUTS, element_bytes=FLOAT32_BYTES),
        Module(f"{prefix}.D", part, inner, split=Split.OUTPUTS),
        row(f"{prefix}.out_proj", part, hidden, inner, has_bias=bias),
    ]
    if decoder.model_type == "jamba":
        modules += [norm(f"{prefix}.dt_layernorm", steps), norm(f"{prefix}.b_layernorm", states)]
        modules.append(norm(f"{prefix}.c_layernorm", states))
    return modules


def _convolution(prefix: str, channels: int, state: RecurrentKv, *, bias: bool) -> Module:
    return Module(f"{prefix}.conv1d", Part.STATE, channels, state.conv_steps + 1, Split.OUTPUTS, has_bias=bias)


def mamba2(decoder: Decoder, state: RecurrentKv, prefix: str) -> list[Module]:
    """vLLM: MambaMixer2; groups that do not divide by the ranks are repeated."""
    config, hidden, part = decoder.config, decoder.hidden, Part.STATE
    inner, heads = state.conv_channels, state.state_heads
    grouped = state.conv_groups * state.conv_group_size
    bias = config.flag("use_bias") or config.flag("mamba_proj_bias") or config.flag("add_bias_linear")
    conv_bias = config.flag("use_conv_bias", otherwise=config.flag("mamba_conv_bias", otherwise=True))
    modules = [
        column(f"{prefix}.in_proj", part, 2 * inner + heads, hidden, has_bias=bias),
        _convolution(prefix, inner, state, bias=conv_bias),
    ]
    for _ in ("B", "C"):
        modules += [
            column(f"{prefix}.in_proj", part, grouped, hidden, has_bias=bias, joined=True, groups=state.conv_groups),
            replace(_convolution(prefix, grouped, state, bias=conv_bias), groups=state.conv_groups),
        ]
    modules += [
        Module(f"{prefix}.A", part, heads, split=Split.OUTPUTS, element_bytes=FLOAT32_BYTES),
        Module(f"{prefix}.D", part, heads, split=Split.OUTPUTS),
        Module(f"{prefix}.dt_bias", part, heads, split=Split.OUTPUTS),
        row(f"{prefix}.out_proj", part, hidden, inner, has_bias=bias),
    ]
    if decoder.model_type != "falcon_h1" or config.flag("mamba_rms_norm"):
        modules.append(Module(f"{prefix}.norm", Part.NORMS, inner, split=Split.OUTPUTS))
    return modules


def delta_net(decoder: Decoder, state: RecurrentKv, prefix: str) -> list[Module]:
    """vLLM: GatedDeltaNetAttention of Qwen3-Next and Qwen3.5."""
    hidden, part = decoder.hidden, Part.STATE
    values = state.state_heads * state.state_rows
    heads = state.state_heads
    return [
        column(f"{prefix}.in_proj_qkvz", part, state.conv_channels + values, hidden),
        column(f"{prefix}.in_proj_ba", part, 2 * heads, hidden),
        _convolution(prefix, state.conv_channels, state, bias=False),
        Module(f"{prefix}.dt_bias", part, heads, split=Split.OUTPUTS),
        Module(f"{prefix}.A_log", part, heads, split=Split.OUTPUTS, element_bytes=FLOAT32_BYTES),
        norm(f"{prefix}.norm", state.state_rows),
        row(f"{prefix}.out_proj", part, hidden, values),
    ]


def short_convolution(decoder: Decoder, state: RecurrentKv, prefix: str) -> list[Module]:
    """vLLM: ShortConv of LFM 2."""
    inner, bias = state.conv_channels, decoder.config.flag("conv_bias")
    return [
        column(f"{prefix}.in_proj", Part.STATE, 3 * inner, decoder.hidden, has_bias=bias),
        _convolution(prefix, inner, state, bias=bias),
        row(f"{prefix}.out_proj", Part.STATE, decoder.hidden, inner, has_bias=bias),
    ]


def kimi_delta(decoder: Decoder, state: RecurrentKv, prefix: str) -> list[Module]:
    """vLLM: KimiDeltaAttention."""
    hidden, part = decoder.hidden, Part.STATE
    heads, size = state.state_heads, state.state_rows
    inner = heads * size
    return [
        *(column(f"{prefix}.{name}_proj", part, inner, hidden, joined=name != "q") for name in "qkv"),
        *(Module(f"{prefix}.{name}_conv1d", part, inner, state.conv_steps + 1, Split.OUTPUTS) for name in "qkv"),
        *(Module(f"{prefix}.{name}_a_proj", part, size, hidden, quantizable=True) for name in "fg"),
        *(column(f"{prefix}.{name}_b_proj", part, inner, size) for name in "fg"),
        Module(f"{prefix}.dt_bias", part, inner, split=Split.OUTPUTS, element_bytes=FLOAT32_BYTES),
        column(f"{prefix}.b_proj", part, heads, hidden),
        Module(f"{prefix}.A_log", part, heads, split=Split.OUTPUTS, element_bytes=FLOAT32_BYTES),
        norm(f"{prefix}.o_norm", size),
        row(f"{prefix}.o_proj", part, hidden, inner),
    ]


def lightning(decoder: Decoder, state: RecurrentKv, prefix: str) -> list[Module]:
    """vLLM: BailingMoELinearAttention."""
    hidden, inner = decoder.hidden, state.state_heads * state.state_rows
    return [
        column(f"{prefix}.query_key_value", Part.STATE, 3 * inner, hidden),
        column(f"{prefix}.g_proj", Part.STATE, inner, hidden),
        norm(f"{prefix}.g_norm", inner),
        norm(f"{prefix}.query_layernorm", state.state_rows),
        norm(f"{prefix}.key_layernorm", state.state_rows),
        row(f"{prefix}.dense", Part.STATE, hidden, inner),
    ]


RECURRENT_BLOCKS = {
    "mamba": mamba1,
    "falcon_mamba": mamba1,
    "jamba": mamba1,
    "qwen3_next": delta_net,
    "qwen3_5_text": delta_net,
    "qwen3_5_moe_text": delta_net,
    "olmo_hybrid": delta_net,
    "lfm2": short_convolution,
    "lfm2_moe": short_convolution,
    "kimi_linear": kimi_delta,
    "bailing_hybrid": lightning,
}
