"""The bar of a fit: cells that add up, whatever the sizes are."""

from pathlib import Path

from hypothesis import given, strategies

from pmpctl.operations.environment import Environment
from pmpctl.operations.fit import Assessment, assess
from pmpctl.operations.fit_inputs import FitOptions
from pmpctl.ui.vram_bar import bar_of, cells
from pmpctl.workspace import Workspace

SIZES = strategies.lists(strategies.floats(0, 1e9), max_size=8)


@given(SIZES, strategies.integers(8, 200))
def test_all_cells_are_given_and_nobody_that_has_any_size_goes_without(sizes: list[float], width: int) -> None:
    counts = cells(sizes, width)

    assert sum(counts) == (width if sum(sizes) > 0 else 0)
    assert all((count > 0) == (size > 0) for count, size in zip(counts, sizes, strict=True))


@given(strategies.lists(strategies.floats(0.01, 100), min_size=1, max_size=300), strategies.integers(1, 20))
def test_a_bar_that_is_too_short_for_all_is_still_as_long_as_it_is(sizes: list[float], width: int) -> None:
    counts = cells(sizes, width)

    assert sum(counts) == width
    assert min(counts) >= 0


def test_a_share_below_zero_leaves_the_others_as_they_are(tmp_path: Path) -> None:
    """Older engines took more for sampling than the start in production that the estimate is corrected by."""
    (tmp_path / "profiles.toml").write_text(
        '[profiles.a]\nmodel = "Qwen/Qwen2.5-32B-Instruct-AWQ"\nmax_model_len = 4096\nkv_cache_dtype = "fp8"\n'
        'quantization = "awq"\ngpu_memory_utilization = 0.95\nenforce_eager = true\n'
        'image = "vllm/vllm-openai:v0.11.0"\n'
    )
    found = assessment(tmp_path)
    bar = bar_of(found)

    beyond = next(line.gib for line in found.lines if line.name == "beyond the formulas")
    assert beyond < 0
    assert "beyond the formulas" not in [segment.name for segment in bar.segments]
    assert all(segment.gib > 0 for segment in bar.segments)
    assert bar.total_gib >= bar.budget_gib


def assessment(folder: Path) -> Assessment:
    environment = Environment(Workspace(folder), None, "auto", {})
    return assess(environment, environment.profile_file(), "a", FitOptions(gpu="A30", offline=True))
