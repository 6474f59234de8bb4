"""The rows of the memory table: every share with its formula and where that comes from."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from pmpctl.operations.fit_inputs import FitInputs
from pmpctl.vram.estimate import Basis, Estimate

LineKind = Literal["card", "budget", "share", "outside", "available", "needed", "left"]


@dataclass(frozen=True, slots=True)
class Line:
    """One row of the table, in its order."""

    kind: LineKind
    name: str
    gib: float
    formula: str
    source: str


def lines_of(inputs: FitInputs, found: Estimate) -> Iterator[Line]:
    settings, layout = found.settings, found.layout
    yield Line("card", "usable memory", found.card.total_gib, found.card.name, inputs.chosen.why)
    if settings.kv_cache_memory_bytes is None:
        share = f"{settings.gpu_memory_utilization:g} x {found.card.total_gib:.2f} GiB"
        yield Line("budget", "budget", found.budget_gib, share, "vLLM: request_memory")
        available = "budget less the rows above"
    else:
        available = f"kv_cache_memory_bytes = {settings.kv_cache_memory_bytes}"
    for row in found.rows:
        kind: LineKind = "share" if row.in_budget else "outside"
        yield Line(kind, row.name, row.gib, row.formula, row.source)
    if found.basis is Basis.MEASURED and settings.kv_cache_memory_bytes is None:
        available = "measured"
    source = found.evidence or "vLLM: determine_available_memory"
    yield Line("available", "KV cache available", found.kv_available_gib, available, source)
    tokens = settings.max_model_len
    need = (
        f"{layout.blocks_of_request(tokens):,} + 1 blocks of {layout.bytes_per_block:,} B for a request of "
        f"{tokens:,} tokens; {layout.bytes_per_token:,} B for each token"
    )
    yield Line("needed", "KV cache needed", found.kv_needed_gib, need, "vLLM: get_kv_cache_groups and its spec classes")
    yield Line(
        "left",
        "left" if found.margin_gib >= 0 else "missing",
        abs(found.margin_gib),
        f"at the tightest of the checks; the figures may be {found.band_gib:.2f} GiB off",
        "docs/vram.md",
    )
