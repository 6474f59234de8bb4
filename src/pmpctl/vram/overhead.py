"""What an engine takes beside weights and activations: CUDA graphs, and memory outside PyTorch's allocator."""

from pmpctl.vram.cards import BYTES_PER_GIB, Card
from pmpctl.vram.engine_defaults import counts_all_consumed, max_num_batched_tokens, max_num_seqs
from pmpctl.vram.layers import Architecture
from pmpctl.vram.settings import EngineSettings

LARGEST_CAPTURE = 512

# Fitted: 0.17 to 0.42 GiB on logged starts with the default sizes, 0.32 for 94 layers and 32 sequences.
GRAPH_POOL_GIB = 0.1
GRAPH_BYTES_PER_LAYER = 72 << 10

# Fitted: the CUDA context's growth and cuBLAS on one rank, NCCL and custom all-reduce buffers on more.
NON_TORCH_GIB = {1: 0.1, 2: 0.6, 4: 1.4, 8: 1.7}
PERSISTENT_BUFFERS_GIB = 0.2
"""Input buffers and workspaces that "consumed memory" has on top: 0.27 to 0.47 GiB were logged on one rank."""


def captured_graphs(settings: EngineSettings, card: Card) -> int:
    """Mixed batches up to twice the sequences, and decoding batches. vLLM: VllmConfig._set_cudagraph_sizes."""
    sequences = max_num_seqs(settings, card)
    largest = min(2 * sequences, LARGEST_CAPTURE, max_num_batched_tokens(settings, card))
    return _sizes_up_to(largest) + _sizes_up_to(min(sequences, largest))


def _sizes_up_to(largest: int) -> int:
    return (
        sum(size <= largest for size in (1, 2, 4))
        + len(range(8, min(largest + 1, 256), 8))
        + len(range(256, largest + 1, 16))
    )


def graphs_gib(model: Architecture, settings: EngineSettings, card: Card) -> float:
    """0 in eager mode and on the CPU. vLLM: profile_cudagraph_memory: a shared pool and every graph's own nodes."""
    if settings.enforce_eager or settings.device == "cpu":
        return 0.0
    nodes = captured_graphs(settings, card) * model.layers * GRAPH_BYTES_PER_LAYER
    return GRAPH_POOL_GIB + nodes / BYTES_PER_GIB


def non_torch_gib(settings: EngineSettings) -> float:
    """Per rank. vLLM: memory_profiling, the growth of non-PyTorch memory since the snapshot at the start."""
    if settings.device == "cpu":
        return 0.0
    ranks = settings.tensor_parallel_size
    base = next((gib for known, gib in NON_TORCH_GIB.items() if ranks <= known), max(NON_TORCH_GIB.values()))
    return base + (PERSISTENT_BUFFERS_GIB if counts_all_consumed(settings) else 0.0)
