"""`up` and the memory of the card: what is refused, warned of, measured and remembered. The card is a stand-in."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pmpctl.operations.journal import Step
from pmpctl.workspace import Workspace
from tests.stack import Stack
from tests.switching.interruptions import interrupt
from tests.unit.hub.checkpoints import write_cache
from tests.unit.vram.models import QWEN_32B

NVML = Path(__file__).parents[2] / "world" / "nvml"
MODEL = "acme/qwen-32b"

PROFILES = """
[profiles.big]
model = "acme/qwen-32b"
max_model_len = {context}
gpu_memory_utilization = {utilization}
kv_cache_dtype = "fp8"

[profiles.unknown]
model = "acme/unheard-of"
"""


@pytest.fixture
def stack(workspace: Workspace, stub_vllm: Path, tmp_path: Path) -> Iterator[Stack]:
    """A card of 24 GB, and a model of 18 GiB in the cache of a machine without a network."""
    held = tmp_path / "held"
    held.mkdir()
    environment = {
        "PYTHONPATH": str(NVML),
        "STAND_IN_GPU": "NVIDIA A30:24576",
        "STAND_IN_GPU_HELD": str(held),
        "HF_HUB_OFFLINE": "1",
    }
    stack = Stack(workspace, stub_vllm, environment=environment)
    write_cache(workspace.root / "models", MODEL, {"config.json": json.dumps(QWEN_32B).encode()})
    with_context(stack, 60000)
    yield stack
    stack.run("down")


def with_context(stack: Stack, context: int, utilization: float = 0.95) -> None:
    stack.write(more=PROFILES.format(context=context, utilization=utilization))


def assessed(stack: Stack) -> dict[str, Any]:
    """What a dry run finds out, whether it would be refused or not."""
    envelope = json.loads(stack.run("up", "big", "--dry-run", "--json").stdout.splitlines()[-1])
    found: dict[str, Any] = envelope["data"]["fit"]["assessment"]
    return found


def records(stack: Stack) -> list[Path]:
    return sorted(stack.workspace.calibration_dir.glob("*.json"))


def test_what_does_not_fit_is_refused_before_anything_is_touched(stack: Stack) -> None:
    largest = assessed(stack)["safe_context"]

    done = stack.run("up", "big")

    assert done.returncode == 3
    assert "error: big does not fit A30" in done.stderr
    assert "GiB are missing" in done.stderr
    assert f"{largest:,} tokens" in done.stderr
    assert "cure: Set " in done.stderr
    assert "--force" in done.stderr
    assert not stack.workspace.lock_file.exists()
    assert not stack.workspace.process_dir.exists()


def test_the_refusal_has_a_code(stack: Stack) -> None:
    envelope = json.loads(stack.run("up", "big", "--json").stdout.splitlines()[-1])

    assert envelope["exit_status"] == 3
    assert envelope["errors"][0]["code"] == "does_not_fit"


def test_a_refusal_says_that_an_interrupted_switch_stays_so(stack: Stack) -> None:
    assert "interrupted" not in stack.run("up", "big").stderr
    interrupt(stack, Step.START, is_held=False)

    done = stack.run("up", "big")

    assert done.returncode == 3
    assert "a switch was interrupted, and stays so: `pmpctl status`" in done.stderr
    assert stack.status()["switch"]["state"] == "interrupted"


def test_force_starts_what_does_not_fit_and_says_so(stack: Stack) -> None:
    done = stack.run("up", "big", "--force")

    assert done.returncode == 0, done.stderr
    assert "does not fit" in done.stderr
    assert "(--force)" in done.stderr
    assert stack.status()["phase"] == "ready"


def test_what_runs_already_is_not_judged_again(stack: Stack) -> None:
    stack.run("up", "big", "--force")

    again = stack.run("up", "big")

    assert again.returncode == 0, again.stderr
    assert "fit" not in again.stderr


def test_restart_recreates_what_runs_as_planned(stack: Stack) -> None:
    with_context(stack, 4096)
    stack.run("up", "big")

    again = stack.json("up", "big", "--restart")

    assert again["data"]["changes"] == {"engine": "replaced", "gateway": "replaced"}


def test_what_is_tight_starts_with_a_warning(stack: Stack) -> None:
    with_context(stack, assessed(stack)["largest_context"])

    done = stack.run("up", "big")

    assert done.returncode == 0, done.stderr
    assert "warning: big is tight on A30" in done.stderr


def test_what_fits_starts_without_a_word(stack: Stack) -> None:
    with_context(stack, 4096, utilization=0.9)

    done = stack.run("up", "big")

    assert done.returncode == 0, done.stderr
    assert "warning" not in done.stderr


def test_a_model_that_nobody_knows_starts_and_is_said_to_be_unchecked(stack: Stack) -> None:
    done = stack.run("up", "unknown")

    assert done.returncode == 0, done.stderr
    assert "whether the model fits was not checked" in done.stderr
    assert "acme/unheard-of" in done.stderr


def test_a_dry_run_shows_the_verdict_and_ends_as_the_start_would(stack: Stack) -> None:
    refused = stack.run("up", "big", "--dry-run")
    with_context(stack, 4096, utilization=0.9)
    fitting = stack.run("up", "big", "--dry-run")

    assert refused.returncode == 3
    assert "does not fit, A30 (estimated)" in refused.stdout
    assert fitting.returncode == 0
    assert "fits, A30 (estimated)" in fitting.stdout
    assert not stack.workspace.state_dir.exists()


def test_what_a_start_measured_counts_for_the_same_settings(stack: Stack) -> None:
    with_context(stack, 20480)
    stack.fault(STUB_AVAILABLE_KV_GIB=2.73)
    stack.run("up", "big", "--force")

    found = assessed(stack)

    assert found["basis"] == "measured"
    assert found["kv_available_gib"] == 2.73
    assert found["evidence"].startswith("vLLM's log of big, started on ")
    assert {line["name"]: line["gib"] for line in found["lines"]}["weights"] == 18.14


def test_and_corrects_the_estimate_of_related_ones(stack: Stack) -> None:
    with_context(stack, 20480)
    stack.fault(STUB_AVAILABLE_KV_GIB=2.73)
    stack.run("up", "big", "--force")

    with_context(stack, 32768)
    longer = assessed(stack)
    with_context(stack, 32768, utilization=0.9)
    smaller = assessed(stack)

    assert (longer["basis"], smaller["basis"]) == ("corrected", "corrected")
    assert longer["kv_available_gib"] == pytest.approx(2.73)
    assert smaller["kv_available_gib"] == pytest.approx(2.73 - 0.05 * 23.5)
    assert longer["verdict"] == "does not fit"


def test_a_later_start_with_the_same_settings_replaces_what_was_measured(stack: Stack) -> None:
    with_context(stack, 4096)
    for available_gib in (2.5, 2.6):
        stack.fault(STUB_AVAILABLE_KV_GIB=available_gib)
        assert stack.run("up", "big", "--restart").returncode == 0

    assert len(records(stack)) == 1
    assert assessed(stack)["kv_available_gib"] == 2.6


def test_a_measurement_on_another_card_counts_for_nothing(stack: Stack) -> None:
    with_context(stack, 4096)
    stack.fault(STUB_AVAILABLE_KV_GIB=2.5)
    stack.run("up", "big")

    stack.environment["STAND_IN_GPU"] = "NVIDIA A10:23028"

    assert assessed(stack)["basis"] == "estimated"


def test_a_damaged_record_is_named_and_ignored(stack: Stack) -> None:
    with_context(stack, 4096)
    stack.fault(STUB_AVAILABLE_KV_GIB=2.5)
    stack.run("up", "big")
    [record] = records(stack)
    record.write_text(record.read_text()[:100])

    found = assessed(stack)

    assert found["basis"] == "estimated"
    assert any(str(record) in note for note in found["notes"])
    again = stack.run("up", "big", "--restart")
    assert again.returncode == 0
    assert str(record) in again.stderr
    assert assessed(stack)["basis"] == "measured"


def test_an_engine_that_tells_no_figures_leaves_no_record(stack: Stack) -> None:
    with_context(stack, 4096)
    stack.run("up", "big")

    assert records(stack) == []
