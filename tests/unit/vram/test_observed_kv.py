"""Logs of real engines, read from public issues: what they printed beside what is computed for the same settings."""

import json
import re
from typing import Any

import pytest

from pmpctl.vram.architecture import read_architecture
from pmpctl.vram.kv_cache import KvLayout, kv_layout
from pmpctl.vram.kv_pages import KvSettings
from tests.unit.vram.oracle import DATA, rows

GIB = 1 << 30
AGREES = 0.02
CONFIGS = json.loads((DATA / "observed-configs.json").read_text())
OBSERVED = [
    pytest.param(row, id=f"{number}-{row['config']}") for number, row in enumerate(rows("vram-observations-kv.jsonl"))
]
# Two batches in flight, and states kept at block boundaries: not yet in the logs of 0.13, but in later ones.
ASYNC_SCHEDULING_SINCE = PREFIX_CACHING_OF_STATES_SINCE = (0, 14)


def version_of(row: dict[str, Any]) -> tuple[int, ...]:
    said = re.match(r"[\d.]+", row["vllm_version"] or "")
    return tuple(int(part) for part in said[0].strip(".").split(".")) if said else (0, 10)


def layout_of(row: dict[str, Any]) -> KvLayout:
    version = version_of(row)
    dtype = row["kv_cache_dtype"] or "auto"
    settings = KvSettings(
        max_model_len=row["max_model_len"] or 4096,
        max_num_batched_tokens=row["max_num_batched_tokens"] or 2048,
        max_concurrent_batches=2 if version >= ASYNC_SCHEDULING_SINCE else 1,
        tensor_parallel_size=row["tensor_parallel"] or 1,
        kv_cache_dtype="auto" if dtype.startswith(("auto", "bf16")) else dtype,
        prefix_caching=version >= PREFIX_CACHING_OF_STATES_SINCE,
        vllm_version=version,
    )
    return kv_layout(read_architecture(CONFIGS[row["config"]]), settings)


@pytest.mark.parametrize("row", OBSERVED)
def test_computed_blocks_tokens_and_concurrency_agree_with_the_log(row: dict[str, Any]) -> None:
    layout = layout_of(row)
    if row["kv_needed_gib"]:
        assert layout.bytes_of_request(row["max_model_len"]) / GIB == pytest.approx(row["kv_needed_gib"], rel=AGREES)
        return
    pool = layout.pool(int(row["available_kv_gib"] * GIB))

    if row["num_gpu_blocks"]:
        assert pool.blocks == pytest.approx(row["num_gpu_blocks"], rel=AGREES)
    if row["max_concurrency"] and row["max_model_len"]:
        assert pool.concurrency == pytest.approx(row["max_concurrency"], rel=AGREES)
    assert pool.printed_tokens == pytest.approx(row["kv_cache_tokens"], rel=AGREES)


def test_a_log_of_a_hybrid_model_is_met_block_by_block() -> None:
    row = next(row for row in rows("vram-observations-kv.jsonl") if row["config"] == "Qwen3-Next")

    pool = layout_of(row).pool(int(row["available_kv_gib"] * GIB))

    assert (pool.blocks, pool.printed_tokens, round(pool.concurrency, 2)) == (7162, 973760, 14.77)


def test_the_attention_block_of_a_hybrid_model_is_the_one_logged() -> None:
    """1568 tokens for Qwen3.5-27B with an fp8 cache, 544 for Qwen3-Next."""
    logged = {("Qwen3.5-27B", "fp8"): 1568, ("Qwen3-Next", "auto"): 544}

    for (model, dtype), block in logged.items():
        layout = kv_layout(read_architecture(CONFIGS[model]), KvSettings(max_model_len=32768, kv_cache_dtype=dtype))
        assert {group.block_size for group in layout.groups} == {block}


def test_a_32b_model_with_fp8_cache_serves_about_22_thousand_tokens_from_2_73_gib() -> None:
    """Production, on an A30: 32768 did not start, 20480 does."""
    config = {**CONFIGS["Qwen2.5-14B"], "num_hidden_layers": 64}
    layout = kv_layout(read_architecture(config), KvSettings(max_model_len=32768, kv_cache_dtype="fp8"))
    available = int(2.73 * GIB)

    assert layout.bytes_of_request(32768) == 4 * GIB
    assert 22_000 < layout.largest_context(available) < 22_500
    assert layout.bytes_to_start(20480) <= available < layout.bytes_to_start(32768)
