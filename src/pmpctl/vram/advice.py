"""The cheapest changes that make a model fit, each tried on the whole estimate, and only those that would work."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from pmpctl.vram.cards import Card, Fp8Cache
from pmpctl.vram.engine_defaults import max_num_batched_tokens, max_num_seqs
from pmpctl.vram.estimate import Estimate, Verdict
from pmpctl.vram.kv_pages import KvSettings, resolved_kv_cache_dtype
from pmpctl.vram.layers import Architecture
from pmpctl.vram.settings import EngineSettings

Estimator = Callable[[EngineSettings], Estimate]
"""The estimate of the same model on the same card under other settings."""

FEW_SEQUENCES = (64, 16, 4)
SMALL_BATCHES = (1024, 512)
HIGHEST_UTILIZATION = 0.95
SMALLEST_CONTEXT = 1024
CONTEXT_STEP = 1024
NOTICEABLE_GIB = 0.01

# On cards without fp8 of their own only FlashInfer reads an fp8 cache, and these models cannot be served by it there:
# attention sinks, attention to whole images.
NEED_NATIVE_FP8 = frozenset(
    {"gpt_oss", "gemma3_text", "gemma4_text", "gemma4_unified_text", "mimo_v2_flash", "mimo_v2"}
)
KEEPS_ITS_CACHE_TYPE = frozenset({"minimax_m3", "deepseek_v32", "glm_moe_dsa"})


@dataclass(frozen=True, slots=True)
class Change:
    text: str
    """What to write into the profile."""
    settings: EngineSettings
    gained_gib: float
    """How much nearer (or further) it is to fitting."""
    after: Estimate


def advise(model: Architecture, current: Estimate, again: Estimator) -> tuple[Change, ...]:
    """Each change alone that helps, least costly first; where none is enough, one more that combines them.

    Empty when it fits already.
    """
    if current.verdict is Verdict.FITS:
        return ()
    changes = []
    for text, settings in _single(model, current):
        change = _tried(text, settings, current, again)
        if change.gained_gib >= NOTICEABLE_GIB:
            changes.append(change)
    shorter = _shorter_context(current, again)
    if shorter:
        changes.append(shorter)
    if not any(change.after.verdict is Verdict.FITS for change in changes):
        together = _together(model, current, again)
        if together and together.gained_gib > max((change.gained_gib for change in changes), default=0.0):
            changes.append(together)
    return tuple(changes)


def _single(model: Architecture, current: Estimate) -> Iterator[tuple[str, EngineSettings]]:
    """Least costly first: what nobody notices, what slows down, what changes results."""
    settings, card = current.settings, current.card
    sequences, tokens = max_num_seqs(settings, card), max_num_batched_tokens(settings, card)
    fewer = next((count for count in FEW_SEQUENCES if count < sequences), None)
    if fewer is not None:
        yield f"max_num_seqs = {fewer}", replace(settings, max_num_seqs=fewer)
    smaller = next((size for size in SMALL_BATCHES if size < tokens), None)
    if smaller is not None:
        at_once = settings.max_num_seqs and min(settings.max_num_seqs, smaller)
        yield (
            f"max_num_batched_tokens = {smaller}",
            replace(settings, max_num_batched_tokens=smaller, max_num_seqs=at_once),
        )
    if not settings.enforce_eager and settings.device == "cuda":
        yield "enforce_eager = true", replace(settings, enforce_eager=True)
    if may_raise_utilization(current):
        highest = f"gpu_memory_utilization = {HIGHEST_UTILIZATION}"
        yield highest, replace(settings, gpu_memory_utilization=HIGHEST_UTILIZATION)
    if may_use_fp8_cache(model, card, settings):
        yield 'kv_cache_dtype = "fp8"', replace(settings, kv_cache_dtype="fp8")


def may_raise_utilization(current: Estimate) -> bool:
    """Only where the engine's share is of the card, and nothing else is on the card."""
    settings = current.settings
    raised_gib = current.card.total_gib * HIGHEST_UTILIZATION
    idle = current.free_gib is None or current.free_gib >= raised_gib
    adjustable = settings.kv_cache_memory_bytes is None and settings.device == "cuda"
    return adjustable and idle and settings.gpu_memory_utilization < HIGHEST_UTILIZATION


def may_use_fp8_cache(model: Architecture, card: Card, settings: EngineSettings) -> bool:
    """Halves what is not one byte already; vLLM: AttentionBackend.supports_kv_cache_dtype, by capability."""
    plain = KvSettings(
        max_model_len=settings.max_model_len, kv_cache_dtype=settings.kv_cache_dtype, model_dtype=settings.dtype
    )
    is_wide = resolved_kv_cache_dtype(model, plain) in ("float16", "bfloat16")
    if settings.device != "cuda" or not is_wide or not model.has_attention or model.model_type in KEEPS_ITS_CACHE_TYPE:
        return False
    if card.fp8_cache is Fp8Cache.CONVERTED:
        return not model.uses_latent_attention and model.model_type not in NEED_NATIVE_FP8
    return card.fp8_cache is Fp8Cache.NATIVE


def _shorter_context(current: Estimate, again: Estimator) -> Change | None:
    """The longest context that fits, else the longest that is tight, in whole steps."""
    for longest in (current.safe_context, current.largest_context):
        context = longest // CONTEXT_STEP * CONTEXT_STEP
        if SMALLEST_CONTEXT <= context < current.settings.max_model_len:
            settings = replace(current.settings, max_model_len=context)
            change = _tried(f"max_model_len = {context}", settings, current, again)
            if list(Verdict).index(change.after.verdict) < list(Verdict).index(current.verdict):
                return change
    return None


def _together(model: Architecture, current: Estimate, again: Estimator) -> Change | None:
    """Adds one change after the other until it fits, and shortens the context of what is left."""
    settings, texts, so_far = current.settings, [], current
    names = [text.split(" = ")[0] for text, _ in _single(model, current)]
    for name in names:
        step = next(((text, new) for text, new in _single(model, so_far) if text.split(" = ")[0] == name), None)
        if step is None:
            continue
        change = _tried(step[0], step[1], so_far, again)
        if change.gained_gib < NOTICEABLE_GIB:
            continue
        settings, so_far = change.settings, change.after
        texts.append(change.text)
        if so_far.verdict is Verdict.FITS:
            break
    if so_far.verdict is not Verdict.FITS and (shorter := _shorter_context(so_far, again)):
        settings, so_far = shorter.settings, shorter.after
        texts.append(shorter.text)
    if len(texts) < 2:
        return None
    return Change(", ".join(texts), settings, so_far.margin_gib - current.margin_gib, so_far)


def _tried(text: str, settings: EngineSettings, current: Estimate, again: Estimator) -> Change:
    after = again(settings)
    return Change(text, settings, after.margin_gib - current.margin_gib, after)
