"""Which of a checkpoint's tensors the engine loads, and which part of the model each belongs to."""

import re

from pmpctl.vram.counting.modules import Part

# What is computed, or belongs to training or to drafting, is not loaded.
NEVER_LOADED = re.compile(
    r"rotary_emb\.|rope\.freqs$|\.masked_bias$|\.attn\.bias$|(^|\.)mtp(_layers|_block|\.|$)|(^|\.)nextn|(^|\.)eagle|"
    r"(^|\.)model_mtp\.|num_batches_tracked$|position_ids$"
)
DECODER_LAYER = re.compile(r"^(?:model\.|language_model\.|backbone\.)*layers\.(\d+)\.")
VISION = re.compile(
    r"(^|\.)(visual|vision_tower|vision_model|vision_encoder|vision_embed_tokens|vpm|vit|image_newline|img_processor)(\.|$)"
)
AUDIO = re.compile(r"(^|\.)(audio_tower|audio_encoder|audio_model|embed_audio|audio)(\.|$)")
PROJECTOR = re.compile(
    r"(^|\.)(multi_modal_projector|mm_projector|connector|embed_vision|mlp1|mlp_AR|patch_merger|merger|resampler)(\.|$)"
)
EMBEDDING = re.compile(
    r"(^|\.)(embed_tokens\w*|wte|word_embeddings|embeddings?|embed_in|tok_embeddings)\.(weight|qweight|scales|qzeros)"
)
HEAD = re.compile(r"(^|\.)(lm_head|output|embed_out)\.")
EXPERT = re.compile(r"\.experts?\.|\.routed_experts\.|block_sparse_moe\.(input|output)_linear")
ROUTER = re.compile(
    r"\.(gate|router|classifier|shared_expert_gate|gate_gate|expert_bias|e_score_correction_bias|wg)(\.(weight|bias|proj|layer|scale|wg|e_score\w*)\b.*)?$"
)
NORM = re.compile(r"(norm|layernorm|ln_\w+|ln|layer_norm\d?|_norm\d?|norm\d)(\.(weight|bias))?$")
STATE = re.compile(r"\.(linear_attn|mixer|mamba|conv|ssm|short_conv)\.")
ATTENTION = re.compile(r"attn|attention|\.(q|k|v|o|qkv)_proj\.|query_key_value|\.indexer\.")
LAYERS = re.compile(r"(^|\.)(layers|h|blocks|encoder|decoder)\.")


def is_loaded(name: str, *, drafting: range, is_tied: bool, language_only: bool) -> bool:
    """A tied head is a copy, and layers that only draft are left out (vLLM: AutoWeightsLoader's skip_prefixes)."""
    if NEVER_LOADED.search(name):
        return False
    if VISION.search(name) or AUDIO.search(name):
        return not language_only
    if language_only and PROJECTOR.search(name):
        return False
    if is_tied and HEAD.search(name) and not LAYERS.search(name):
        return False
    layer = DECODER_LAYER.search(name)
    return layer is None or int(layer.group(1)) not in drafting


def part_of(name: str) -> Part:
    for pattern, part in ((VISION, Part.VISION), (AUDIO, Part.AUDIO), (PROJECTOR, Part.PROJECTOR)):
        if pattern.search(name):
            return part
    if not LAYERS.search(name):
        if EMBEDDING.search(name):
            return Part.EMBED
        if HEAD.search(name):
            return Part.LM_HEAD
        return Part.NORMS if NORM.search(name) else Part.OTHER
    if ROUTER.search(name):
        return Part.ROUTER
    if EXPERT.search(name):
        return Part.EXPERTS
    if NORM.search(name):
        return Part.NORMS
    if STATE.search(name):
        return Part.STATE
    return Part.ATTENTION if ATTENTION.search(name) else Part.MLP
