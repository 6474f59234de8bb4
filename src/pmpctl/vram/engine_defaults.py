"""What vLLM does when it is not told: batch sizes, and the code that profiles its memory, by version and card."""

from enum import StrEnum

from pmpctl.vram.cards import Card
from pmpctl.vram.settings import EngineSettings

GROWS_WITH_CONTEXT_UP_TO = 32768


class Runner(StrEnum):
    """Who measures the activation peak, and by sampling how."""

    V0 = "V0 engine"
    SORTING = "V1 runner, sampling by PyTorch's sort"
    MASKING = "V1 runner, sampling by Triton or FlashInfer"
    V2 = "V2 runner, which profiles no top-k and no top-p"


def runner(settings: EngineSettings, *, is_dense: bool) -> Runner:
    """Sources: vLLM's pull requests 33538 (Triton sampler), 44443 and 53183 (V2 runner for dense models, for all)."""
    version = settings.vllm_version[:2]
    if version < (0, 8):
        return Runner.V0
    if version < (0, 17):
        return Runner.SORTING
    return Runner.V2 if version >= (0, 29) or (is_dense and version >= (0, 26)) else Runner.MASKING


def max_num_seqs(settings: EngineSettings, card: Card) -> int:
    """vLLM: EngineArgs.get_batch_defaults, _set_default_max_num_seqs_and_batched_tokens_args."""
    if settings.max_num_seqs is not None:
        return settings.max_num_seqs
    if settings.device == "cpu":
        default = 128 * settings.tensor_parallel_size
    else:
        default = 1024 if _is_large(card) and settings.vllm_version[:2] >= (0, 8) else 256
    return min(default, max_num_batched_tokens(settings, card))


def max_num_batched_tokens(settings: EngineSettings, card: Card) -> int:
    """vLLM: EngineArgs.get_batch_defaults for the API server; the V0 engine took a whole context up to 32k."""
    if settings.max_num_batched_tokens is not None:
        return settings.max_num_batched_tokens
    if settings.device == "cpu":
        return 2048 * settings.tensor_parallel_size
    if settings.vllm_version[:2] < (0, 8):
        return max(settings.max_model_len, 2048) if prefills_whole(settings) else 2048
    if card.total_gib >= 160:
        return 16384
    return 8192 if _is_large(card) else 2048


def prefills_whole(settings: EngineSettings) -> bool:
    """Whether the V0 engine prefills a whole context at once (vLLM 0.7: EngineArgs.create_engine_config)."""
    return settings.vllm_version[:2] < (0, 8) and settings.max_model_len <= GROWS_WITH_CONTEXT_UP_TO


def estimates_graphs(settings: EngineSettings) -> bool:
    """Whether CUDA graphs are taken off the budget before the KV cache is sized; before, they came on top of it."""
    return settings.vllm_version[:2] >= (0, 21)


def counts_all_consumed(settings: EngineSettings) -> bool:
    """Whether all that is gone from the card counts, buffers of PyTorch included ("consumed memory" in the log)."""
    return settings.vllm_version[:2] >= (0, 27)


def _is_large(card: Card) -> bool:
    return card.total_gib >= 160 or (card.total_gib >= 70 and not card.is_a100)
