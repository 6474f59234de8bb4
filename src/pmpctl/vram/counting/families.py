"""What the layers of each model type are made of beyond their sizes; the classes of vLLM's `model_executor/models`."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from pmpctl.vram.config_reader import ConfigReader


class QkNorm(StrEnum):
    NONE = "none"
    SIZE = "size"
    """One weight of the head's size for all heads."""
    HEADS = "heads"
    """A weight for each head."""


@dataclass(frozen=True, slots=True)
class Flag:
    """A yes or no that config.json may say under a name of its own."""

    name: str
    otherwise: bool = False

    def of(self, config: ConfigReader) -> bool:
        return config.flag(self.name, otherwise=self.otherwise)


YES = Flag("", otherwise=True)
NO = Flag("")
ATTENTION_BIAS = Flag("attention_bias")
MLP_BIAS = Flag("mlp_bias")


@dataclass(frozen=True, slots=True)
class Family:
    qkv_bias: Flag = NO
    output_bias: Flag = NO
    qk_norm: QkNorm = QkNorm.NONE
    qk_norm_if: Flag = YES
    norms: int = 2
    """Of the hidden size, in each layer."""
    norm_bias: bool = False
    final_norm: bool = True
    gated: bool = True
    mlp_bias: Flag = NO
    tied: bool = False
    """Whether embedding and head are one where config.json does not say."""
    head_bias: Flag = NO
    output_gate: bool = False
    """Queries come with a gate as wide as themselves."""
    sinks: bool = False
    """One number for each head."""
    router_bias: bool = False
    router_float32: bool = False
    correction_bias: Flag = NO
    expert_bias: bool = False
    shared_gate: bool = False
    widening: int = 0
    """The MLP is so many times the hidden size where config.json does not say."""
    positions_offset: int | None = None
    """Learned positions, so many more than the context."""
    embedding_norm: bool = False


LLAMA = Family(qkv_bias=ATTENTION_BIAS, output_bias=ATTENTION_BIAS, mlp_bias=MLP_BIAS)
PLAIN = Family()
QWEN3 = Family(qkv_bias=ATTENTION_BIAS, qk_norm=QkNorm.SIZE)
QWEN_NEXT = replace(QWEN3, output_gate=True, shared_gate=True)
QWEN2 = Family(qkv_bias=YES)
GEMMA = Family(qkv_bias=ATTENTION_BIAS, output_bias=ATTENTION_BIAS, tied=True)
OLMO = Family(qkv_bias=ATTENTION_BIAS, output_bias=ATTENTION_BIAS)
OLMO2 = replace(OLMO, qk_norm=QkNorm.HEADS)
GRANITE = replace(LLAMA, tied=True)
DEEPSEEK = Family(correction_bias=Flag("_noaux_tc"))
GPT = Family(qkv_bias=YES, output_bias=YES, mlp_bias=YES, norm_bias=True, gated=False, widening=4, tied=True)
EXAONE = Family(qk_norm=QkNorm.SIZE)
GLM4_MOE = Family(
    qkv_bias=ATTENTION_BIAS,
    qk_norm=QkNorm.SIZE,
    qk_norm_if=Flag("use_qk_norm"),
    router_float32=True,
    correction_bias=YES,
)
ERNIE = Family(qkv_bias=Flag("use_bias"), output_bias=Flag("use_bias"), mlp_bias=Flag("use_bias"), tied=True)
HUNYUAN = Family(
    qkv_bias=ATTENTION_BIAS,
    output_bias=ATTENTION_BIAS,
    qk_norm=QkNorm.SIZE,
    qk_norm_if=Flag("use_qk_norm", otherwise=True),
)


def _each(model_types: str, family: Family) -> dict[str, Family]:
    return dict.fromkeys(model_types.split(), family)


WEIGHT_FAMILIES: Mapping[str, Family] = {
    **_each("llama iquestcoder internlm solar cwm teleflm telechat3 exaone hyperclovax", LLAMA),
    **_each("mistral ministral ministral3 mixtral phi3 internlm2 baichuan aquila xverse step1", PLAIN),
    **_each("qwen2 qwen2_vl qwen2_vl_text qwen2_5_vl qwen2_5_vl_text mimo qwen2_5_omni_text", QWEN2),
    **_each("qwen3 qwen3_moe qwen3_vl_text qwen3_vl_moe_text qwen3_omni_moe_text", QWEN3),
    **_each("qwen3_next qwen3_5_text qwen3_5_moe_text", QWEN_NEXT),
    **_each("granite granitemoe granitemoeshared granitemoehybrid bamba", LLAMA),
    **_each("deepseek deepseek_v2 deepseek_v3 deepseek_v32 kimi_k2 deepseek_vl_v2", DEEPSEEK),
    **_each("olmo2 olmo3 olmo_hybrid flex_olmo olmoe", OLMO2),
    **_each("hunyuan hunyuan_v1_dense hunyuan_v1_moe hunyuan_vl_text", HUNYUAN),
    **_each("gpt2 gpt_bigcode", replace(GPT, positions_offset=0)),
    **_each(
        "falcon RefinedWeb RefinedWebModel",
        replace(GPT, qkv_bias=Flag("bias"), output_bias=Flag("bias"), mlp_bias=Flag("bias")),
    ),
    **_each("glm4_moe glm4v_moe_text", GLM4_MOE),
    **_each("granite_swa granitemoe_swa", replace(GRANITE, sinks=True)),
    **_each("qwen2_moe", replace(QWEN2, qkv_bias=Flag("qkv_bias", otherwise=True), shared_gate=True)),
    "glm": Family(qkv_bias=ATTENTION_BIAS),
    **_each("ernie4_5_moe ernie4_5_vl_moe_text", replace(ERNIE, router_float32=True, correction_bias=YES)),
    **_each(
        "cohere cohere2 cohere2_moe",
        Family(
            qkv_bias=ATTENTION_BIAS,
            output_bias=ATTENTION_BIAS,
            norms=1,
            tied=True,
            qk_norm=QkNorm.HEADS,
            qk_norm_if=Flag("use_qk_norm"),
        ),
    ),
    **_each("mamba falcon_mamba mamba2", Family(norms=1, tied=True)),
    "lfm2": Family(qk_norm=QkNorm.SIZE, tied=True),
    "lfm2_moe": Family(qk_norm=QkNorm.SIZE, tied=True, correction_bias=Flag("use_expert_bias", otherwise=True)),
    "afmoe": Family(qk_norm=QkNorm.SIZE, norms=4, output_gate=True, correction_bias=YES, router_float32=True),
    "apertus": Family(
        qkv_bias=ATTENTION_BIAS, output_bias=ATTENTION_BIAS, mlp_bias=MLP_BIAS, qk_norm=QkNorm.SIZE, gated=False
    ),
    "arcee": replace(LLAMA, gated=False),
    "axk1": replace(DEEPSEEK, norms=3, correction_bias=YES),
    **_each(
        "bailing_moe bailing_hybrid",
        Family(
            qkv_bias=Flag("use_qkv_bias"),
            output_bias=Flag("use_bias"),
            mlp_bias=Flag("use_bias"),
            qk_norm=QkNorm.SIZE,
            qk_norm_if=Flag("use_qk_norm"),
            correction_bias=Flag("moe_router_enable_expert_bias"),
        ),
    ),
    "bloom": replace(GPT, embedding_norm=True),
    "chatglm": Family(
        qkv_bias=Flag("add_qkv_bias"), output_bias=Flag("add_bias_linear"), mlp_bias=Flag("add_bias_linear")
    ),
    "dbrx": PLAIN,
    "ernie4_5": ERNIE,
    "paddleocr_vl_text": ERNIE,
    "exaone4": EXAONE,
    "exaone_moe": replace(EXAONE, correction_bias=YES),
    "falcon_h1": Family(qkv_bias=ATTENTION_BIAS, output_bias=ATTENTION_BIAS, mlp_bias=MLP_BIAS),
    "gemma": GEMMA,
    "gemma2": replace(GEMMA, norms=4),
    "gemma3_text": replace(GEMMA, norms=4, qk_norm=QkNorm.SIZE),
    "gemma3n_text": replace(GEMMA, norms=4, qk_norm=QkNorm.SIZE),
    "gemma4_text": replace(GEMMA, norms=4, qk_norm=QkNorm.SIZE),
    "gemma4_unified_text": replace(GEMMA, norms=4, qk_norm=QkNorm.SIZE),
    **_each("glm4 glm4v_text", Family(qkv_bias=ATTENTION_BIAS, norms=4)),
    "glm_ocr_text": Family(norms=4),
    "glm4_moe_lite": replace(DEEPSEEK, correction_bias=YES, router_float32=True),
    "glm_moe_dsa": replace(DEEPSEEK, correction_bias=YES),
    "gpt_neox": replace(
        GPT,
        qkv_bias=Flag("attention_bias", otherwise=True),
        output_bias=Flag("attention_bias", otherwise=True),
        tied=False,
    ),
    "gpt_oss": Family(qkv_bias=YES, output_bias=YES, sinks=True, router_bias=True, expert_bias=True),
    "gptj": Family(mlp_bias=YES, norms=1, norm_bias=True, gated=False, widening=4, head_bias=YES),
    "hy_v3": Family(qk_norm=QkNorm.SIZE, qk_norm_if=Flag("qk_norm"), router_float32=True, correction_bias=YES),
    "internlm3": Family(qkv_bias=Flag("qkv_bias"), output_bias=Flag("bias"), mlp_bias=Flag("bias")),
    "jais2": Family(
        qkv_bias=Flag("attention_bias", otherwise=True),
        output_bias=Flag("attention_bias", otherwise=True),
        mlp_bias=Flag("mlp_bias", otherwise=True),
        norm_bias=True,
        gated=False,
    ),
    "jamba": PLAIN,
    "kimi_linear": replace(DEEPSEEK, correction_bias=YES),
    "laguna": Family(qk_norm=QkNorm.SIZE, correction_bias=YES),
    "llama4_text": Family(qkv_bias=ATTENTION_BIAS, output_bias=ATTENTION_BIAS),
    "longcat_flash": replace(DEEPSEEK, norms=4, correction_bias=YES, router_float32=True),
    "mellum": QWEN3,
    **_each("mimo_v2 mimo_v2_flash", Family(qkv_bias=ATTENTION_BIAS, correction_bias=YES, router_float32=True)),
    "minicpm": replace(PLAIN, tied=True),
    "minicpm3": replace(PLAIN, tied=True),
    "minimax_m2": Family(qk_norm=QkNorm.HEADS, correction_bias=YES, router_float32=True),
    "nemotron": Family(
        qkv_bias=ATTENTION_BIAS, output_bias=ATTENTION_BIAS, mlp_bias=MLP_BIAS, norm_bias=True, gated=False
    ),
    "nemotron_h": Family(
        qkv_bias=ATTENTION_BIAS,
        output_bias=ATTENTION_BIAS,
        mlp_bias=MLP_BIAS,
        norms=1,
        gated=False,
        router_float32=True,
        correction_bias=YES,
    ),
    "nemotron-nas": replace(LLAMA, norms=0),
    "olmo": replace(OLMO, norms=0, final_norm=False),
    "opt": replace(
        GPT,
        positions_offset=2,
        widening=0,
        qkv_bias=Flag("enable_bias", otherwise=True),
        output_bias=Flag("enable_bias", otherwise=True),
        mlp_bias=Flag("enable_bias", otherwise=True),
    ),
    "orion": Family(norm_bias=True),
    "phi": Family(qkv_bias=YES, output_bias=YES, mlp_bias=YES, norms=1, norm_bias=True, gated=False),
    "phimoe": Family(qkv_bias=YES, output_bias=YES, norm_bias=True, head_bias=Flag("lm_head_bias")),
    "seed_oss": Family(
        qkv_bias=Flag("attention_bias", otherwise=True), output_bias=Flag("attention_out_bias"), mlp_bias=MLP_BIAS
    ),
    "smollm3": replace(LLAMA, tied=True),
    "step3p5": Family(qk_norm=QkNorm.SIZE, router_float32=True, correction_bias=YES),
    "stablelm": Family(qkv_bias=Flag("use_qkv_bias"), norm_bias=True),
    "starcoder2": Family(
        qkv_bias=Flag("use_bias", otherwise=True),
        output_bias=Flag("use_bias", otherwise=True),
        mlp_bias=Flag("use_bias", otherwise=True),
        norm_bias=True,
        gated=False,
        tied=True,
    ),
    **_each("telechat telechat2", Family(output_bias=YES)),
    "vaultgemma": GEMMA,
    "zamba2": replace(PLAIN, tied=True),
}
