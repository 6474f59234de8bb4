"""The activation peak of one rank: what vLLM's profiling run allocates, by the code that allocates it."""

from dataclasses import dataclass

from pmpctl.vram.architecture import text_section
from pmpctl.vram.cards import BYTES_PER_GIB, Card
from pmpctl.vram.config_reader import ConfigReader
from pmpctl.vram.engine_defaults import Runner, max_num_batched_tokens, max_num_seqs, prefills_whole, runner
from pmpctl.vram.facts import ModelFacts
from pmpctl.vram.kv_pages import ELEMENT_BYTES
from pmpctl.vram.layers import Architecture
from pmpctl.vram.settings import EngineSettings

SAMPLER_BYTES_PER_LOGIT = {
    # Fitted: seven peaks of 4.8 to 7.4 GiB on H100 and H200, one of 1.4; each within 1 % of this.
    # PyTorch's sort keeps the logits twice (2 + 4), values and indices (4 + 8), and scratch of as much again.
    Runner.SORTING: 38.3,
    # Logits twice, probabilities and noise (Sampler.forward, TopKTopPSampler.forward_native, random_sample).
    Runner.MASKING: 14.0,
    # Logits alone (GPUModelRunner._dummy_sampler_run of the V2 runner; gumbel_sample works on them in place).
    Runner.V2: 2.0,
    # Fitted: 1.06 GiB for 256 sequences of a vocabulary of 151,936.
    Runner.V0: 29.0,
}
MASKING_BUFFER_BYTES = 80 << 20
"""apply_top_k_top_p_triton: a row of the vocabulary for each program; "around 80 MiB" says its pull request."""

HIDDEN_COPIES = 4
"""Rows of the hidden size alive at the widest point of a layer: input, residual, its normalized copy, the output."""
MLP_COPIES = 3
"""Gate and up as one tensor, and their product (SiluAndMul)."""

VISION_COPIES = 16
"""Fitted: rows of the hidden size alive per patch in a tower's widest layer; 15 on Qwen3.5-4B, 26 on the V0 engine."""
DYNAMIC_PATCHES = 65536
"""Where the configuration bounds no image: the largest that Qwen's processors cut (16,384 tokens of four patches)."""


@dataclass(frozen=True, slots=True)
class Activation:
    """All in GiB; only the largest of the three counts, as none is alive beside another."""

    sampler_gib: float
    prefill_gib: float
    vision_gib: float
    sampler_formula: str
    prefill_formula: str
    vision_formula: str

    @property
    def peak_gib(self) -> float:
        return max(self.sampler_gib, self.prefill_gib, self.vision_gib)

    @property
    def formula(self) -> str:
        formulas = {
            self.sampler_formula: self.sampler_gib,
            self.prefill_formula: self.prefill_gib,
            self.vision_formula: self.vision_gib,
        }
        return max(formulas, key=lambda formula: formulas[formula])


def activation(facts: ModelFacts, model: Architecture, settings: EngineSettings, card: Card) -> Activation:
    tokens = max_num_batched_tokens(settings, card)
    sequences = max_num_seqs(settings, card)
    sampler, sampler_formula = _sampler(model, settings, sequences, tokens)
    prefill, prefill_formula = _prefill(facts, model, settings, tokens)
    vision, vision_formula = _vision(facts, settings, tokens)
    return Activation(
        sampler / BYTES_PER_GIB,
        prefill / BYTES_PER_GIB,
        vision / BYTES_PER_GIB,
        sampler_formula,
        prefill_formula,
        vision_formula,
    )


def _sampler(model: Architecture, settings: EngineSettings, sequences: int, tokens: int) -> tuple[float, str]:
    """The logits of every sequence over the whole vocabulary: gathered, so not divided by tensor parallelism.

    vLLM: GPUModelRunner.profile_run, _dummy_sampler_run. The hidden states of the prefill before it are still there.
    """
    kind = runner(settings, is_dense=not model.is_moe and not model.is_hybrid)
    if kind is Runner.V0 and not prefills_whole(settings):
        return 0.0, "no sampling while the V0 engine profiles chunked prefill"
    rows = min(sequences, tokens)
    each = SAMPLER_BYTES_PER_LOGIT[kind]
    buffer = MASKING_BUFFER_BYTES if kind is Runner.MASKING else 0
    hidden = tokens * model.hidden_size * 2
    formula = f"sampler: {rows} sequences x {model.vocab_size} logits x {each:g} B ({kind}) + hidden states"
    return rows * model.vocab_size * each + buffer + hidden, formula


def _prefill(facts: ModelFacts, model: Architecture, settings: EngineSettings, tokens: int) -> tuple[float, str]:
    """The widest layer over a full batch of tokens. vLLM: profile_run's _dummy_run with max_num_batched_tokens."""
    size = ELEMENT_BYTES.get(settings.dtype or model.dtype, 2)
    ranks = settings.tensor_parallel_size
    hidden = HIDDEN_COPIES * model.hidden_size
    dense = MLP_COPIES * model.intermediate_size / ranks
    experts = _expert_row(facts, model, ranks)
    widest = hidden + max(dense if not experts else 0.0, experts)
    inner = f"experts {experts:.0f}" if experts else f"{MLP_COPIES} x {model.intermediate_size}/{ranks}"
    formula = f"prefill: {tokens} tokens x ({HIDDEN_COPIES} x {model.hidden_size} + {inner}) x {size} B"
    return tokens * widest * size, formula


def _expert_row(facts: ModelFacts, model: Architecture, ranks: int) -> float:
    """Elements a token needs in the workspaces of a mixture of experts, 0 for others.

    Each chosen expert's row: what goes in or comes out, whichever is wider, and the product of gate and up
    (vLLM: fused_experts_impl, intermediate_cache1 to 3, of which 1 and 3 share their memory).
    """
    if not model.is_moe:
        return 0.0
    text, _ = text_section(ConfigReader(facts.config))
    chosen = text.count("num_experts_per_tok", "num_experts_per_token", "moe_topk", "top_k", "moe_top_k", otherwise=2)
    inner = text.count(
        "moe_intermediate_size", "intermediate_size", "ffn_hidden_size", otherwise=model.intermediate_size
    )
    return chosen * (max(2 * inner / ranks, model.hidden_size) + inner / ranks)


def _vision(facts: ModelFacts, settings: EngineSettings, tokens: int) -> tuple[float, str]:
    """One batch of the largest images through the vision tower. vLLM: MultiModalBudget, embed_multimodal."""
    vision = ConfigReader(facts.config).section("vision_config")
    if settings.text_only or vision is None:
        return 0.0, "no vision tower"
    root = ConfigReader(facts.config)
    hidden = vision.count("hidden_size", "embed_dim", "width", otherwise=1024)
    patch = vision.count("patch_size", otherwise=14)
    side = vision.optional_size("image_size")
    patches = (side // max(patch, 1)) ** 2 if side else DYNAMIC_PATCHES
    merge = root.count("spatial_merge_size", otherwise=vision.count("spatial_merge_size", otherwise=1))
    per_image = root.count("mm_tokens_per_image", otherwise=max(1, patches // max(merge, 1) ** 2))
    images = max(1, tokens // max(per_image, 1))
    formula = f"vision: {images} x {patches} patches x {VISION_COPIES} x {hidden} x 2 B"
    return images * patches * VISION_COPIES * hidden * 2.0, formula
