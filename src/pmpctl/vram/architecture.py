"""A model's config.json, as it stands in the repository, to its `Architecture`; pure."""

import math
from collections.abc import Mapping

from pmpctl.errors import ModelConfigInvalid
from pmpctl.vram.attention_layers import (
    HIDDEN_SIZE_NAMES,
    LayerCaches,
    head_count,
    head_size,
    kv_head_count,
    layer_count,
)
from pmpctl.vram.config_defaults import CLASS_DEFAULTS
from pmpctl.vram.config_reader import CURE, LONGEST_CONTEXT, TEXT_SECTIONS, ConfigReader
from pmpctl.vram.families import FAMILIES, TEXT_MODEL_TYPES, type_of_architecture
from pmpctl.vram.layers import Architecture, AttentionKv, LatentKv, LayerKv, RecurrentKv
from pmpctl.vram.recurrent_layers import zamba2_head_size

SPELLED_DTYPES = {"half": "float16", "float": "float32", "fp16": "float16", "bf16": "bfloat16", "fp32": "float32"}
ATTENTION_FREE_TYPES = frozenset({"mamba", "mamba2", "falcon_mamba"})
# What must be said where the model is not nested: a class's default there would be a guess at a truncated file.
NOT_DEFAULTED = frozenset({"num_hidden_layers", "hidden_size", "num_attention_heads"})


def read_architecture(config: Mapping[str, object]) -> Architecture:
    """Never guesses in silence: what is not known is read as full attention in every layer and says so.

    Raises ModelConfigInvalid where layers, heads or sizes are missing or absurd.
    """
    root = ConfigReader(config)
    text, model_type = text_section(root)
    name = architecture_name(root, text)
    layers = FAMILIES.get(model_type)
    reason = "" if layers else unknown_reason(name, model_type)
    caches = layers(text) if layers else conservative(text)
    if not caches:
        raise ModelConfigInvalid("config.json describes a model without layers", cure=CURE)
    has_heads = any(not isinstance(cache, RecurrentKv) for each in caches for cache in each)
    limit = context_limit(text, model_type)
    return Architecture(
        name=name,
        model_type=model_type,
        layer_caches=tuple(caches),
        hidden_size=text.size(*HIDDEN_SIZE_NAMES),
        intermediate_size=intermediate_size(text),
        vocab_size=text.size("vocab_size", "padded_vocab_size"),
        attention_heads=head_count(text) if has_heads else 0,
        kv_heads=kv_head_count(text) if has_heads else 0,
        head_size=model_head_size(text, model_type, caches),
        dtype=dtype(root, text),
        kv_cache_dtype=kv_cache_dtype(root, text),
        context_limit=limit,
        default_context=default_context(root, text, limit),
        is_multimodal=is_multimodal(root),
        is_moe=is_moe(text),
        is_attention_free=model_type in ATTENTION_FREE_TYPES,
        known=not reason,
        unknown_reason=reason,
    )


def text_section(root: ConfigReader) -> tuple[ConfigReader, str]:
    """The text model's own section, with its class's defaults, and its type."""
    section, outer_type, nested = root, root.text("model_type"), False
    while (inner := next((found for name in TEXT_SECTIONS if (found := section.section(name))), None)) is not None:
        outer_type = section.text("model_type") or outer_type
        section, nested = inner, True
    said = (section.text("model_type"), type_of_architecture(first_architecture(section)), outer_type)
    candidates = [found for each in said for found in (each, TEXT_MODEL_TYPES.get(each, ""))]
    model_type = next((each for each in candidates if each in FAMILIES), said[0] or outer_type)
    defaults = CLASS_DEFAULTS.get(model_type, {})
    if not nested:
        defaults = {name: value for name, value in defaults.items() if name not in NOT_DEFAULTED}
    return section.read_as(model_type).with_defaults(defaults), model_type


def first_architecture(config: ConfigReader) -> str:
    found = config.items("architectures")
    return found[0] if found and isinstance(found[0], str) else ""


def architecture_name(root: ConfigReader, text: ConfigReader) -> str:
    return first_architecture(root) or first_architecture(text) or root.text("model_type")


def unknown_reason(name: str, model_type: str) -> str:
    called = name or model_type
    described = (
        f"The architecture {called} is not known here" if called else "config.json names neither architecture nor type"
    )
    return f"{described}: all of its layers are taken as full attention with the heads that config.json names."


def conservative(text: ConfigReader) -> LayerCaches:
    """Full attention in every layer: an upper bound for windows, latent vectors, shared caches and recurrent layers."""
    wide = max(
        head_size(text), text.count("v_head_dim"), text.count("qk_nope_head_dim") + text.count("qk_rope_head_dim")
    )
    heads = kv_head_count(text)
    cache: LayerKv = AttentionKv(heads, wide, wide)
    return [(cache,)] * layer_count(text)


def model_head_size(text: ConfigReader, model_type: str, caches: LayerCaches) -> int:
    """The head size vLLM takes for the model as a whole, by which it aligns the pages of hybrid models."""
    latent = next((cache for each in caches for cache in each if isinstance(cache, LatentKv)), None)
    if latent is not None:
        return latent.latent_size
    if not any(isinstance(cache, AttentionKv) for each in caches for cache in each):
        return 0
    return zamba2_head_size(text) if model_type == "zamba2" else head_size(text)


def intermediate_size(text: ConfigReader) -> int:
    """Of one MLP; 0 where the model has none. Where it varies by layer, the largest."""
    value = text.value("intermediate_size", "n_inner", "ffn_hidden_size", "ffn_dim", "moe_intermediate_size")
    if isinstance(value, list | tuple):
        sizes = [ConfigReader({"intermediate_size": each}).count("intermediate_size") for each in value]
        return max(sizes, default=0)
    return text.count("intermediate_size", "n_inner", "ffn_hidden_size", "ffn_dim", "moe_intermediate_size")


def dtype(root: ConfigReader, text: ConfigReader) -> str:
    """The dtype that `--dtype auto` serves: float32 checkpoints are cast down (vLLM: _resolve_auto_dtype)."""
    said = next(
        (found for reader in (root, text) for name in ("dtype", "torch_dtype") if (found := reader.text(name))), ""
    )
    said = said.removeprefix("torch.")
    said = SPELLED_DTYPES.get(said, said)
    return said if said in ("bfloat16", "float16") else "bfloat16"


def kv_cache_dtype(root: ConfigReader, text: ConfigReader) -> str:
    """A checkpoint quantized together with its cache says so (vLLM: get_kv_cache_quant_algo_string, Attention)."""
    quantization = (
        root.section("quantization_config")
        or root.section("compression_config")
        or text.section("quantization_config")
        or text.section("compression_config")
    )
    if quantization is None:
        return "auto"
    inner = quantization.section("quantization") or quantization
    for reader in (inner, quantization):
        scheme = reader.section("kv_cache_scheme")
        if scheme is not None and scheme.value("num_bits") == 8:
            return "fp8"
        algorithm = (reader.text("kv_cache_quant_algo") or reader.text("kv_cache_scheme")).lower()
        if algorithm in ("fp8", "nvfp4"):
            return algorithm
    return "auto"


CONTEXT_NAMES = (
    "max_position_embeddings",
    "n_positions",
    "max_seq_len",
    "seq_length",
    "model_max_length",
    "max_target_positions",
    "max_sequence_length",
    "max_seq_length",
    "seq_len",
)
# The position embeddings of these are already counted at their extended length.
ALREADY_SCALED = frozenset({"su", "longrope", "llama3", "yarn", "deepseek_yarn", "deepseek_llama_scaling"})
CONTEXT_IF_UNSAID = 2048


def context_limit(text: ConfigReader, model_type: str) -> int | None:
    """vLLM: derive_max_model_len_and_key and _get_and_verify_max_len."""
    names = [name for name in CONTEXT_NAMES if text.says(name)] or CONTEXT_NAMES
    said = [text.optional_size(name, at_most=LONGEST_CONTEXT) for name in names]
    lengths = [length for length in said if length is not None]
    limit = text.optional_size("model_max_length", at_most=LONGEST_CONTEXT) or min(lengths, default=None)
    if limit is None or "gemma3" in model_type:
        return limit
    return min(LONGEST_CONTEXT, math.floor(limit * rope_factor(text)))


def rope_sections(text: ConfigReader) -> list[ConfigReader]:
    """The rotary settings: one for the model, or one for each type of layer."""
    found = text.section("rope_parameters") or text.section("rope_scaling")
    if found is None:
        return []
    if found.has("rope_type") or found.has("type"):
        return [found]
    return text.sections("rope_parameters") or text.sections("rope_scaling")


def rope_type(section: ConfigReader) -> str:
    return section.text("rope_type") or section.text("type")


def rope_factor(text: ConfigReader) -> float:
    factor = 1.0
    for section in rope_sections(text):
        if rope_type(section) not in ALREADY_SCALED:
            factor = section.number("factor") or factor
    return factor


def default_context(root: ConfigReader, text: ConfigReader, limit: int | None) -> int:
    if any(rope_type(section) in ("longrope", "su") for section in rope_sections(text)):
        original = root.optional_size("original_max_position_embeddings", at_most=LONGEST_CONTEXT)
        return original or limit or CONTEXT_IF_UNSAID
    return limit or CONTEXT_IF_UNSAID


def is_multimodal(root: ConfigReader) -> bool:
    sections = ("vision_config", "audio_config", "visual", "vision_tower", "thinker_config")
    return any(root.has(name) for name in sections)


EXPERT_NAMES = ("num_experts", "moe_num_experts", "n_routed_experts", "num_local_experts")


def is_moe(text: ConfigReader) -> bool:
    value = text.value(*EXPERT_NAMES)
    if isinstance(value, list | tuple):
        value = value[0] if value else 0
    nested = text.section("ffn_config")
    return (isinstance(value, int) and value > 1) or (nested is not None and nested.has("moe_num_experts"))
