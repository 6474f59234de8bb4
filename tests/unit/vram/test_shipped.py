"""Facts of the shipped profiles' models: complete, as the tool writes them, and as large as what was published."""

import json
import tomllib
from pathlib import Path

import pytest
from tools.ship_model_facts import FOLDER, MODELS, facts, written

from pmpctl.vram.facts import ModelFacts
from pmpctl.vram.shipped import file_name, shipped_facts
from pmpctl.vram.weights import estimate_weights

REPOSITORY = Path(__file__).parents[3]
PROFILES = tomllib.loads((REPOSITORY / "profiles.toml").read_text())["profiles"]
HUB_MODELS = sorted({each["model"] for each in PROFILES.values() if "/" in each.get("model", "")})


def shipped(model: str) -> ModelFacts:
    found = shipped_facts(model)
    assert found is not None
    return found


@pytest.mark.parametrize("model", HUB_MODELS)
def test_each_model_of_the_shipped_profiles_is_in_the_package(model: str) -> None:
    found = shipped(model)

    assert found.config["architectures"]
    assert found.tensors is not None
    assert "package" in found.source


@pytest.mark.parametrize("model", sorted(MODELS))
def test_the_files_are_what_the_tool_writes(model: str) -> None:
    assert (FOLDER / file_name(model)).read_text() == written(facts(model, *MODELS[model]))


@pytest.mark.parametrize(
    ("model", "published_gb"),
    [
        ("Qwen/Qwen2.5-32B-Instruct-AWQ", 19.33),
        ("stelterlab/Qwen3-Coder-30B-A3B-Instruct-AWQ", 16.8),
        ("mistralai/Mistral-7B-Instruct-v0.2", 7.241732096 * 2),
    ],
)
def test_a_checkpoint_is_as_large_as_the_published_one(model: str, published_gb: float) -> None:
    assert shipped(model).weights_bytes == pytest.approx(published_gb * 1e9, rel=0.001)


@pytest.mark.parametrize(
    ("model", "language_only", "logged_gib"),
    [
        ("Qwen/Qwen2.5-Coder-32B-Instruct-AWQ", False, 18.14),
        ("Qwen/Qwen2.5-32B-Instruct-AWQ", False, 18.14),
        ("Qwen/Qwen2.5-Coder-14B-Instruct-AWQ", False, 9.38),
        ("cyankiwi/Devstral-Small-2-24B-Instruct-2512-AWQ-4bit", True, 14.29),
    ],
)
def test_loading_takes_what_engines_logged(model: str, language_only: bool, logged_gib: float) -> None:
    found = shipped(model)
    weights = estimate_weights(found.config, found.tensors, language_only=language_only)

    assert weights.exact
    assert weights.loaded_bytes / (1 << 30) == pytest.approx(logged_gib, rel=0.002)


@pytest.mark.parametrize("model", HUB_MODELS)
@pytest.mark.parametrize("ranks", [1, 2, 4, 8])
def test_tensors_and_configuration_say_the_same_of_every_rank(model: str, ranks: int) -> None:
    found = shipped(model)

    from_tensors = estimate_weights(found.config, found.tensors, tensor_parallel_size=ranks)
    from_config = estimate_weights(found.config, tensor_parallel_size=ranks)

    assert from_tensors.bytes_per_rank == pytest.approx(from_config.bytes_per_rank, rel=1e-6)


@pytest.mark.parametrize("model", ["Qwen/Qwen3-8B", "builtin:demo", "./folder", "../../secrets", "", "/etc/passwd"])
def test_no_other_model_is_in_the_package(model: str) -> None:
    assert shipped_facts(model) is None


def test_the_files_hold_nothing_but_facts() -> None:
    for file in FOLDER.iterdir():
        assert set(json.loads(file.read_text())) == {"model", "source", "config", "tensors"}
