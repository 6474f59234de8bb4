"""For which card a fit is computed: the one that is asked about, this host's, or any of a size."""

from collections.abc import Sequence
from dataclasses import dataclass

import psutil

from pmpctl.errors import CardUnknown, UsageError
from pmpctl.host.gpus import Gpu, list_gpus
from pmpctl.profiles.model import HostSettings, Profile
from pmpctl.vram.cards import BYTES_PER_GIB, Card, card_of_host, card_of_size, named_card


@dataclass(frozen=True, slots=True)
class ChosenCard:
    """A card, why it is this one, and what is free on it where somebody could be asked."""

    card: Card
    why: str
    free_gib: float | None = None
    notes: tuple[str, ...] = ()


def choose_card(profile: Profile, host: HostSettings, *, gpu: str | None, budget_gib: float | None) -> ChosenCard:
    """The card that was asked for, else this host's, else the budget of [host]; on the CPU the host's memory."""
    if gpu is not None and budget_gib is not None:
        raise UsageError("--gpu and --budget-gib name two cards", cure="Give one of them.")
    if profile.device == "cpu":
        return _host_memory()
    if gpu is not None:
        return ChosenCard(named_card(gpu), f"--gpu {gpu}")
    if budget_gib is not None:
        return ChosenCard(card_of_size(budget_gib), f"--budget-gib {budget_gib:g}")
    if gpus := _engine_gpus(host, list_gpus(), profile.tensor_parallel_size):
        return _of_host(gpus)
    if host.vram_budget_gib is not None:
        return ChosenCard(card_of_size(host.vram_budget_gib), "vram_budget_gib of [host]; this host has no GPU")
    raise CardUnknown(
        "this host has no GPU, and nothing says for which card to check",
        cure="Name a card with --gpu A30, or its memory with --budget-gib 24 or `vram_budget_gib` of [host].",
    )


def _host_memory() -> ChosenCard:
    memory = psutil.virtual_memory()
    card = Card("this host's memory", memory.total / BYTES_PER_GIB, (0, 0))
    return ChosenCard(card, "the profile runs on the CPU", memory.available / BYTES_PER_GIB)


def _engine_gpus(host: HostSettings, gpus: Sequence[Gpu], count: int) -> Sequence[Gpu]:
    if host.gpus != "all":
        gpus = [gpu for gpu in gpus if gpu.index in host.gpus or gpu.uuid in host.gpus]
    return gpus[:count]


def _of_host(gpus: Sequence[Gpu]) -> ChosenCard:
    """The smallest decides. What a vLLM engine holds counts as free: the next engine starts when that one has ended."""
    smallest = min(gpus, key=lambda gpu: gpu.total_bytes)
    card = card_of_host(smallest.name, smallest.total_bytes)
    busiest = min(gpus, key=lambda gpu: gpu.free_bytes + gpu.held_by_engines_bytes)
    held = busiest.held_by_engines_bytes / BYTES_PER_GIB
    free = min(busiest.free_bytes / BYTES_PER_GIB + held, card.total_gib)
    notes = [
        f"{holder} holds {holder.used_bytes / BYTES_PER_GIB:.2f} GiB of {busiest.name}." for holder in busiest.others
    ]
    if held:
        notes.append(
            f"A vLLM engine holds {held:.2f} GiB of {busiest.name}; counted as free: it ends before another starts."
        )
    return ChosenCard(card, "the GPU of this host", free, tuple(notes))
