"""Advice: only what would work, each with what it brings."""

from dataclasses import replace

from pmpctl.vram.advice import advise
from pmpctl.vram.cards import Card, named_card
from pmpctl.vram.estimate import Estimate, Verdict
from pmpctl.vram.settings import EngineSettings
from tests.unit.vram.models import CODING, CODING_LEGACY, CODING_V2, QWEN_14B, Model

A30 = named_card("A30")
WIDE = EngineSettings(max_model_len=32768, gpu_memory_utilization=0.9, enforce_eager=True)


def advice(model: Model, card: Card, settings: EngineSettings, free_gib: float | None = None) -> dict[str, Estimate]:
    current = model.on(card, settings, free_gib=free_gib)
    changes = advise(model.architecture, current, lambda other: model.on(card, other, free_gib=free_gib))
    assert all(change.gained_gib > 0 for change in changes)
    return {change.text: change.after for change in changes}


def test_what_fits_needs_no_advice() -> None:
    assert advice(CODING, A30, WIDE) == {}


def test_an_fp8_cache_is_advised_where_card_and_model_can_use_one() -> None:
    assert 'kv_cache_dtype = "fp8"' in advice(CODING_V2, A30, WIDE)
    assert 'kv_cache_dtype = "fp8"' not in advice(CODING_V2, A30, replace(WIDE, kv_cache_dtype="fp8"))
    assert 'kv_cache_dtype = "fp8"' not in advice(CODING_LEGACY, named_card("T4"), WIDE)
    config = QWEN_14B | {"model_type": "gpt_oss", "num_local_experts": 1, "sliding_window": 128}
    sinks = Model("gpt", config, stored_gib=9.3)
    assert 'kv_cache_dtype = "fp8"' not in advice(sinks, named_card("A10"), replace(WIDE, gpu_memory_utilization=0.3))


def test_eager_mode_is_advised_only_where_it_is_off() -> None:
    compiled = replace(WIDE, enforce_eager=False)
    assert "enforce_eager = true" in advice(CODING_V2, A30, compiled)
    assert "enforce_eager = true" not in advice(CODING_V2, A30, WIDE)


def test_a_larger_share_is_advised_only_on_an_idle_card() -> None:
    larger = "gpu_memory_utilization = 0.95"
    assert larger in advice(CODING_V2, A30, WIDE, free_gib=23.2)
    assert larger not in advice(CODING_V2, A30, WIDE, free_gib=21.5)
    assert larger not in advice(CODING_V2, A30, replace(WIDE, gpu_memory_utilization=0.95))


def test_fewer_sequences_are_advised_where_the_sampler_decides_the_peak() -> None:
    sorting = replace(WIDE, vllm_version=(0, 11, 0))
    assert "max_num_seqs = 64" in advice(CODING_V2, A30, sorting)
    assert "max_num_seqs = 64" not in advice(CODING_V2, A30, WIDE)


def test_the_shorter_context_that_is_advised_fits() -> None:
    found = advice(CODING_V2, A30, WIDE)
    shorter = next(after for text, after in found.items() if text.startswith("max_model_len"))
    assert shorter.verdict is Verdict.FITS
    assert shorter.settings.max_model_len % 1024 == 0


def test_changes_are_combined_where_none_alone_is_enough() -> None:
    hopeless = advice(CODING_V2, named_card("RTX 3090"), replace(WIDE, gpu_memory_utilization=0.82))
    assert not any(after.verdict is Verdict.FITS for text, after in hopeless.items() if ", " not in text)
    together = next(after for text, after in hopeless.items() if ", " in text)
    assert together.verdict is Verdict.FITS


def test_a_card_that_cannot_hold_the_weights_gets_no_empty_promises() -> None:
    assert all(after.verdict is Verdict.DOES_NOT_FIT for after in advice(CODING_V2, named_card("A2"), WIDE).values())
