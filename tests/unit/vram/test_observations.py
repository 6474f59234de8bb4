"""Logged starts of vLLM, replayed: the estimate must agree with what the engine reported and with what happened."""

import subprocess
import sys
from dataclasses import replace

import pytest
from bench.vram_observations import MISSES, Replay, card_of, replays, settings_of

from pmpctl.vram.architecture import read_architecture
from pmpctl.vram.estimate import Verdict, estimate
from pmpctl.vram.facts import ModelFacts
from pmpctl.vram.shares import Weights

FOUND = replays()


def named(found: list[Replay]) -> list[object]:
    return [pytest.param(each, id=f"{each.row['model']}-{each.row['max_model_len']}") for each in found]


@pytest.mark.parametrize("start", named([each for each in FOUND if each.states_enough]))
def test_the_kv_cache_is_as_large_as_the_engine_found_it(start: Replay) -> None:
    assert start.error_gib is not None
    if start.row["source"] in MISSES:
        assert abs(start.error_gib) <= 1.0, "a known miss became larger"
        return
    assert abs(start.error_gib) <= start.allowed_error_gib


@pytest.mark.parametrize("start", named([each for each in FOUND if each.estimate and each.served is not None]))
def test_nothing_that_failed_is_said_to_fit_and_nothing_that_served_is_said_not_to(start: Replay) -> None:
    assert not start.contradicts


def test_a_start_that_the_engine_refused_for_free_memory_is_refused() -> None:
    refused = [each.row for each in FOUND if each.refused_for_free_memory]
    assert refused
    config = {"model_type": "llama", "num_hidden_layers": 1, "hidden_size": 64, "num_attention_heads": 1}
    config |= {"vocab_size": 256, "intermediate_size": 64}
    facts = ModelFacts("any", None, config, None, None, "")
    for row in refused:
        settings = replace(settings_of(row), max_model_len=64, tensor_parallel_size=1)
        weights = Weights(bytes=1 << 20, source="")
        found = estimate(facts, read_architecture(config), weights, card_of(row), settings, free_gib=row["free_gib"])
        assert found.verdict is Verdict.DOES_NOT_FIT
        assert "free" in found.reasons[0]


def test_most_rows_that_state_a_card_and_its_share_are_used() -> None:
    assert sum(each.states_enough for each in FOUND) >= 18
    assert all(each.left_out for each in FOUND if each.estimate is None)


def test_the_published_table_is_what_the_command_makes() -> None:
    made = subprocess.run([sys.executable, "-m", "bench.vram_accuracy", "--check"], capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
