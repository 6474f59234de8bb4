"""For which card a fit is computed: the one that is asked about, this host's, or any of a size."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import psutil

from pmpctl.errors import CardUnknown, PmpctlError, UsageError
from pmpctl.host.gpus import list_gpus, select_gpus
from pmpctl.operations.card_use import CardUse, find_uses, gib
from pmpctl.operations.environment import Environment, choose_runtime
from pmpctl.planning.gpu import gpu_devices
from pmpctl.profiles.model import Profile, ProfileFile
from pmpctl.runtime.base import Runtime
from pmpctl.vram.cards import BYTES_PER_GIB, Card, card_of_host, card_of_size, named_card


@dataclass(frozen=True, slots=True)
class ChosenCard:
    """A card, why it is this one, and what is free on it where somebody could be asked."""

    card: Card
    why: str
    free_gib: float | None = None
    notes: tuple[str, ...] = ()


def choose_card(
    environment: Environment,
    file: ProfileFile,
    profile: Profile,
    runtime: Runtime | None,
    *,
    gpu: str | None,
    budget_gib: float | None,
) -> ChosenCard:
    """The card that was asked for, else this host's, else the budget of [host]; on the CPU the host's memory.

    `runtime` knows our own engine, whose memory counts as free: it ends before another starts. None: find it, if any
    process holds the card at all.
    """
    if gpu is not None and budget_gib is not None:
        raise UsageError("--gpu and --budget-gib name two cards", cure="Give one of them.")
    if profile.device == "cpu":
        return _host_memory()
    if gpu is not None:
        return ChosenCard(named_card(gpu), f"--gpu {gpu}")
    if budget_gib is not None:
        return ChosenCard(card_of_size(budget_gib), f"--budget-gib {budget_gib:g}")
    if uses := _uses(environment, file, profile, runtime):
        return _of_host(uses)
    if file.host.vram_budget_gib is not None:
        return ChosenCard(card_of_size(file.host.vram_budget_gib), "vram_budget_gib of [host]; this host has no GPU")
    raise CardUnknown(
        "this host has no GPU, and nothing says for which card to check",
        cure="Name a card with --gpu A30, or its memory with --budget-gib 24 or `vram_budget_gib` of [host].",
    )


def _host_memory() -> ChosenCard:
    memory = psutil.virtual_memory()
    card = Card("this host's memory", memory.total / BYTES_PER_GIB, (0, 0))
    return ChosenCard(card, "the profile runs on the CPU", memory.available / BYTES_PER_GIB)


def _uses(environment: Environment, file: ProfileFile, profile: Profile, runtime: Runtime | None) -> Sequence[CardUse]:
    devices, count = gpu_devices(file.host), profile.tensor_parallel_size
    idle = [CardUse(gpu) for gpu in select_gpus(list_gpus(), devices, count)]
    if runtime is None and any(use.gpu.processes for use in idle):
        try:
            runtime = choose_runtime(environment, file).runtime
        except PmpctlError:
            return [CardUse(use.gpu, others=use.gpu.processes) for use in idle]
    return find_uses(environment, file, runtime, devices, count) if runtime is not None else idle


def _of_host(uses: Sequence[CardUse]) -> ChosenCard:
    """The smallest decides, and the busiest."""
    smallest = min((use.gpu for use in uses), key=lambda gpu: gpu.total_bytes)
    card = card_of_host(smallest.name, smallest.total_bytes)
    busiest = min(uses, key=lambda use: use.available_bytes)
    free_gib = min(busiest.available_bytes / BYTES_PER_GIB, card.total_gib)
    return ChosenCard(card, "the GPU of this host", free_gib, tuple(_notes(busiest)))


def _notes(use: CardUse) -> Iterator[str]:
    for holder in use.holders:
        yield f"{holder} of {use.gpu.name}."
    if use.leaving_bytes:
        yield (
            f"This workspace's engine holds {gib(use.leaving_bytes)} of {use.gpu.name}; counted as free: "
            "it ends before another starts."
        )
