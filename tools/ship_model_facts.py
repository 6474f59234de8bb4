"""Writes src/pmpctl/vram/shipped_models: what the checkpoints of the shipped profiles' models hold, tensor by tensor.

    python tools/ship_model_facts.py

The tensors are computed from each model's configuration in the layout that its quantizer writes; each file says in
`source` what of it was published.
"""

import json
import re
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from pmpctl.vram.counting.formats import Format
from pmpctl.vram.counting.model import read_weights
from pmpctl.vram.counting.modules import Module
from pmpctl.vram.counting.quantization import read_quantization
from pmpctl.vram.shipped import file_name
from pmpctl.vram.weights import quantization_section

FOLDER = Path(__file__).parents[1] / "src" / "pmpctl" / "vram" / "shipped_models"
PACKED_BITS = 32
NORMS = {"norm_0": "input_layernorm", "norm_1": "post_attention_layernorm"}

AWQ = {"quant_method": "awq", "bits": 4, "group_size": 128, "version": "gemm", "zero_point": True}
QWEN_32B = {
    "architectures": ["Qwen2ForCausalLM"],
    "model_type": "qwen2",
    "hidden_size": 5120,
    "intermediate_size": 27648,
    "max_position_embeddings": 32768,
    "max_window_layers": 64,
    "num_attention_heads": 40,
    "num_hidden_layers": 64,
    "num_key_value_heads": 8,
    "sliding_window": None,
    "tie_word_embeddings": False,
    "torch_dtype": "float16",
    "use_sliding_window": False,
    "vocab_size": 152064,
    "quantization_config": AWQ,
}
QWEN_14B = QWEN_32B | {"intermediate_size": 13824, "max_window_layers": 48, "num_hidden_layers": 48}
QWEN3_CODER = {
    "architectures": ["Qwen3MoeForCausalLM"],
    "model_type": "qwen3_moe",
    "attention_bias": False,
    "decoder_sparse_step": 1,
    "head_dim": 128,
    "hidden_size": 2048,
    "intermediate_size": 6144,
    "max_position_embeddings": 262144,
    "mlp_only_layers": [],
    "moe_intermediate_size": 768,
    "norm_topk_prob": True,
    "num_attention_heads": 32,
    "num_experts": 128,
    "num_experts_per_tok": 8,
    "num_hidden_layers": 48,
    "num_key_value_heads": 4,
    "sliding_window": None,
    "tie_word_embeddings": False,
    "torch_dtype": "float16",
    "use_sliding_window": False,
    "vocab_size": 151936,
    "quantization_config": AWQ | {"modules_to_not_convert": ["gate"]},
}
MISTRAL_7B = {
    "architectures": ["MistralForCausalLM"],
    "model_type": "mistral",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "max_position_embeddings": 32768,
    "num_attention_heads": 32,
    "num_hidden_layers": 32,
    "num_key_value_heads": 8,
    "rope_theta": 1000000.0,
    "sliding_window": None,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "vocab_size": 32000,
}
DEVSTRAL = {
    "architectures": ["Mistral3ForConditionalGeneration"],
    "model_type": "mistral3",
    "image_token_index": 10,
    "multimodal_projector_bias": False,
    "projector_hidden_act": "gelu",
    "spatial_merge_size": 2,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "vision_feature_layer": -1,
    "text_config": {
        "model_type": "ministral3",
        "attention_bias": False,
        "head_dim": 128,
        "hidden_size": 5120,
        "intermediate_size": 32768,
        "max_position_embeddings": 393216,
        "num_attention_heads": 32,
        "num_hidden_layers": 40,
        "num_key_value_heads": 8,
        "rope_parameters": {
            "rope_type": "yarn",
            "factor": 48.0,
            "original_max_position_embeddings": 8192,
            "rope_theta": 100000000.0,
        },
        "sliding_window": None,
        "tie_word_embeddings": False,
        "vocab_size": 131072,
    },
    "vision_config": {
        "model_type": "pixtral",
        "head_dim": 64,
        "hidden_size": 1024,
        "image_size": 1540,
        "intermediate_size": 4096,
        "num_attention_heads": 16,
        "num_channels": 3,
        "num_hidden_layers": 24,
        "patch_size": 14,
    },
    "quantization_config": {
        "quant_method": "compressed-tensors",
        "format": "pack-quantized",
        "quantization_status": "compressed",
        "ignore": ["lm_head", "re:.*vision_tower.*", "re:.*multi_modal_projector.*"],
        "kv_cache_scheme": None,
        "config_groups": {
            "group_0": {
                "targets": ["Linear"],
                "input_activations": None,
                "output_activations": None,
                "weights": {
                    "num_bits": 4,
                    "type": "int",
                    "symmetric": True,
                    "strategy": "group",
                    "group_size": 32,
                    "actorder": None,
                    "dynamic": False,
                },
            }
        },
    },
}

MODELS: dict[str, tuple[dict[str, Any], str]] = {
    "Qwen/Qwen2.5-32B-Instruct-AWQ": (
        QWEN_32B,
        "the package: computed from the published geometry as AutoAWQ writes it; equals the published 19.33 GB",
    ),
    "Qwen/Qwen2.5-Coder-32B-Instruct-AWQ": (
        QWEN_32B,
        "the package: computed as for Qwen2.5-32B-Instruct-AWQ, of the same geometry; an engine loaded 18.14 GiB",
    ),
    "Qwen/Qwen2.5-Coder-14B-Instruct-AWQ": (
        QWEN_14B,
        "the package: computed from the published geometry in AutoAWQ's layout; an engine loaded 9.38 GiB",
    ),
    "stelterlab/Qwen3-Coder-30B-A3B-Instruct-AWQ": (
        QWEN3_CODER,
        "the package: computed from Qwen3-30B-A3B's published geometry in AutoAWQ's layout, groups of 128 assumed; "
        "another AWQ of it has the same 16.8 GB",
    ),
    "mistralai/Mistral-7B-Instruct-v0.2": (
        MISTRAL_7B,
        "the package: computed from the published geometry; equals the published 7,241,732,096 parameters in bfloat16",
    ),
    "cyankiwi/Devstral-Small-2-24B-Instruct-2512-AWQ-4bit": (
        DEVSTRAL,
        "the package: computed from the published geometry and quantization in compressed-tensors' layout; "
        "an engine loaded 14.29 GiB without the tower",
    ),
}


def tensors_of(module: Module, form: Format | None, float_dtype: str) -> list[tuple[str, str, list[int]]]:
    name, outputs, inputs = module.name, module.outputs, module.inputs
    bias = [(f"{name}.bias", float_dtype, [outputs])] if module.has_bias else []
    if form is None:
        return [(f"{name}.weight", float_dtype, [outputs] if inputs == 1 else [outputs, inputs]), *bias]
    groups, packed = inputs // (form.group_inputs or inputs), PACKED_BITS // form.bits
    if form.fixed_bytes:
        return [
            (f"{name}.weight_packed", "I32", [outputs, inputs // packed]),
            (f"{name}.weight_scale", float_dtype, [outputs, groups]),
            (f"{name}.weight_shape", "I64", [2]),
            *bias,
        ]
    return [
        (f"{name}.qweight", "I32", [inputs, outputs // packed]),
        (f"{name}.qzeros", "I32", [groups, outputs // packed]),
        (f"{name}.scales", float_dtype, [groups, outputs]),
        *bias,
    ]


def shipped_name(name: str) -> str:
    for counted, published in NORMS.items():
        name = name.replace(f".{counted}.", f".{published}.")
    outer = "" if name.startswith(("lm_head", "vision_tower", "multi_modal_projector")) else "model."
    return outer + re.sub(r"\.\d+\.", ".*.", name)


def facts(model: str, config: dict[str, Any], source: str) -> dict[str, Any]:
    read = read_weights(config)
    quantized = read_quantization(quantization_section(config))
    float_dtype = "F16" if read.dtype == "float16" else "BF16"
    counted: Counter[tuple[str, str, tuple[int, ...]]] = Counter()
    for module in read.modules:
        for name, dtype, shape in tensors_of(module, quantized.format_of(module), float_dtype):
            counted[shipped_name(name), dtype, tuple(shape)] += module.copies
    tensors = [[name, dtype, list(shape), copies] for (name, dtype, shape), copies in counted.items()]
    return {"model": model, "source": source, "config": config, "tensors": tensors}


def written(facts_of_model: dict[str, Any]) -> str:
    """One tensor a line."""
    *fields, (_, tensors) = facts_of_model.items()
    head = ",\n".join(f"  {json.dumps(name)}: {json.dumps(value, ensure_ascii=False)}" for name, value in fields)
    lines = ",\n".join(f"    {json.dumps(tensor)}" for tensor in tensors)
    return f'{{\n{head},\n  "tensors": [\n{lines}\n  ]\n}}\n'


def main() -> int:
    FOLDER.mkdir(exist_ok=True)
    for model, (config, source) in MODELS.items():
        text = written(facts(model, config, source))
        (FOLDER / file_name(model)).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
