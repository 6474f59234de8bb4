"""How much of which GPUs an engine will take, read from what it is started with."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Self

from pmpctl.planning.plan import GpuRequest, Unit

DEFAULT_SHARE = 0.92
"""vLLM 0.32's, for engines that were not told (CacheConfig.gpu_memory_utilization)."""


@dataclass(frozen=True, slots=True)
class CardClaim:
    """The first `count` of `devices`, and `share` of the memory of each.

    vLLM asks for that share at its start and refuses with less, also where the size of the KV cache is given
    (request_memory).
    """

    devices: tuple[str, ...]
    count: int
    share: float

    def __str__(self) -> str:
        """As a mark in an engine's environment, which `parse` reads."""
        return f"{self.share:g} {self.count} {','.join(self.devices)}"

    @classmethod
    def parse(cls, text: str) -> Self | None:
        try:
            share, count, devices = text.split(" ")
            return cls(tuple(devices.split(",")), int(count), float(share))
        except ValueError:
            return None


def claim_of(unit: Unit) -> CardClaim | None:
    """None for a unit without a GPU."""
    return claim_of_arguments(unit.argv, unit.gpu)


def claim_of_arguments(argv: Sequence[str], gpu: GpuRequest | None) -> CardClaim | None:
    if gpu is None:
        return None
    ranks = _number(argv, "--tensor-parallel-size", "-tp") or 1
    stages = _number(argv, "--pipeline-parallel-size", "-pp") or 1
    share = _number(argv, "--gpu-memory-utilization") or DEFAULT_SHARE
    return CardClaim(gpu.devices, max(1, int(ranks * stages)), share)


def _number(argv: Sequence[str], *names: str) -> float | None:
    """The last one given, as vLLM reads them."""
    found = None
    for word, following in pairwise((*argv, "")):
        name, equals, value = word.partition("=")
        if name.replace("_", "-") in names:
            try:
                found = float(value if equals else following)
            except ValueError:
                continue
    return found
