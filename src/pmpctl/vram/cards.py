"""The GPU cards one can ask `--gpu` about: their memory as the driver reports it, which is less than the label says."""

import difflib
import re
from dataclasses import dataclass
from enum import StrEnum

from pmpctl.errors import CardUnknown

BYTES_PER_GIB = 1 << 30

RESERVED_GIB = 0.5
"""What the driver keeps of a card: NVML's total less what CUDA reports was 0.45 to 0.60 GiB on ten kinds of cards."""


class Fp8Cache(StrEnum):
    """How a card gets on with a KV cache of fp8."""

    NATIVE = "native"
    CONVERTED = "converted"
    """Stored as fp8 and converted on every read (vLLM: FlashInferBackend; its Triton backend refuses below 8.9)."""
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Card:
    name: str
    total_gib: float
    """As CUDA reports it: `torch.cuda.mem_get_info()[1]`."""
    capability: tuple[int, int]
    """CUDA compute capability."""
    is_a100: bool = False
    """vLLM gives these the batch sizes of small cards (EngineArgs.get_batch_defaults)."""

    @property
    def fp8_cache(self) -> Fp8Cache:
        if self.capability >= (8, 9):
            return Fp8Cache.NATIVE
        return Fp8Cache.CONVERTED if self.capability >= (8, 0) else Fp8Cache.NONE


AMPERE_DATA_CENTRE, AMPERE, ADA, HOPPER, TURING, VOLTA = (8, 0), (8, 6), (8, 9), (9, 0), (7, 5), (7, 0)
BLACKWELL_DATA_CENTRE, BLACKWELL = (10, 0), (12, 0)

# Totals are figures from startup logs of vLLM and from messages of PyTorch on Linux; docs/vram.md has the ranges seen.
CARDS: tuple[Card, ...] = (
    Card("T4", 14.56, TURING),
    Card("V100-16", 15.77, VOLTA),
    Card("V100-32", 31.73, VOLTA),
    Card("A2", 14.5, AMPERE),
    Card("A4000", 15.6, AMPERE),
    Card("A5000", 23.5, AMPERE),
    Card("A6000", 47.4, AMPERE),
    Card("A10", 22.0, AMPERE),
    Card("A10G", 21.99, AMPERE),
    Card("A16", 14.5, AMPERE),
    Card("A30", 23.5, AMPERE_DATA_CENTRE),
    Card("A40", 44.4, AMPERE),
    Card("A100-40", 39.4, AMPERE_DATA_CENTRE, is_a100=True),
    Card("A100-80", 79.15, AMPERE_DATA_CENTRE, is_a100=True),
    Card("L4", 22.03, ADA),
    Card("L40", 44.4, ADA),
    Card("L40S", 44.39, ADA),
    Card("RTX 4000 Ada", 19.5, ADA),
    Card("RTX 4500 Ada", 23.5, ADA),
    Card("RTX 5000 Ada", 31.5, ADA),
    Card("RTX 6000 Ada", 47.4, ADA),
    Card("H100", 79.11, HOPPER),
    Card("H200", 139.8, HOPPER),
    Card("B200", 178.3, BLACKWELL_DATA_CENTRE),
    Card("RTX PRO 6000", 94.97, BLACKWELL),
    Card("RTX 2080 Ti", 10.5, TURING),
    Card("RTX 3060", 11.76, AMPERE),
    Card("RTX 3080", 9.6, AMPERE),
    Card("RTX 3090", 23.56, AMPERE),
    Card("RTX 4060 Ti", 15.6, ADA),
    Card("RTX 4070 Ti Super", 15.6, ADA),
    Card("RTX 4080", 15.6, ADA),
    Card("RTX 4090", 23.52, ADA),
    Card("RTX 5070 Ti", 15.45, BLACKWELL),
    Card("RTX 5080", 15.45, BLACKWELL),
    Card("RTX 5090", 31.36, BLACKWELL),
)

ALIASES = {
    "v100": "V100-16",
    "a100": "A100-80",
    "3090ti": "RTX 3090",
    "rtx6000pro": "RTX PRO 6000",
    "pro6000": "RTX PRO 6000",
    "6000ada": "RTX 6000 Ada",
    "5000ada": "RTX 5000 Ada",
    "4000ada": "RTX 4000 Ada",
    "rtxa4000": "A4000",
    "rtxa5000": "A5000",
    "rtxa6000": "A6000",
}

# Words of a driver's or a shop's name for a card that tell nothing about it.
EMPTY_WORDS = re.compile(
    r"\b(nvidia|tesla|geforce|quadro|generation|graphics|blackwell|workstation|server|edition|max q|oem|gpu|pcie|"
    r"sxm\d?|hbm\de?|nvl|sff|laptop|d|v2|lite)\b"
)


def named_card(name: str) -> Card:
    """The card of that name, however it is written: `4090`, `rtx-4090`, `NVIDIA GeForce RTX 4090`, `A100 80GB`."""
    card = find_card(name)
    if card is not None:
        return card
    names = {_key(known.name): known.name for known in CARDS}
    close = [names[key] for key in difflib.get_close_matches(_key(name), list(names), n=3, cutoff=0.5)]
    known = ", ".join(card.name for card in CARDS)
    raise CardUnknown(
        f"no card is known by the name {name!r}",
        cure=f"{'Did you mean ' + ' or '.join(close) + '? ' if close else ''}Known are: {known}. "
        "For any other, say how much memory it has with --budget-gib.",
    )


def find_card(name: str) -> Card | None:
    key = _key(name)
    by_key = {_key(card.name): card for card in CARDS}
    wanted = _key(ALIASES[key]) if key in ALIASES else key
    return by_key.get(wanted) or by_key.get("rtx" + wanted)


def card_of_host(name: str, nvml_total_bytes: int) -> Card:
    """The card in this machine: known ones by name, others by what the driver says less what it keeps.

    A card whose memory is not that of the known one (a 4090 with 48 GB) is taken at its memory.
    """
    usable_gib = nvml_total_bytes / BYTES_PER_GIB - RESERVED_GIB
    same_name = [card for card in CARDS if _key(card.name).split("-")[0] == _key(name).split("-")[0]]
    known = find_card(name)
    for card in ([known] if known else []) + same_name:
        if abs(card.total_gib - usable_gib) <= 1.0:
            return card
    alike = known or next(iter(same_name), None)
    capability = alike.capability if alike else AMPERE_DATA_CENTRE
    return Card(name, usable_gib, capability, is_a100="a100" in name.lower())


def card_of_size(label_gib: float) -> Card:
    """Any card that is sold as one of so many GiB; taken as an Ampere card, the oldest with every kernel."""
    if not RESERVED_GIB < label_gib < 10_000:
        raise CardUnknown(
            f"a card of {label_gib:g} GiB does not exist", cure="Give the memory of one card in GiB, such as 24."
        )
    return Card(f"a {label_gib:g} GiB card", label_gib - RESERVED_GIB, AMPERE_DATA_CENTRE)


def _key(name: str) -> str:
    words = re.sub(r"[_/\-\s]+", " ", name.lower())
    if not re.search(r"\b[av]100\b", words):
        words = re.sub(r"\b\d+ ?gb\b", "", words)
    joined = EMPTY_WORDS.sub("", words).replace(" ", "")
    with_size = re.fullmatch(r"(v100|a100)(\d+)g?b?", joined)
    return f"{with_size[1]}-{with_size[2]}" if with_size else joined
