"""What production measured before pmpctl kept records of its own; any record of this machine outranks it."""

from dataclasses import dataclass, replace

from pmpctl.vram.cards import Card
from pmpctl.vram.estimate import estimate, residual
from pmpctl.vram.facts import ModelFacts
from pmpctl.vram.layers import Architecture
from pmpctl.vram.settings import EngineSettings
from pmpctl.vram.shares import Evidence, Measured, Weights


@dataclass(frozen=True, slots=True)
class ProductionRecord:
    model: str
    same_shape: frozenset[str]
    """Models with the same layers and the same quantization, which take as much."""
    card: str
    settings: EngineSettings
    measured: Measured


RECORDS = (
    ProductionRecord(
        model="Qwen/Qwen2.5-Coder-32B-Instruct-AWQ",
        same_shape=frozenset({"Qwen/Qwen2.5-32B-Instruct-AWQ"}),
        card="A30",
        settings=EngineSettings(
            max_model_len=20480,
            gpu_memory_utilization=0.95,
            kv_cache_dtype="fp8",
            quantization="awq",
            enforce_eager=True,
        ),
        # The log names no release of vLLM; its peak is that of one that samples by sorting. Later ones leave more.
        measured=Measured(available_kv_gib=2.73, weights_gib=18.14, source="production's log of coding-v2 on an A30"),
    ),
)


def production_evidence(
    facts: ModelFacts, model: Architecture, weights: Weights, card: Card, settings: EngineSettings
) -> Evidence | None:
    """The measured figures for the same settings, what they teach about related ones, or nothing."""
    record = next(
        (record for record in RECORDS if record.card == card.name and _is_near(record, facts, settings)), None
    )
    if record is None:
        return None
    if facts.model == record.model and _at_same_length(record.settings, settings) == settings:
        return record.measured
    recorded = replace(record.settings, vllm_version=settings.vllm_version)
    return residual(record.measured, estimate(facts, model, weights, card, recorded))


def _is_near(record: ProductionRecord, facts: ModelFacts, settings: EngineSettings) -> bool:
    """The recorded peak is the sampler's, so the number of sequences must be the same; most else may differ."""
    same = replace(
        _at_same_length(record.settings, settings),
        gpu_memory_utilization=settings.gpu_memory_utilization,
        kv_cache_dtype=settings.kv_cache_dtype,
        quantization=settings.quantization,
        max_num_batched_tokens=settings.max_num_batched_tokens,
    )
    return facts.model in {record.model, *record.same_shape} and same == settings


def _at_same_length(recorded: EngineSettings, settings: EngineSettings) -> EngineSettings:
    return replace(recorded, max_model_len=settings.max_model_len, vllm_version=settings.vllm_version)
