"""What takes a share of a card's memory beside the KV cache, and what was measured of it."""

from dataclasses import dataclass

from pmpctl.vram.activation import Activation
from pmpctl.vram.cards import BYTES_PER_GIB, Card
from pmpctl.vram.engine_defaults import estimates_graphs
from pmpctl.vram.layers import Architecture
from pmpctl.vram.overhead import captured_graphs, graphs_gib, non_torch_gib
from pmpctl.vram.settings import EngineSettings

# What loading makes of a checkpoint: 0.2 % more for plain weights, 0.7 to 1.6 % for repacked ones (docs/vram.md).
LOADED_PLAIN, LOADED_QUANTIZED = 1.002, 1.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    bytes: int
    """Of one rank, as they are stored."""
    source: str
    exact: bool = True
    """Counted from tensors or from a known configuration, not guessed."""
    loading_factor: float = LOADED_PLAIN
    """What loading makes of them: LOADED_QUANTIZED for quantized ones, 1 for what an engine reported."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What the engine itself reported for the same model, card and settings; the context may be another."""

    available_kv_gib: float
    weights_gib: float | None = None
    graphs_gib: float | None = None
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Residual:
    """What a related start had more (or, below zero, less) for its KV cache than was estimated for it."""

    gib: float
    source: str


Evidence = Measured | Residual


@dataclass(frozen=True, slots=True)
class Row:
    name: str
    gib: float
    formula: str
    source: str
    in_budget: bool = True


def shares(
    model: Architecture,
    weights: Weights,
    card: Card,
    settings: EngineSettings,
    peak: Activation,
    evidence: Evidence | None,
) -> tuple[Row, ...]:
    measured = evidence if isinstance(evidence, Measured) else None
    loaded_gib = weights.bytes / BYTES_PER_GIB * weights.loading_factor
    weights_row = Row("weights", loaded_gib, f"{weights.bytes:,} B x {weights.loading_factor:g}", weights.source)
    if measured and measured.weights_gib is not None:
        weights_row = Row("weights", measured.weights_gib, "measured", measured.source)
    graphs_row = Row(
        "CUDA graphs",
        graphs_gib(model, settings, card),
        "none in eager mode"
        if settings.enforce_eager
        else f"{captured_graphs(settings, card)} graphs x {model.layers} layers x 72 KiB + 0.1 GiB",
        "fitted; vLLM: profile_cudagraph_memory",
        in_budget=estimates_graphs(settings),
    )
    if measured and measured.graphs_gib is not None:
        graphs_row = Row("CUDA graphs", measured.graphs_gib, "measured", measured.source, estimates_graphs(settings))
    inside = (
        weights_row,
        Row("activation peak", peak.peak_gib, peak.formula, "vLLM: profile_run"),
        Row("non-torch", non_torch_gib(settings), f"{settings.tensor_parallel_size} rank(s)", "fitted"),
        graphs_row,
    )
    return tuple(sorted(inside, key=lambda row: not row.in_budget))
