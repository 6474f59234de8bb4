"""Vision towers and their projectors: what a multimodal model loads beside its text model."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from pmpctl.vram.config_reader import ConfigReader
from pmpctl.vram.counting.modules import Module, Part, column, row
from pmpctl.vram.counting.tower_blocks import (
    Sight,
    Tower,
    encoder,
    encoder_layer,
    llava_projector,
    matrix,
    merger,
    patch_embedding,
    sizes_of,
    split_projector,
    vector,
)


def siglip(sight: Sight) -> Tower:
    sizes = sizes_of(sight.vision, 768, 12, 12, 3072, 16, 224)
    modules = encoder(sight.root, sizes, class_token=False, post_norm=True)
    kind = sight.root.text("model_type")
    hidden = sizes.hidden
    if kind == "gemma3":
        modules += [
            Module("multi_modal_projector.mm_input_projection_weight", Part.PROJECTOR, hidden, sight.text_hidden),
            Module("multi_modal_projector.mm_soft_emb_norm", Part.PROJECTOR, hidden),
        ]
    elif kind == "paligemma":
        modules.append(matrix("multi_modal_projector.linear", sight.text_hidden, hidden))
    elif kind == "cohere2_vision":
        between = sight.root.count("alignment_intermediate_size", otherwise=36864)
        inputs = hidden * sight.root.count("downsample_factor", otherwise=2) ** 2
        modules.append(matrix("multi_modal_projector.linear_1", between, inputs))
        modules.append(matrix("multi_modal_projector.linear_2", sight.text_hidden, between // 2))
    elif kind in ("idefics3", "smolvlm"):
        scale = sight.root.count("scale_factor", otherwise=2)
        modules.append(matrix("connector.modality_projection", sight.text_hidden, hidden * scale**2, bias=False))
    elif kind == "paddleocr_vl":
        merged = hidden * sight.vision.count("spatial_merge_size", otherwise=2) ** 2
        modules += [
            Module("mlp_AR.pre_norm", Part.PROJECTOR, hidden, has_bias=True),
            matrix("mlp_AR.linear_1", merged, merged),
        ]
        modules.append(matrix("mlp_AR.linear_2", sight.text_hidden, merged))
    else:
        return Tower([*modules, *llava_projector(sight.root, hidden, sight.text_hidden)], known=kind in LLAVA_TYPES)
    return Tower(modules)


LLAVA_TYPES = ("llava", "llava_next", "llava_next_video", "llava_onevision")


def clip(sight: Sight) -> Tower:
    sizes = sizes_of(sight.vision, 1024, 24, 16, 4096, 14, 336)
    modules = encoder(sight.root, sizes, class_token=True, post_norm=True)
    return Tower([*modules, *llava_projector(sight.root, sizes.hidden, sight.text_hidden)])


def pixtral(sight: Sight) -> Tower:
    """vLLM: PixtralHFVisionModel, and Mistral3MultiModalProjector, which merges patches."""
    sizes = sizes_of(sight.vision, 1024, 24, 16, 4096, 14, 1024)
    hidden, path = sizes.hidden, "vision_tower"
    modules = [patch_embedding(path, sizes, bias=False), vector(f"{path}.ln_pre", hidden)]
    for i in range(sizes.layers):
        modules += encoder_layer(f"{path}.transformer.layers.{i}", sizes, bias=False, gated=True, norm_bias=False)
    if sight.root.text("model_type") != "mistral3":
        return Tower([*modules, *llava_projector(sight.root, hidden, sight.text_hidden)])
    merged = sight.root.count("spatial_merge_size", otherwise=2) ** 2
    bias = sight.root.flag("multimodal_projector_bias")
    return Tower(
        [
            *modules,
            Module("multi_modal_projector.norm", Part.PROJECTOR, hidden),
            matrix("multi_modal_projector.patch_merger.merging_layer", hidden, hidden * merged, bias=False),
            *split_projector(sight.text_hidden, hidden, sight.text_hidden, bias=bias),
        ]
    )


def qwen(sight: Sight) -> Tower:
    """vLLM: Qwen2VisionTransformer, Qwen2_5_VisionTransformer, Qwen3_VisionTransformer."""
    kind = sight.root.text("model_type")
    second = kind in ("qwen2_vl", "qwen2_5_vl", "qwen2_5_omni_thinker", "qwen2_5_omni", "exaone4_5")
    gated = kind.startswith("qwen2_5") or kind == "exaone4_5"
    sizes = sizes_of(
        sight.vision,
        1280 if second else 1152,
        32 if second else 27,
        16,
        3420 if gated else 5120 if second else 4304,
        14 if second else 16,
        224,
    )
    path, hidden = "visual", sizes.hidden
    merged = hidden * sight.vision.count("spatial_merge_size", otherwise=2) ** 2
    out = sight.vision.optional_size("hidden_size" if kind == "qwen2_vl" else "out_hidden_size") or sight.text_hidden
    frames = sight.vision.count("temporal_patch_size", otherwise=2)
    modules = [patch_embedding(path, sizes, frames=frames, bias=not second)]
    for i in range(sizes.layers):
        modules += encoder_layer(
            f"{path}.blocks.{i}",
            sizes,
            bias=True,
            gated=gated,
            norm_bias=not gated,
            kv_heads=sight.vision.count("num_key_value_heads"),
        )
    if not second:
        places = sight.vision.count("num_position_embeddings", otherwise=2304)
        modules.append(Module(f"{path}.pos_embed", Part.VISION, places, hidden))
        for i in range(len(sight.vision.items("deepstack_visual_indexes") or ())):
            modules += merger(f"{path}.deepstack_merger_list.{i}", merged, out, merged, norm_bias=True)
    return Tower([*modules, *merger(f"{path}.merger", merged, out, hidden, norm_bias=not gated)])


def glm(sight: Sight) -> Tower:
    """vLLM: Glm4vVisionTransformer; its blocks are as wide as `out_hidden_size` says."""
    sizes = sizes_of(sight.vision, 1536, 24, 12, 13696, 14, 336)
    path, hidden = "visual", sizes.hidden
    out = sight.vision.optional_size("out_hidden_size") or sight.text_hidden
    merge = sight.vision.count("spatial_merge_size", otherwise=2)
    is_ocr = sight.root.text("model_type") == "glm_ocr"
    blocks = sizes if is_ocr else replace(sizes, width=out)
    modules = [patch_embedding(path, sizes, frames=sight.vision.count("temporal_patch_size", otherwise=2), bias=True)]
    for i in range(sizes.layers):
        head_norms = hidden // max(1, sizes.heads) if is_ocr else 0
        bias = is_ocr and sight.vision.flag("attention_bias")
        modules += encoder_layer(
            f"{path}.blocks.{i}", blocks, bias=bias, gated=True, norm_bias=False, head_norms=head_norms
        )
    if not is_ocr:
        places = Module(f"{path}.embeddings", Part.VISION, sizes.patches, hidden)
        modules += [places, vector(f"{path}.post_conv_layernorm", hidden)]
    return Tower(
        [
            *modules,
            vector(f"{path}.post_layernorm", hidden),
            Module(f"{path}.downsample", Part.VISION, out, hidden * merge**2, has_bias=True),
            Module(f"{path}.merger.proj", Part.VISION, out, out, quantizable=True),
            vector(f"{path}.merger.post_projection_norm", out, bias=True),
            column(f"{path}.merger.gate_proj", Part.VISION, sizes.width, out),
            column(f"{path}.merger.up_proj", Part.VISION, sizes.width, out, joined=True),
            row(f"{path}.merger.down_proj", Part.VISION, out, sizes.width),
        ]
    )


def llama4(sight: Sight) -> Tower:
    """vLLM: Llama4VisionModel and its pixel-shuffling adapter."""
    sizes = sizes_of(sight.vision, 768, 34, 16, 5632, 14, 448)
    path, hidden = "vision_model", sizes.hidden
    between = sight.vision.count("projector_input_dim", otherwise=4096)
    out = sight.vision.count("projector_output_dim", otherwise=4096)
    modules = [
        Module(f"{path}.patch_embedding", Part.VISION, hidden, sizes.channels * sizes.patch**2),
        vector(f"{path}.class_embedding", hidden),
        Module(f"{path}.positional_embedding_vlm", Part.VISION, sizes.patches + 1, hidden),
        vector(f"{path}.layernorm_pre", hidden, bias=True),
        vector(f"{path}.layernorm_post", hidden, bias=True),
    ]
    for i in range(sizes.layers):
        modules += encoder_layer(f"{path}.model.layers.{i}", sizes, bias=True, gated=False, norm_bias=True)
    return Tower(
        [
            *modules,
            column(f"{path}.vision_adapter.mlp.fc1", Part.VISION, between, sizes.width),
            row(f"{path}.vision_adapter.mlp.fc2", Part.VISION, out, between),
            matrix(
                "multi_modal_projector.linear_1",
                sight.text_hidden,
                sight.vision.count("vision_output_dim", otherwise=7680),
                bias=False,
            ),
        ]
    )


def internvl(sight: Sight) -> Tower:
    """vLLM: InternVisionModel, or InternS1VisionModel for transformers' own spelling."""
    own = sight.root.text("model_type") == "internvl"
    sizes = sizes_of(
        sight.vision, 1024 if own else 3200, 24 if own else 45, 16 if own else 25, 4096 if own else 12800, 14, 448
    )
    path, hidden = "vision_tower", sizes.hidden
    bias = sight.vision.flag("attention_bias" if own else "qkv_bias")
    modules = [patch_embedding(path, sizes, bias=True), vector(f"{path}.cls_token", hidden)]
    modules.append(Module(f"{path}.position_embeddings", Part.VISION, sizes.patches + 1, hidden))
    normed = sight.vision.text("norm_type", "layer_norm" if own else "rms_norm") == "layer_norm"
    for i in range(sizes.layers):
        block = f"{path}.encoder.layer.{i}"
        modules += [
            *(vector(f"{block}.{name}", hidden) for name in ("lambda_1", "lambda_2")),
            *(vector(f"{block}.{name}", hidden, bias=normed) for name in ("layernorm_before", "layernorm_after")),
            column(f"{block}.attention.qkv", Part.VISION, 3 * hidden, hidden, has_bias=bias),
            row(f"{block}.attention.projection_layer", Part.VISION, hidden, hidden, has_bias=True),
            column(f"{block}.mlp.fc1", Part.VISION, sizes.width, hidden, has_bias=True),
            row(f"{block}.mlp.fc2", Part.VISION, hidden, sizes.width, has_bias=True),
        ]
        if sight.vision.flag("use_qk_norm") or sight.vision.flag("qk_normalization"):
            modules += [vector(f"{block}.attention.q_norm", hidden), vector(f"{block}.attention.k_norm", hidden)]
    merged = int(hidden / ((sight.root.number("downsample_ratio") or 0.5) ** 2))
    return Tower(
        [
            *modules,
            Module("multi_modal_projector.layer_norm", Part.PROJECTOR, merged, has_bias=True),
            matrix("multi_modal_projector.linear_1", sight.text_hidden, merged),
            matrix("multi_modal_projector.linear_2", sight.text_hidden, sight.text_hidden),
        ]
    )


def gemma4(sight: Sight) -> Tower:
    """vLLM: Gemma4VisionModel: a gated encoder with norms around each half and on its heads."""
    sizes = sizes_of(sight.vision, 768, 16, 12, 3072, 16, 224)
    path, hidden = "vision_tower", sizes.hidden
    size = sight.vision.count("head_dim", otherwise=64)
    kv = sight.vision.count("num_key_value_heads", otherwise=sizes.heads)
    clipped = 16 if sight.vision.flag("use_clipped_linears") else 0
    modules = [Module(f"{path}.patch_embedder.input_proj", Part.VISION, hidden, sizes.channels * sizes.patch**2)]
    places = sight.vision.count("position_embedding_size", otherwise=10240)
    modules.append(Module(f"{path}.patch_embedder.position_embedding_table", Part.VISION, 2 * places, hidden))
    for i in range(sizes.layers):
        block, part = f"{path}.encoder.layers.{i}", Part.VISION
        modules += [
            *(vector(f"{block}.norm_{number}", hidden) for number in range(4)),
            *(vector(f"{block}.self_attn.{name}_norm", size) for name in "qk"),
            column(f"{block}.self_attn.qkv_proj", part, (sizes.heads + 2 * kv) * size, hidden),
            row(f"{block}.self_attn.o_proj", part, hidden, sizes.heads * size),
            column(f"{block}.mlp.gate_up_proj", part, 2 * sizes.width, hidden),
            row(f"{block}.mlp.down_proj", part, hidden, sizes.width),
            *([vector(f"{block}.bounds", 7 * 4)] if clipped else []),
        ]
    if sight.vision.flag("standardize"):
        modules += [vector(f"{path}.std_bias", hidden), vector(f"{path}.std_scale", hidden)]
    return Tower([*modules, matrix("embed_vision.embedding_projection", sight.text_hidden, hidden, bias=False)])


def guessed(sight: Sight) -> Tower:
    """An unknown tower: a gated encoder with a generous projector, not less than what it is likely to hold."""
    sizes = sizes_of(sight.vision, 1280, 32, 16, 5120, 14, 448)
    modules = [patch_embedding("vision_tower", sizes, frames=2, bias=True)]
    modules.append(Module("vision_tower.positions", Part.VISION, max(sizes.patches, 2304), sizes.hidden))
    for i in range(sizes.layers):
        modules += encoder_layer(f"vision_tower.layers.{i}", sizes, bias=True, gated=True, norm_bias=True)
    merged = 4 * sizes.hidden
    projector = [matrix("multi_modal_projector.linear_1", max(merged, sight.text_hidden), merged)]
    projector.append(matrix("multi_modal_projector.linear_2", sight.text_hidden, max(merged, sight.text_hidden)))
    return Tower([*modules, *projector], known=False)


TowerReader = Callable[[Sight], Tower]

BY_VISION_TYPE: Mapping[str, TowerReader] = {
    "siglip_vision_model": siglip,
    "idefics3_vision": siglip,
    "smolvlm_vision": siglip,
    "paddleocr_vl_vision": siglip,
    "paddleocr_vl": siglip,
    "clip_vision_model": clip,
    "pixtral": pixtral,
    "llama4_vision_model": llama4,
    "internvl_vision": internvl,
    "intern_vit_6b": internvl,
    "gemma4_vision": gemma4,
}


def _each(model_types: str, reader: TowerReader) -> dict[str, TowerReader]:
    return dict.fromkeys(model_types.split(), reader)


BY_MODEL_TYPE: Mapping[str, TowerReader] = {
    **_each("qwen2_vl qwen2_5_vl qwen3_vl qwen3_vl_moe qwen3_5 qwen3_5_moe exaone4_5", qwen),
    **_each("glm4v glm4v_moe glm_ocr", glm),
    **_each("gemma3 paligemma cohere2_vision idefics3 smolvlm llava_onevision paddleocr_vl", siglip),
    **_each("llava llava_next llava_next_video", clip),
    **_each("mistral3 pixtral lightonocr", pixtral),
    "llama4": llama4,
    "internvl": internvl,
    "internvl_chat": internvl,
    "gemma4": gemma4,
}


def is_text_class(root: ConfigReader) -> bool:
    """Qwen3_5ForCausalLM and its like serve the text model alone, whatever else config.json describes."""
    named = root.items("architectures") or ("",)
    text_only = isinstance(named[0], str) and named[0].endswith("ForCausalLM")
    return text_only and root.text("model_type") in BY_MODEL_TYPE


def tower(root: ConfigReader, text_hidden: int) -> Tower:
    """Nothing for a model of text alone."""
    vision = root.section("vision_config") or root.section("visual")
    if vision is None or is_text_class(root):
        return Tower([], known=not root.has("audio_config"))
    read = BY_VISION_TYPE.get(vision.text("model_type")) or BY_MODEL_TYPE.get(root.text("model_type")) or guessed
    found = read(Sight(root, vision, text_hidden))
    return Tower(found.modules, known=found.known and not root.has("audio_config"))
