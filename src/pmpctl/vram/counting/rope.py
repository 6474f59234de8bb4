"""The tables of rotary positions, which vLLM computes on loading and keeps beside the weights."""

from collections.abc import Mapping

from pmpctl.vram.architecture import rope_type, text_section
from pmpctl.vram.attention_layers import FULL, SLIDING, head_count, head_size, layer_count
from pmpctl.vram.config_reader import LONGEST_CONTEXT, ConfigReader

TRANSFORMERS_CLASSES = """
    arcee cwm flex_olmo glm gpt_bigcode gpt_neox hunyuan_v1_dense hunyuan_v1_moe jais2 mellum olmo olmo2 olmo3 phi
    seed_oss smollm3 starcoder2 vaultgemma
"""
COMPUTED_ON_THE_FLY = frozenset(TRANSFORMERS_CLASSES.split())
"""vLLM serves these by transformers' classes, which keep no tables."""
WITHOUT = frozenset(
    {"bamba", "bloom", "gpt2", "jamba", "kimi_linear", "mamba", "mamba2", "falcon_mamba", "nemotron_h", "opt"}
)
TWO_TABLES = frozenset(
    {"gemma3_text", "gemma3n_text", "gemma4_text", "gemma4_unified_text", "mimo_v2", "mimo_v2_flash", "step3p5"}
)
CONTEXT_IF_UNSAID = 8192
FLOAT32_BYTES = 4


def rope_table_bytes(config: Mapping[str, object], element_bytes: int) -> int:
    """One table for each way in which layers rotate; every rank holds them whole (vLLM: get_rope)."""
    root = ConfigReader(config)
    text, model_type = text_section(root)
    if model_type in COMPUTED_ON_THE_FLY or model_type in WITHOUT or _is_off(text, model_type):
        return 0
    width = FLOAT32_BYTES if model_type == "gpt_oss" else element_bytes
    tables = {_table(text, model_type, kind) for kind in _kinds(text, model_type)}
    return sum(rows * columns for rows, columns, _ in tables) * width


def _is_off(text: ConfigReader, model_type: str) -> bool:
    if model_type == "zamba2":
        return not text.flag("use_mem_rope")
    if model_type == "granitemoehybrid" or text.says("position_embedding_type"):
        return text.text("position_embedding_type", "nope") == "nope"
    return text.flag("alibi") or not (text.has("num_attention_heads") or text.has("n_head") or text.has("n_heads"))


def _kinds(text: ConfigReader, model_type: str) -> set[str]:
    if model_type not in TWO_TABLES:
        return {FULL}
    said = text.per_layer("layer_types", layer_count(text))
    kinds = {each for each in said or (SLIDING, FULL) if each in (SLIDING, FULL)}
    return {str(each) for each in kinds} or {FULL}


def _table(text: ConfigReader, model_type: str, kind: str) -> tuple[int, int, str]:
    scaling = _scaling(text, kind, model_type)
    longest = text.optional_size(
        "max_position_embeddings", "n_positions", "max_seq_len", "seq_length", at_most=LONGEST_CONTEXT
    )
    rows = _rows(text, scaling, longest or CONTEXT_IF_UNSAID)
    return rows, _columns(text, model_type, kind, scaling), kind


def _scaling(text: ConfigReader, kind: str, model_type: str) -> ConfigReader:
    """The settings of one kind of layer; Gemma 3 scales the full layers alone."""
    found = text.section("rope_parameters") or text.section("rope_scaling")
    if found is None:
        return ConfigReader({})
    own = found.section(kind)
    if own is not None:
        return own
    return ConfigReader({}) if kind == SLIDING and model_type.startswith("gemma3") else found


def _rows(text: ConfigReader, scaling: ConfigReader, longest: int) -> int:
    kind = rope_type(scaling)
    original = scaling.optional_size("original_max_position_embeddings", at_most=LONGEST_CONTEXT)
    factor = scaling.number("factor") or 1.0
    if kind in ("linear", "dynamic"):
        return int(longest * factor)
    if kind in ("yarn", "deepseek_yarn"):
        return int((original or longest) * factor)
    if kind in ("longrope", "su"):
        return longest + (
            text.optional_size("original_max_position_embeddings", at_most=LONGEST_CONTEXT) or original or longest
        )
    return longest


def _columns(text: ConfigReader, model_type: str, kind: str, scaling: ConfigReader) -> int:
    if text.has("kv_lora_rank"):
        return text.count("qk_rope_head_dim")
    size = head_size(text)
    if model_type.startswith("gemma4") and kind == FULL:
        return text.count("global_head_dim", otherwise=512) or size
    if model_type == "zamba2":
        size = 2 * text.size("hidden_size") // head_count(text)
    said = text.optional_size("rotary_dim")
    if said is not None and model_type in ("minimax_m2", "gptj", "codegen"):
        return said
    share = scaling.number("partial_rotary_factor") or text.number("partial_rotary_factor") or text.number("rotary_pct")
    return int(size * (share or DEFAULT_SHARE.get(model_type, 1.0)))


DEFAULT_SHARE = {
    "glm4": 0.5,
    "glm4v_text": 0.5,
    "glm_ocr_text": 0.5,
    "glm4_moe": 0.5,
    "stablelm": 0.25,
    "qwen3_next": 0.25,
    "qwen3_5_text": 0.25,
    "qwen3_5_moe_text": 0.25,
    "nemotron": 0.5,
    "chatglm": 0.5,
}
