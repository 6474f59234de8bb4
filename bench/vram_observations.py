"""Replays logged starts of vLLM against the estimate: rows of tests/data/vram-observations.jsonl to `Replay`s."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pmpctl.errors import PmpctlError
from pmpctl.vram.architecture import read_architecture
from pmpctl.vram.cards import BYTES_PER_GIB, Card, find_card
from pmpctl.vram.estimate import Estimate, Verdict, estimate
from pmpctl.vram.facts import ModelFacts
from pmpctl.vram.settings import EngineSettings, Version
from pmpctl.vram.shares import Weights

DATA = Path(__file__).parent.parent / "tests" / "data"
OBSERVATIONS = DATA / "vram-observations.jsonl"
CONFIGS = DATA / "observed-configs.json"
MORE_CONFIGS = DATA / "observed-configs-whole.json"
"""Models that the other file lacks, or has without their vision towers."""

# The first pattern that a row's model matches names its config.json.
MODELS = (
    (r"Llama-3\.3-70B|Llama-3\.1-70B", "Llama-3.1-70B"),
    (r"Llama-3\.1-8B", "Llama-3.1-8B"),
    (r"gpt-oss-20b", "gpt-oss-20b"),
    (r"gpt-oss-120b", "gpt-oss-120b"),
    (r"Qwen3-235B", "Qwen3-235B"),
    (r"Qwen3-(Coder-)?30B-A3B", "Qwen3-30B"),
    (r"Qwen3-Next", "Qwen3-Next"),
    (r"Qwen3-32B", "Qwen3-32B"),
    (r"Qwen3-14B", "Qwen3-14B"),
    (r"Qwen3-8B", "Qwen3-8B"),
    (r"Qwen3-0\.6B", "Qwen3-0.6B"),
    (r"Qwen3\.5-4B", "Qwen3.5-4B"),
    (r"qwen3\.[68]-27b", "Qwen3.5-27B"),
    (r"Qwen2\.5-(Coder-)?14B", "Qwen2.5-14B"),
    (r"Qwen2\.5-7B", "Qwen2.5-7B"),
    (r"Qwen2\.5-1\.5B", "Qwen2.5-1.5B"),
    (r"(?i)qwen2\.5-0\.5b", "Qwen2.5-0.5B"),
    (r"EXAONE-4\.0-32B", "EXAONE-4.0-32B"),
    (r"Devstral-Small-2", "Devstral-2"),
    (r"granite-3\.3-2b", "granite-3.3-2b"),
    (r"gemma-3-1b", "gemma-3-1b"),
    (r"gemma-3-27b", "gemma-3-27b"),
    (r"DeepSeek-R1", "DeepSeek-R1"),
    (r"NVIDIA-Nemotron-3-Nano", "Nemotron-3-Nano"),
)

# What a row's source says, and the row does not.
ALSO_SAID: dict[str, dict[str, Any]] = {
    "BigBIueWhale/devstral_vllm_config:config.yaml": {"text_only": True},
    "github file id 67109588529": {
        "model": "Qwen/Qwen2.5-1.5B-Instruct",
        "max_num_batched_tokens": 8192,
        "vllm_version": "0.28.1",
    },
    "github file id 61815222665": {"vllm_version": "0.27.1"},
    "github file id 61918553602": {"vllm_version": "0.27.1"},
}

# Rows that their own sources show to be something else than the estimate describes.
OTHER_ENGINES = {
    "github file id 69127197512/69231470721": "drafts tokens with an MTP head, in an image with settings of its own",
}


MISSES = {
    "BigBIueWhale/devstral_vllm_config:config.yaml": "0.8 GiB more than any formula here explains were taken at the "
    "start; a profiling batch of 5,120 tokens, which vLLM once used for multimodal models, would, but was not logged",
}
"""Rows that state enough and are still missed, each with what is known about why."""


@dataclass(frozen=True)
class Replay:
    row: dict[str, Any]
    estimate: Estimate | None
    left_out: str
    """Why there is no estimate."""
    assumed: tuple[str, ...]
    """What the row leaves open and vLLM's defaults stand in for."""

    @property
    def states_enough(self) -> bool:
        return self.estimate is not None and self.row["available_kv_gib"] is not None and not self.assumed

    @property
    def error_gib(self) -> float | None:
        """The estimated KV cache less the logged one."""
        if self.estimate is None or self.row["available_kv_gib"] is None:
            return None
        return float(self.estimate.kv_available_gib - self.row["available_kv_gib"])

    @property
    def refused_for_free_memory(self) -> bool:
        return bool(self.row["failure_class"] == "free_memory_refusal")

    @property
    def served(self) -> bool | None:
        """None where it is not about memory at this context: other failures, contexts that are not stated."""
        if self.row["max_model_len"] is None or self.row["failure_class"] == "unrelated_post_init":
            return None
        return {"ok": True, "kv_error": False}.get(self.row["outcome"])

    @property
    def allowed_error_gib(self) -> float:
        return 1.0 if (self.row["tensor_parallel"] or 1) > 1 else 0.5

    @property
    def contradicts(self) -> bool:
        """Whether the verdict is against what happened, where nothing had to be assumed."""
        if self.estimate is None or self.served is None or self.assumed:
            return False
        return self.estimate.verdict is (Verdict.DOES_NOT_FIT if self.served else Verdict.FITS)


def replays(observations: Path = OBSERVATIONS) -> list[Replay]:
    configs = json.loads(CONFIGS.read_text()) | json.loads(MORE_CONFIGS.read_text())
    rows = [json.loads(line) for line in observations.read_text().splitlines() if line.strip()]
    return [replay(row, configs) for row in rows]


def replay(row: dict[str, Any], configs: dict[str, Any]) -> Replay:
    row = {**row, **ALSO_SAID.get(row["source"], {})}
    missing = left_out(row, configs)
    if missing:
        return Replay(row, None, missing, ())
    config = configs[config_name(row["model"])]
    facts = ModelFacts(row["model"], None, config, None, None, "the model's config.json")
    weights = Weights(bytes=int(row["weights_gib"] * BYTES_PER_GIB), source=row["source"], loading_factor=1.0)
    assumed = () if row["gpu_memory_utilization"] is not None else ("gpu_memory_utilization",)
    try:
        found = estimate(
            facts, read_architecture(config), weights, card_of(row), settings_of(row), free_gib=row.get("free_gib")
        )
    except PmpctlError as error:
        return Replay(row, None, error.message, ())
    return Replay(row, found, "", assumed)


def left_out(row: dict[str, Any], configs: dict[str, Any]) -> str:
    if row["source"] in OTHER_ENGINES:
        return OTHER_ENGINES[row["source"]]
    if not row["model"] or config_name(row["model"]) not in configs:
        return "the model's configuration is not known"
    if row["weights_gib"] is None:
        return "the weights' size is not stated"
    if row["gpu_total_gib"] is None and find_card(row["gpu"] or "") is None:
        return "neither card nor its memory is stated"
    return ""


def config_name(model: str | None) -> str:
    return next((name for pattern, name in MODELS if re.search(pattern, model or "")), "")


def card_of(row: dict[str, Any]) -> Card:
    name = row["gpu"] or "a card"
    known = find_card(name)
    total = row["gpu_total_gib"] or (known.total_gib if known else 0.0)
    return Card(name, total, known.capability if known else (8, 0), is_a100="A100" in name)


def settings_of(row: dict[str, Any]) -> EngineSettings:
    version = version_of(row)
    default_utilization = 0.92 if version >= (0, 21, 0) else 0.9
    cache = (row["kv_cache_dtype"] or "auto").split(" ")[0]
    return EngineSettings(
        max_model_len=row["max_model_len"] or 1024,
        gpu_memory_utilization=row["gpu_memory_utilization"] or default_utilization,
        kv_cache_dtype={"bf16": "bfloat16"}.get(cache, cache),
        max_num_seqs=row["max_num_seqs"],
        max_num_batched_tokens=row["max_num_batched_tokens"],
        enforce_eager=bool(row["enforce_eager"]) or row["cudagraph_gib"] == 0,
        tensor_parallel_size=row["tensor_parallel"] or 1,
        vllm_version=version,
        text_only=bool(row.get("text_only")),
    )


def version_of(row: dict[str, Any]) -> Version:
    """The stated version, else the oldest whose log has the lines that the row was read from."""
    match = re.match(r"(\d+)\.(\d+)(?:\.(\d+))?", row["vllm_version"] or "")
    if match:
        return int(match[1]), int(match[2]), int(match[3] or 0)
    if row["engine"] == "V0":
        return 0, 7, 0
    if row.get("consumed_gib") is not None:
        return 0, 27, 0
    return (0, 21, 0) if row.get("cudagraph_est_gib") is not None else (0, 11, 0)
