"""Parameter bytes against vLLM 0.32's own models, built on the meta device: 58 shared rows and 190 of weights alone."""

from collections.abc import Mapping
from typing import Any

import pytest

from pmpctl.vram.counting.modules import Part
from pmpctl.vram.weights import WeightsEstimate, estimate_weights
from tests.unit.vram.oracle import rows

OWN_PARTS = {Part.EMBED: "embed", Part.LM_HEAD: "lm_head", Part.EXPERTS: "experts"}
SEEN_PARTS = {Part.VISION: "vision", Part.PROJECTOR: "projector"}
MEASURED_FROM_THE_CHECKPOINT = {
    "Qwen3-Coder-30B-A3B-FP8-block",
    "Qwen3-Coder-30B-A3B-GPTQ-Int4",
    "Qwen3-Coder-30B-A3B-GPTQ-Int4-tp2",
    "moe-fp8",
    "moe-fp8_static",
    "moe-fp8_block",
    "moe-modelopt_fp8",
    "moe-modelopt_nvfp4",
    "moe-quark_fp8",
}
"""By the letter of these configurations routers are quantized; checkpoints leave them alone, and name them so."""
OFF_BY_SCALES = {"moe-ct_fp8_static", "moe-ct_nvfp4a16", "moe-ct_w4a16", "moe-ct_w4a16_asym", "moe-ct_w4a16_wact"}
OFF_BY_A_NORM = {"OLMoE-1B-7B-tp2", "LlavaOnevisionForConditionalGeneration"}
INEXACT = MEASURED_FROM_THE_CHECKPOINT | OFF_BY_SCALES | OFF_BY_A_NORM

SHARED = list(rows("vllm-oracle.jsonl"))
BY_NAME = {row["name"]: row for row in SHARED}
MORE = list(rows("vllm-weights.jsonl"))


def named(each: list[Any]) -> list[Any]:
    return [pytest.param(row, id=row["name"]) for row in each]


def estimated(row: Mapping[str, Any]) -> WeightsEstimate:
    of = BY_NAME.get(row.get("of", ""), row)
    return estimate_weights(
        of["config"],
        tensor_parallel_size=row.get("tensor_parallel_size", 1),
        language_only=row.get("language_only", False) or "text-only" in row["name"],
    )


@pytest.mark.parametrize("row", named(SHARED + MORE))
def test_the_bytes_of_a_rank_are_those_of_vllms_own_model(row: dict[str, Any]) -> None:
    weights = estimated(row)

    allowed = 0.003 * row["param_bytes"] if row["name"] in INEXACT else 0
    assert weights.bytes_per_rank == pytest.approx(row["param_bytes"], rel=0, abs=allowed)
    assert weights.exact


@pytest.mark.parametrize("row", named(SHARED))
def test_the_parts_of_a_model_are_vllms_own(row: dict[str, Any]) -> None:
    said = dict(row["param_bytes_by_part"])
    parts = OWN_PARTS | SEEN_PARTS if "vision" in said else OWN_PARTS
    if "embed" not in said:
        parts = {part: name for part, name in parts.items() if part is not Part.EMBED}

    found: dict[str, int] = {}
    for part, held in estimated(row).by_part.items():
        name = parts.get(part, "rest")
        found[name] = found.get(name, 0) + held

    allowed = 0.05 if row["name"] in INEXACT else 0
    assert found == pytest.approx({name: held for name, held in said.items() if held}, rel=allowed)


def has_convolutions(row: dict[str, Any]) -> bool:
    """They stand among vLLM's buffers a second time, as views."""
    return "mamba_d_state" in row["config"] or "ssm_state_size" in row["config"]


WITH_TABLES = [row for row in SHARED if row["buffer_bytes"] > 1 << 22 and not has_convolutions(row)]


@pytest.mark.parametrize("row", named(WITH_TABLES))
def test_rotary_tables_are_as_large_as_vllms_buffers(row: dict[str, Any]) -> None:
    assert estimated(row).buffer_bytes == pytest.approx(row["buffer_bytes"], rel=0.02)


@pytest.mark.parametrize("row", named(list(rows("observed-weights.jsonl"))))
def test_loading_takes_what_engines_logged(row: dict[str, Any]) -> None:
    weights = estimated(row)

    assert weights.loaded_bytes / (1 << 30) == pytest.approx(row["loaded_gib"], rel=0.012)
