"""What of an engine's settings decides about memory; the caller takes it from a profile."""

from dataclasses import dataclass
from typing import Literal

Version = tuple[int, int, int]
VLLM_RELEASE: Version = (0, 32, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """vLLM's own names; None is vLLM's default."""

    max_model_len: int
    gpu_memory_utilization: float = 0.92
    kv_cache_dtype: str = "auto"
    dtype: str | None = None
    quantization: str | None = None
    max_num_seqs: int | None = None
    max_num_batched_tokens: int | None = None
    kv_cache_memory_bytes: int | None = None
    enforce_eager: bool = False
    tensor_parallel_size: int = 1
    block_size: int | None = None
    device: Literal["cuda", "cpu"] = "cuda"
    vllm_version: Version = VLLM_RELEASE
    text_only: bool = False
    """No images, sound or video: `--language-model-only`, or every limit of `--limit-mm-per-prompt` 0."""
