"""Which reader knows the layers of which model type; whatever is not here is estimated and marked as unknown."""

from collections.abc import Callable, Mapping

from pmpctl.vram import attention_layers as attention
from pmpctl.vram import recurrent_layers as recurrent
from pmpctl.vram.attention_layers import LayerCaches, decoder, every, every_said
from pmpctl.vram.config_reader import ConfigReader

LayersReader = Callable[[ConfigReader], LayerCaches]

PLAIN_DECODERS = """
    apertus aquila arcee baichuan bailing_moe bloom chatglm codegen cohere dbrx deepseek ernie4_5 ernie4_5_moe
    ernie4_5_vl_moe_text exaone falcon flex_olmo gemma glm glm4 glm4_moe glm4v_moe_text glm4v_text
    glm_ocr_text gpt2 gpt_bigcode gpt_neox gptj granite granitemoe granitemoeshared hunyuan hunyuan_v1_dense
    hunyuan_v1_moe hunyuan_vl_text hy_v3 hyperclovax internlm internlm2 internlm3 iquestcoder jais2 llama mimo
    minicpm minimax_m2 ministral ministral3 mistral nemotron olmo olmo2 olmoe opt orion paddleocr_vl_text
    persimmon phi phi3 phimoe qwen qwen2_5_omni_text qwen3_omni_moe_text qwen3_vl_moe_text qwen3_vl_text
    RefinedWeb RefinedWebModel seed_oss smollm3 solar stablelm starcoder2 step1 step3_text telechat telechat2
    telechat3 teleflm xverse
"""

FAMILIES: Mapping[str, LayersReader] = {
    **dict.fromkeys(PLAIN_DECODERS.split(), decoder()),
    **dict.fromkeys(
        ("qwen2", "qwen2_moe", "qwen2_vl", "qwen2_vl_text"), decoder(attention.from_max_window_layers, by_type=False)
    ),
    **dict.fromkeys(
        ("qwen2_5_vl", "qwen2_5_vl_text", "qwen3"), decoder(attention.from_max_window_layers, by_type=False)
    ),
    **dict.fromkeys(("qwen3_moe", "mixtral"), decoder(by_type=False)),
    **dict.fromkeys(
        ("deepseek_v2", "deepseek_v3", "deepseek_v32", "kimi_k2", "axk1", "glm4_moe_lite"), attention.deepseek
    ),
    **dict.fromkeys(("glm_moe_dsa", "deepseek_vl_v2", "sarvam_mla", "pangu_ultra_moe"), attention.deepseek),
    **dict.fromkeys(("gemma4_text", "gemma4_unified_text"), attention.gemma4),
    **dict.fromkeys(("qwen3_next", "qwen3_5_text", "qwen3_5_moe_text"), recurrent.qwen_next),
    **dict.fromkeys(("cwm", "granite_swa", "granitemoe_swa"), decoder(attention.first_of_four)),
    **dict.fromkeys(("gemma2", "vaultgemma"), decoder(attention.alternating)),
    **dict.fromkeys(("mamba", "falcon_mamba"), recurrent.mamba),
    **dict.fromkeys(("mimo_v2_flash", "mimo_v2"), attention.mimo_v2),
    "afmoe": decoder(every_said("global_attn_every_n_layers", 4)),
    "bailing_hybrid": recurrent.bailing_linear,
    "bamba": recurrent.bamba,
    # vLLM adds one to Cohere 2's window: the model counts the token itself as outside it.
    "cohere2": decoder(every_said("sliding_window_pattern", 4), window_offset=1),
    "cohere2_moe": decoder(every_said("sliding_window_pattern", 4), window_offset=1),
    "exaone4": decoder(every_said("sliding_window_pattern", 4)),
    "exaone_moe": attention.exaone_moe,
    "falcon_h1": recurrent.falcon_h1,
    "gemma3_text": decoder(every_said("sliding_window_pattern", 6)),
    "gemma3n_text": attention.gemma3n,
    "gpt_oss": attention.gpt_oss,
    "granitemoehybrid": recurrent.granite_hybrid,
    "jamba": recurrent.jamba,
    "kimi_linear": recurrent.kimi_linear,
    "laguna": decoder(every(1), model_wide=False),
    "lfm2": recurrent.lfm2("conv_dim", "hidden_size"),
    "lfm2_moe": recurrent.lfm2("hidden_size"),
    "llama4_text": attention.llama4,
    "longcat_flash": attention.longcat,
    "mellum": decoder(every(1)),
    "mamba2": recurrent.mamba2,
    "minicpm3": attention.minicpm3,
    "nemotron-nas": attention.nemotron_nas,
    "nemotron_h": recurrent.nemotron_h,
    "olmo3": decoder(every(4)),
    "olmo_hybrid": recurrent.olmo_hybrid,
    "step3p5": attention.step3p5,
    "zamba2": recurrent.zamba2,
}

TEXT_MODEL_TYPES: Mapping[str, str] = {
    "aria": "llama",
    "ernie4_5_moe_vl": "ernie4_5_vl_moe_text",
    "exaone4_5": "exaone4",
    "gemma3": "gemma3_text",
    "gemma3n": "gemma3n_text",
    "gemma4": "gemma4_text",
    "gemma4_unified": "gemma4_unified_text",
    "glm4v": "glm4v_text",
    "glm4v_moe": "glm4v_moe_text",
    "glm_ocr": "glm_ocr_text",
    "hunyuan_vl": "hunyuan_vl_text",
    "idefics3": "llama",
    "internvl_chat": "qwen2",
    "kimi_k25": "deepseek_v3",
    "kimi_vl": "deepseek_v3",
    "lfm2_vl": "lfm2",
    "llama4": "llama4_text",
    "llava": "llama",
    "llava_next": "llama",
    "llava_next_video": "llama",
    "llava_onevision": "qwen2",
    "mistral3": "mistral",
    "nemotron_h_nano_vl_v2": "nemotron_h",
    "paddleocr_vl": "paddleocr_vl_text",
    "paligemma": "gemma",
    "pixtral": "mistral",
    "qwen2_5_omni": "qwen2",
    "qwen3_5": "qwen3_5_text",
    "qwen3_5_moe": "qwen3_5_moe_text",
    "qwen3_omni_moe": "qwen3_omni_moe_text",
    "qwen3_vl": "qwen3_vl_text",
    "qwen3_vl_moe": "qwen3_vl_moe_text",
    "smolvlm": "llama",
}
"""The text model inside a multimodal one, where its section does not name its own type."""

OWN_NAMES: Mapping[str, str] = {
    "bailingmoev25": "bailing_hybrid",
    "decilm": "nemotron-nas",
    "longcatflashngram": "longcat_flash",
    "mimov2flash": "mimo_v2_flash",
    "nemotronhnanovlv2": "nemotron_h",
}
"""Architectures, squashed, that are not called like their type."""

TYPES_BY_SQUASHED_NAME: Mapping[str, str] = {
    **{each.replace("_", "").lower(): each for each in (*TEXT_MODEL_TYPES, *FAMILIES)},
    **OWN_NAMES,
}


def type_of_architecture(architecture: str) -> str:
    """The type of, say, "Glm4MoeForCausalLM", for configurations that name none, or one of their own."""
    name = architecture.split("For")[0].removesuffix("LMHeadModel").removesuffix("Model")
    return TYPES_BY_SQUASHED_NAME.get(name.replace("_", "").lower(), "")
