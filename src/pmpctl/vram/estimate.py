"""Whether a model fits a card under an engine's settings: every share of the memory, a verdict, and how sure it is."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from pmpctl.vram.activation import Activation, activation
from pmpctl.vram.cards import BYTES_PER_GIB, Card, Fp8Cache
from pmpctl.vram.engine_defaults import max_num_batched_tokens
from pmpctl.vram.facts import ModelFacts
from pmpctl.vram.kv_cache import KvLayout, kv_layout
from pmpctl.vram.kv_pages import KvSettings, resolved_kv_cache_dtype
from pmpctl.vram.layers import Architecture
from pmpctl.vram.settings import EngineSettings
from pmpctl.vram.shares import Evidence, Measured, Residual, Row, Weights, shares

TYPICAL_LENGTHS = (4096, 8192, 16384, 32768)

HELD_WHEN_IDLE_GIB = 0.6
"""What is not free on a card that nobody uses, once a CUDA context stands: 0.2 to 0.6 GiB on Linux in startup logs."""


class Verdict(StrEnum):
    FITS = "fits"
    TIGHT = "tight"
    DOES_NOT_FIT = "does not fit"


class Basis(StrEnum):
    ESTIMATED = "estimated"
    CORRECTED = "corrected"
    MEASURED = "measured"


# One rank, several ranks. The first is what the replayed starts in docs/accuracy.md stay within; the others are what
# repeated starts of one configuration differ by.
BANDS_GIB: Mapping[Basis, tuple[float, float]] = {
    Basis.ESTIMATED: (0.5, 1.0),
    Basis.CORRECTED: (0.3, 0.6),
    Basis.MEASURED: (0.15, 0.3),
}
VISION_BAND_GIB = 1.0
"""Where the peak is that of a vision tower, whose inner sizes are the least known of all."""
UNKNOWN_ARCHITECTURE_BAND_GIB = 1.5
INEXACT_WEIGHTS = 0.05
"""Of weights that had to be guessed, added to the band."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """All of one card, or of one rank where there are several."""

    card: Card
    settings: EngineSettings
    layout: KvLayout
    rows: tuple[Row, ...]
    """The shares of the budget in the order of a stacked bar, without the KV cache; then what lies outside."""
    budget_gib: float
    kv_available_gib: float
    kv_needed_gib: float
    """The smallest pool with which the engine starts: one request of `max_model_len`, and the null block."""
    margin_gib: float
    """What is left, or (below zero) missing, at the tightest of the checks."""
    band_gib: float
    basis: Basis
    evidence: str
    """Where measured figures came from; empty if there are none."""
    verdict: Verdict
    reasons: tuple[str, ...]
    largest_context: int
    """With which it starts if the estimate is exact; 0 if there is none."""
    safe_context: int
    """With which it starts at the bad end of the band; 0 if there is none."""
    free_gib: float | None
    notes: tuple[str, ...]

    @property
    def concurrency(self) -> float:
        """Requests of `max_model_len` at once."""
        return self.concurrency_at(self.settings.max_model_len)

    def concurrency_at(self, tokens: int) -> float:
        blocks = self.layout.pool(self.kv_available_bytes).blocks
        return self.layout.concurrency(blocks, tokens)

    @property
    def typical_concurrency(self) -> dict[int, float]:
        """Requests at once by length, for the usual lengths up to `max_model_len`."""
        return {n: self.concurrency_at(n) for n in TYPICAL_LENGTHS if n <= self.settings.max_model_len}

    @property
    def kv_available_bytes(self) -> int:
        return max(0, int(self.kv_available_gib * BYTES_PER_GIB))


@dataclass(frozen=True, slots=True)
class _Check:
    margin_gib: float
    band_gib: float
    failure: str


def estimate(
    facts: ModelFacts,
    model: Architecture,
    weights: Weights,
    card: Card,
    settings: EngineSettings,
    *,
    free_gib: float | None = None,
    evidence: Evidence | None = None,
) -> Estimate:
    """vLLM: request_memory and GPUWorker.determine_available_memory, in figures known beforehand."""
    layout = kv_layout(model, kv_settings(settings, card))
    peak = activation(facts, model, settings, card)
    rows = shares(model, weights, card, settings, peak, evidence)
    budget = card.total_gib * settings.gpu_memory_utilization
    basis = _basis(evidence)
    band = _band(basis, model, weights, settings, peak)
    taken = sum(row.gib for row in rows if row.in_budget)
    if settings.kv_cache_memory_bytes is not None:
        budget = card.total_gib
        available = settings.kv_cache_memory_bytes / BYTES_PER_GIB
    elif isinstance(evidence, Measured):
        available = evidence.available_kv_gib
    else:
        available = budget - taken + (evidence.gib if isinstance(evidence, Residual) else 0.0)
    if evidence and settings.kv_cache_memory_bytes is None:
        unexplained = budget - taken - available
        beyond = Row("beyond the formulas", unexplained, "what a measured start took more", evidence.source)
        rows = tuple(sorted((*rows, beyond), key=lambda row: not row.in_budget))
    needed = layout.bytes_to_start(settings.max_model_len) / BYTES_PER_GIB
    checks = _checks(card, settings, rows, budget, available, needed, band, free_gib)
    limit = max(model.context_limit or 0, settings.max_model_len)
    # A cache of a given size is what it is; only what the engine finds free has an error.
    kv_band = 0.0 if settings.kv_cache_memory_bytes is not None else band
    return Estimate(
        card=card,
        settings=settings,
        layout=layout,
        rows=rows,
        budget_gib=budget,
        kv_available_gib=available,
        kv_needed_gib=needed,
        margin_gib=min(check.margin_gib for check in checks),
        band_gib=band,
        basis=basis,
        evidence=evidence.source if evidence else "",
        verdict=max((_verdict(check) for check in checks), key=list(Verdict).index),
        reasons=tuple(check.failure for check in checks if _verdict(check) is not Verdict.FITS),
        largest_context=layout.largest_context(_bytes(available), at_most=limit),
        safe_context=layout.largest_context(_bytes(available - kv_band), at_most=limit),
        free_gib=free_gib,
        notes=_notes(model, card, settings, peak),
    )


def kv_settings(settings: EngineSettings, card: Card) -> KvSettings:
    return KvSettings(
        max_model_len=settings.max_model_len,
        max_num_batched_tokens=max_num_batched_tokens(settings, card),
        # Scheduling ahead of the batch that runs came with vLLM 0.14 on CUDA.
        max_concurrent_batches=2 if settings.device == "cuda" and settings.vllm_version[:2] >= (0, 14) else 1,
        tensor_parallel_size=settings.tensor_parallel_size,
        kv_cache_dtype=settings.kv_cache_dtype,
        model_dtype=settings.dtype,
        block_size=settings.block_size,
        platform=settings.device,
        vllm_version=settings.vllm_version[:2],
    )


def residual(measured: Measured, estimated: Estimate) -> Residual:
    """What a start teaches about related settings: `estimated` is the estimate, without evidence, of that start."""
    return Residual(gib=measured.available_kv_gib - estimated.kv_available_gib, source=measured.source)


def _checks(
    card: Card,
    settings: EngineSettings,
    rows: tuple[Row, ...],
    budget: float,
    available: float,
    needed: float,
    band: float,
    free_gib: float | None,
) -> list[_Check]:
    context = (
        f"{settings.max_model_len:,} tokens need {needed:.2f} GiB of KV cache, {max(0.0, available):.2f} are there"
    )
    taken = sum(row.gib for row in rows if row.in_budget)
    free = card.total_gib - HELD_WHEN_IDLE_GIB if free_gib is None else free_gib
    if settings.kv_cache_memory_bytes is not None:
        total = taken + available
        return [
            _Check(available - needed, 0.0, context),
            _Check(free - total, band, f"{total:.2f} GiB are needed in all, {free:.2f} are free"),
        ]
    checks = [_Check(available - needed, band, context)]
    if free_gib is not None:
        refusal = f"vLLM asks for {budget:.2f} GiB at the start and refuses with {free:.2f} GiB free"
        checks.append(_Check(free - budget, 0.0, refusal))
    elif budget > free:
        refusal = (
            f"vLLM asks for {budget:.2f} GiB at the start; even an idle card may have no more than {free:.2f} free"
        )
        checks.append(_Check(free - budget, HELD_WHEN_IDLE_GIB, refusal))
    outside = sum(row.gib for row in rows if not row.in_budget)
    if outside and budget + outside > free:
        on_top = f"{outside:.2f} GiB of CUDA graphs come on top of the budget of {budget:.2f}; {free:.2f} are free"
        checks.append(_Check(free - budget - outside, max(band, 2 * outside), on_top))
    return checks


def _verdict(check: _Check) -> Verdict:
    if check.margin_gib >= check.band_gib:
        return Verdict.FITS
    return Verdict.TIGHT if check.margin_gib >= -check.band_gib else Verdict.DOES_NOT_FIT


def _basis(evidence: Evidence | None) -> Basis:
    if evidence is None:
        return Basis.ESTIMATED
    return Basis.MEASURED if isinstance(evidence, Measured) else Basis.CORRECTED


def _band(basis: Basis, model: Architecture, weights: Weights, settings: EngineSettings, peak: Activation) -> float:
    band = BANDS_GIB[basis][settings.tensor_parallel_size > 1]
    if basis is Basis.ESTIMATED and peak.vision_gib == peak.peak_gib:
        band = max(band, VISION_BAND_GIB)
    if basis is Basis.ESTIMATED and not weights.exact:
        band += INEXACT_WEIGHTS * weights.bytes / BYTES_PER_GIB
    return band if model.known else max(band, UNKNOWN_ARCHITECTURE_BAND_GIB)


def _notes(model: Architecture, card: Card, settings: EngineSettings, peak: Activation) -> tuple[str, ...]:
    notes = []
    if not model.known:
        notes.append(model.unknown_reason)
    if peak.vision_gib == peak.peak_gib:
        notes.append("The vision tower decides the activation peak; its share is the least certain.")
    if model.context_limit is not None and settings.max_model_len > model.context_limit:
        notes.append(f"The model itself goes to {model.context_limit:,} tokens only.")
    cache = resolved_kv_cache_dtype(model, kv_settings(settings, card))
    if cache.startswith("fp8") and settings.device == "cuda" and card.fp8_cache is not Fp8Cache.NATIVE:
        without = "the KV cache is converted whenever it is read"
        if card.fp8_cache is Fp8Cache.NONE:
            without = "vLLM has no kernel for an fp8 KV cache on it"
        notes.append(f"{card.name} has no fp8 of its own: {without}.")
    return tuple(notes)


def _bytes(gib: float) -> int:
    return max(0, int(gib * BYTES_PER_GIB))
