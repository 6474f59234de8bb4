"""Cards by the names that people and drivers give them."""

import pytest

from pmpctl.errors import CardUnknown
from pmpctl.vram.cards import CARDS, Fp8Cache, card_of_host, card_of_size, named_card

GIB = 1 << 30
MIB = 1 << 20


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ("A30", "A30"),
        ("3090", "RTX 3090"),
        ("rtx-4090", "RTX 4090"),
        ("NVIDIA GeForce RTX 4090", "RTX 4090"),
        ("A100-40", "A100-40"),
        ("A100-SXM4-80GB", "A100-80"),
        ("NVIDIA A100-PCIE-40GB", "A100-40"),
        ("h100", "H100"),
        ("NVIDIA H100 80GB HBM3", "H100"),
        ("Tesla T4", "T4"),
        ("Tesla V100-SXM2-32GB", "V100-32"),
        ("NVIDIA RTX 6000 Ada Generation", "RTX 6000 Ada"),
        ("NVIDIA RTX PRO 6000 Blackwell Workstation Edition", "RTX PRO 6000"),
        ("NVIDIA RTX A6000", "A6000"),
        ("l40s", "L40S"),
    ],
)
def test_a_card_is_found_however_it_is_written(asked: str, name: str) -> None:
    assert named_card(asked).name == name


def test_every_card_is_found_by_its_own_name() -> None:
    assert [named_card(card.name) for card in CARDS] == list(CARDS)


def test_an_unknown_card_is_an_error_that_suggests_the_nearest() -> None:
    with pytest.raises(CardUnknown) as error:
        named_card("RTX 4091")
    assert "RTX 4090" in error.value.cure
    assert "--budget-gib" in error.value.cure


@pytest.mark.parametrize(
    ("name", "nvml_mib", "known"),
    [("NVIDIA A30", 24576, "A30"), ("NVIDIA L4", 23034, "L4"), ("NVIDIA A100-SXM4-40GB", 40960, "A100-40")],
)
def test_a_card_in_the_machine_is_taken_at_what_cuda_reports(name: str, nvml_mib: int, known: str) -> None:
    assert card_of_host(name, nvml_mib * MIB) == named_card(known)


def test_a_card_with_other_memory_than_its_name_says_is_taken_at_its_memory() -> None:
    found = card_of_host("NVIDIA GeForce RTX 4090", 48 * GIB)
    assert found.total_gib == pytest.approx(47.5)
    assert found.capability == (8, 9)


def test_a_card_that_nobody_knows_is_taken_at_its_memory() -> None:
    assert card_of_host("NVIDIA Something New", 64 * GIB).total_gib == pytest.approx(63.5)


def test_a_size_is_a_label_and_the_driver_keeps_its_part() -> None:
    assert card_of_size(24).total_gib == pytest.approx(23.5)
    with pytest.raises(CardUnknown):
        card_of_size(0)


def test_only_newer_cards_read_an_fp8_cache_by_themselves() -> None:
    kinds = {card.name: card.fp8_cache for card in CARDS}
    assert kinds["L4"] is kinds["H100"] is kinds["RTX 5090"] is Fp8Cache.NATIVE
    assert kinds["A30"] is kinds["RTX 3090"] is Fp8Cache.CONVERTED
    assert kinds["T4"] is kinds["V100-32"] is Fp8Cache.NONE
