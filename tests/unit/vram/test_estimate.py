"""The verdict: what production and logs know, what each check decides, and that it never gets the order wrong."""

from dataclasses import replace

import pytest
from hypothesis import given, settings, strategies

from pmpctl.errors import PmpctlError
from pmpctl.vram.architecture import read_architecture
from pmpctl.vram.cards import CARDS, Card, named_card
from pmpctl.vram.estimate import Basis, Estimate, Verdict, estimate, residual
from pmpctl.vram.facts import ModelFacts
from pmpctl.vram.settings import EngineSettings
from pmpctl.vram.shares import Measured, Weights
from tests.unit.vram.models import CODING, CODING_LEGACY, CODING_V2, INSTRUCT, QWEN_14B, Model

A30 = named_card("A30")
EIGHT_BIT = EngineSettings(max_model_len=32768, gpu_memory_utilization=0.9, kv_cache_dtype="fp8", enforce_eager=True)
V2 = replace(EIGHT_BIT, max_model_len=20480, gpu_memory_utilization=0.95, quantization="awq")
PLAIN = replace(EIGHT_BIT, max_model_len=6000, kv_cache_dtype="auto", quantization="awq")
SORTING = (0, 11, 0)


@pytest.mark.parametrize("version", [(0, 32, 0), SORTING])
def test_the_profiles_that_run_in_production_on_an_a30_fit(version: tuple[int, int, int]) -> None:
    for model, context in ((CODING, 32768), (CODING, 40960), (CODING_LEGACY, 32768)):
        found = model.on(A30, replace(EIGHT_BIT, max_model_len=context, vllm_version=version))
        assert found.verdict is Verdict.FITS


def test_what_production_measured_decides_about_coding_v2() -> None:
    found = CODING_V2.known_on(A30, V2)
    assert (found.verdict, found.basis) == (Verdict.FITS, Basis.MEASURED)
    assert found.kv_available_gib == 2.73
    assert 21_500 <= found.largest_context <= 22_500
    assert CODING_V2.known_on(A30, replace(V2, max_model_len=32768)).verdict is Verdict.DOES_NOT_FIT


def test_the_formulas_alone_find_what_production_measured_on_the_engines_of_that_time() -> None:
    found = CODING_V2.on(A30, replace(V2, vllm_version=SORTING))
    assert found.kv_available_gib == pytest.approx(2.73, abs=0.15)
    assert CODING_V2.on(A30, replace(V2, max_model_len=32768, vllm_version=SORTING)).verdict is Verdict.DOES_NOT_FIT


def test_instruct_is_tight_at_6000_tokens_and_not_safe_at_8192() -> None:
    def verdicts(context: int) -> tuple[Verdict, Verdict]:
        asked = replace(PLAIN, max_model_len=context)
        return INSTRUCT.known_on(A30, asked).verdict, INSTRUCT.on(A30, replace(asked, vllm_version=SORTING)).verdict

    assert verdicts(6000) == (Verdict.TIGHT, Verdict.TIGHT)
    assert Verdict.FITS not in verdicts(8192)


def test_the_shares_and_the_kv_cache_make_up_the_budget() -> None:
    found = CODING_LEGACY.on(A30, replace(EIGHT_BIT, enforce_eager=False))
    shares = sum(row.gib for row in found.rows if row.in_budget)
    assert shares + found.kv_available_gib == pytest.approx(found.budget_gib)
    assert found.budget_gib == pytest.approx(0.9 * A30.total_gib)


def test_the_shares_add_up_also_where_the_cache_was_measured() -> None:
    for model, asked in ((CODING_V2, V2), (INSTRUCT, PLAIN)):
        found = model.known_on(A30, asked)
        shares = sum(row.gib for row in found.rows if row.in_budget)
        assert shares + found.kv_available_gib == pytest.approx(found.budget_gib)


def test_cuda_graphs_come_on_top_of_the_budget_of_older_engines_and_are_none_in_eager_mode() -> None:
    def graphs(version: tuple[int, int, int], eager: bool) -> tuple[bool, bool]:
        found = CODING_LEGACY.on(A30, replace(EIGHT_BIT, enforce_eager=eager, vllm_version=version))
        row = next(row for row in found.rows if row.name == "CUDA graphs")
        return row.in_budget, row.gib > 0

    assert graphs((0, 20, 0), False) == (False, True)
    assert graphs((0, 21, 0), False) == (True, True)
    assert graphs((0, 32, 0), True)[1] is False


def test_too_little_free_memory_is_a_refusal_whatever_the_card_has() -> None:
    found = CODING.on(A30, EIGHT_BIT, free_gib=20.0)
    assert found.verdict is Verdict.DOES_NOT_FIT
    assert "20.00 GiB free" in found.reasons[0]


def test_a_share_that_an_idle_card_may_not_have_free_is_tight() -> None:
    found = CODING_LEGACY.on(A30, replace(EIGHT_BIT, gpu_memory_utilization=0.99))
    assert found.verdict is Verdict.TIGHT
    assert "idle card" in found.reasons[0]


def test_a_cache_of_given_size_is_taken_as_it_is_and_must_fit_the_card_with_the_rest() -> None:
    two_gib = replace(EIGHT_BIT, max_model_len=20480, kv_cache_memory_bytes=2 << 30)
    assert CODING_V2.on(A30, two_gib).verdict is Verdict.DOES_NOT_FIT
    enough = replace(two_gib, kv_cache_memory_bytes=2560 * (1 << 20) + (1 << 22))
    assert CODING_V2.on(A30, enough).verdict is Verdict.FITS
    too_much = CODING_V2.on(A30, replace(two_gib, kv_cache_memory_bytes=6 << 30))
    assert too_much.verdict is Verdict.DOES_NOT_FIT
    assert "in all" in too_much.reasons[0]


def test_a_start_of_ones_own_corrects_the_estimate_for_another_context() -> None:
    start = CODING_LEGACY.on(A30, EIGHT_BIT)
    measured = Measured(available_kv_gib=start.kv_available_gib - 0.4, source="yesterday's start")
    learned = residual(measured, start)
    longer = replace(EIGHT_BIT, max_model_len=16384)
    found = estimate(
        CODING_LEGACY.facts, CODING_LEGACY.architecture, CODING_LEGACY.weights, A30, longer, evidence=learned
    )
    assert found.kv_available_gib == pytest.approx(CODING_LEGACY.on(A30, longer).kv_available_gib - 0.4)
    assert (found.basis, found.evidence) == (Basis.CORRECTED, "yesterday's start")
    assert found.band_gib < start.band_gib


def test_concurrency_is_told_for_typical_lengths_up_to_the_context() -> None:
    found = CODING.on(A30, EIGHT_BIT)
    assert list(found.typical_concurrency) == [4096, 8192, 16384, 32768]
    assert found.typical_concurrency[32768] == found.concurrency
    assert found.typical_concurrency[4096] > 7 * found.concurrency
    assert 4096 not in CODING.on(A30, replace(EIGHT_BIT, max_model_len=2048)).typical_concurrency


def test_an_unknown_architecture_is_estimated_within_a_wide_band_and_marked() -> None:
    config = QWEN_14B | {"model_type": "brand_new", "architectures": ["BrandNewForCausalLM"]}
    found = Model("brand/new", config, stored_gib=9.3).on(A30, EIGHT_BIT)
    assert found.band_gib >= 1.5
    assert any("BrandNewForCausalLM" in note for note in found.notes)


ANY_SETTINGS = strategies.builds(
    EngineSettings,
    max_model_len=strategies.integers(1, 32768),
    gpu_memory_utilization=strategies.floats(0.01, 1.0),
    kv_cache_dtype=strategies.sampled_from(["auto", "fp8", "fp8_e5m2", "bfloat16"]),
    max_num_seqs=strategies.integers(1, 2048),
    max_num_batched_tokens=strategies.integers(1, 65536),
    kv_cache_memory_bytes=strategies.none() | strategies.integers(1, 1 << 40),
    enforce_eager=strategies.booleans(),
    tensor_parallel_size=strategies.sampled_from([1, 2, 4, 8]),
    device=strategies.sampled_from(["cuda", "cpu"]),
    vllm_version=strategies.tuples(strategies.just(0), strategies.integers(6, 40), strategies.integers(0, 9)),
    text_only=strategies.booleans(),
)
MODELS = strategies.sampled_from([CODING, CODING_V2])
ORDER = list(Verdict)


def is_no_better(worse: Estimate, better: Estimate) -> bool:
    return worse.margin_gib <= better.margin_gib + 1e-9 and ORDER.index(worse.verdict) >= ORDER.index(better.verdict)


@given(MODELS, ANY_SETTINGS, strategies.sampled_from(CARDS), strategies.none() | strategies.floats(0, 200))
@settings(max_examples=150, deadline=None)
def test_any_settings_on_any_card_get_a_consistent_verdict(
    model: Model, asked: EngineSettings, card: Card, free_gib: float | None
) -> None:
    found = model.on(card, asked, free_gib=free_gib)
    assert 0 <= found.safe_context <= found.largest_context
    assert (found.verdict is Verdict.FITS) == (not found.reasons)
    if found.verdict is Verdict.FITS:
        assert found.largest_context >= asked.max_model_len
        assert found.concurrency >= 1


@given(MODELS, ANY_SETTINGS, strategies.sampled_from(CARDS), strategies.integers(1, 32768))
@settings(max_examples=100, deadline=None)
def test_a_longer_context_never_fits_better(model: Model, asked: EngineSettings, card: Card, longer: int) -> None:
    longest = replace(asked, max_model_len=max(asked.max_model_len, longer))
    assert is_no_better(model.on(card, longest), model.on(card, asked))


@given(MODELS, ANY_SETTINGS, strategies.sampled_from(CARDS), strategies.floats(0.0, 60.0))
@settings(max_examples=100, deadline=None)
def test_the_same_card_with_more_memory_never_fits_worse(
    model: Model, asked: EngineSettings, card: Card, more_gib: float
) -> None:
    larger = replace(card, total_gib=card.total_gib + more_gib)
    assert is_no_better(model.on(card, asked), model.on(larger, asked))


@given(MODELS, ANY_SETTINGS, strategies.floats(0.01, 0.95), strategies.floats(0.01, 0.95))
@settings(max_examples=100, deadline=None)
def test_a_larger_share_of_an_idle_card_never_leaves_less_for_the_cache(
    model: Model, asked: EngineSettings, one: float, other: float
) -> None:
    low, high = sorted((one, other))
    less, more = (model.on(A30, replace(asked, gpu_memory_utilization=share)) for share in (low, high))
    assert less.kv_available_gib <= more.kv_available_gib
    assert less.largest_context <= more.largest_context


NUMBERS = strategies.none() | strategies.integers(-5, 1 << 70) | strategies.text(max_size=3) | strategies.booleans()


@given(strategies.dictionaries(strategies.sampled_from(sorted(QWEN_14B)), NUMBERS, max_size=4))
@settings(max_examples=200, deadline=None)
def test_an_absurd_configuration_is_a_named_error_or_an_estimate(broken: dict[str, object]) -> None:
    config = QWEN_14B | broken
    facts = ModelFacts("any", None, config, None, None, "")
    try:
        found = estimate(facts, read_architecture(config), Weights(bytes=1 << 30, source=""), A30, EIGHT_BIT)
    except PmpctlError as error:
        assert error.cure
    else:
        assert found.verdict in Verdict
