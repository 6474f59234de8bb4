"""Configurations of the shipped profiles' models, as far as memory depends on them, and their estimates."""

from typing import Any

from pmpctl.vram.architecture import read_architecture
from pmpctl.vram.cards import BYTES_PER_GIB, Card
from pmpctl.vram.estimate import Estimate, estimate
from pmpctl.vram.facts import ModelFacts
from pmpctl.vram.layers import Architecture
from pmpctl.vram.production import production_evidence
from pmpctl.vram.settings import EngineSettings
from pmpctl.vram.shares import LOADED_QUANTIZED, Weights

AWQ = {"quant_method": "awq", "bits": 4, "group_size": 128, "zero_point": True, "version": "gemm"}
QWEN_32B: dict[str, Any] = {
    "architectures": ["Qwen2ForCausalLM"],
    "model_type": "qwen2",
    "num_hidden_layers": 64,
    "hidden_size": 5120,
    "num_attention_heads": 40,
    "num_key_value_heads": 8,
    "vocab_size": 152064,
    "intermediate_size": 27648,
    "max_position_embeddings": 32768,
    "torch_dtype": "float16",
    "tie_word_embeddings": False,
    "quantization_config": AWQ,
}
QWEN_14B = QWEN_32B | {"num_hidden_layers": 48, "intermediate_size": 13824}
QWEN_MOE = QWEN_32B | {
    "architectures": ["Qwen3MoeForCausalLM"],
    "model_type": "qwen3_moe",
    "num_hidden_layers": 48,
    "hidden_size": 2048,
    "num_attention_heads": 32,
    "num_key_value_heads": 4,
    "head_dim": 128,
    "vocab_size": 151936,
    "intermediate_size": 6144,
    "moe_intermediate_size": 768,
    "num_experts": 128,
    "num_experts_per_tok": 8,
    "max_position_embeddings": 262144,
    "quantization_config": AWQ | {"modules_to_not_convert": ["gate"]},
}


class Model:
    def __init__(self, name: str, config: dict[str, Any], *, stored_gib: float) -> None:
        self.facts = ModelFacts(name, None, config, None, None, "config.json")
        self.architecture: Architecture = read_architecture(config)
        stored = int(stored_gib * BYTES_PER_GIB)
        self.weights = Weights(bytes=stored, source="the hub", loading_factor=LOADED_QUANTIZED)

    def on(self, card: Card, settings: EngineSettings, *, free_gib: float | None = None) -> Estimate:
        """By theory alone."""
        return estimate(self.facts, self.architecture, self.weights, card, settings, free_gib=free_gib)

    def known_on(self, card: Card, settings: EngineSettings) -> Estimate:
        """With what production measured."""
        evidence = production_evidence(self.facts, self.architecture, self.weights, card, settings)
        return estimate(self.facts, self.architecture, self.weights, card, settings, evidence=evidence)


CODING = Model("stelterlab/Qwen3-Coder-30B-A3B-Instruct-AWQ", QWEN_MOE, stored_gib=15.65)
CODING_V2 = Model("Qwen/Qwen2.5-Coder-32B-Instruct-AWQ", QWEN_32B, stored_gib=18.0)
CODING_LEGACY = Model("Qwen/Qwen2.5-Coder-14B-Instruct-AWQ", QWEN_14B, stored_gib=9.3)
INSTRUCT = Model("Qwen/Qwen2.5-32B-Instruct-AWQ", QWEN_32B, stored_gib=18.0)
