"""What takes the memory, as the segments of one bar against the budget; the terminal and the SVG draw the same."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pmpctl.operations.fit import Assessment


@dataclass(frozen=True, slots=True)
class Look:
    """How a segment appears: a letter, a block where there are no colours, a terminal's colour, one for documents."""

    letter: str
    block: str
    style: str
    fill: str


@dataclass(frozen=True, slots=True)
class Segment:
    name: str
    gib: float
    look: Look


LOOKS = {
    "weights": Look("W", "█", "blue", "#3b6fb6"),
    "activation peak": Look("A", "▓", "magenta", "#a05195"),
    "non-torch": Look("N", "▒", "cyan", "#4a9c9c"),
    "CUDA graphs": Look("G", "▚", "yellow", "#c9a227"),
    "beyond the formulas": Look("B", "▞", "red", "#8c564b"),
}
KV_CACHE = Look("K", "░", "green", "#4c9f50")
FREE = Look(".", "·", "faint", "#e4e4e4")
MISSING = Look("!", "▌", "error", "#d62728")


@dataclass(frozen=True, slots=True)
class Bar:
    segments: tuple[Segment, ...]
    budget_gib: float
    """Where the mark stands; what is missing lies beyond it."""

    @property
    def total_gib(self) -> float:
        return sum(segment.gib for segment in self.segments)


def bar_of(found: "Assessment") -> Bar:
    """Shares below zero take no room: they are in the figures, and what they give is part of the KV cache's room."""
    shares = [line for line in found.lines if line.kind == "share" and line.gib > 0]
    segments = [Segment(line.name, line.gib, LOOKS[line.name]) for line in shares]
    room = max(0.0, found.budget_gib - sum(segment.gib for segment in segments))
    if found.settings.kv_cache_memory_bytes is not None:
        room = min(room, found.kv_available_gib)
    inside = min(found.kv_needed_gib, room)
    segments.append(Segment("KV cache", inside, KV_CACHE))
    taken = sum(segment.gib for segment in segments)
    missing = found.kv_needed_gib - inside
    rest = (
        Segment("KV cache missing", missing, MISSING)
        if missing > 0
        else Segment("left", found.budget_gib - taken, FREE)
    )
    return Bar(tuple(segment for segment in (*segments, rest) if segment.gib > 0), found.budget_gib)


def cells(sizes: Sequence[float], width: int) -> list[int]:
    """How many of `width` cells each size gets: all are given, and what is not zero gets one if there are enough."""
    total = sum(sizes)
    if total <= 0:
        return [0 for _ in sizes]
    edges = [round(width * upto / total) for upto in accumulate(sizes)]
    counts = [edge - before for edge, before in zip(edges, [0, *edges[:-1]], strict=True)]
    for index, size in enumerate(sizes):
        widest = max(range(len(counts)), key=counts.__getitem__)
        if size > 0 and counts[index] == 0 and counts[widest] > 1:
            counts[index], counts[widest] = 1, counts[widest] - 1
    return counts
