"""Two workspaces and one card: each sees what the other's engine holds, or is about to take. The card is a stand-in."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pmpctl.workspace import Workspace
from tests.stack import Stack

NVML = Path(__file__).parents[2] / "world" / "nvml"

PROFILES = """
[profiles.small]
model = "acme/unheard-of"
gpu_memory_utilization = 0.45

[profiles.large]
model = "acme/unheard-of"
gpu_memory_utilization = 0.9
"""


@pytest.fixture
def held(tmp_path: Path) -> Path:
    folder = tmp_path / "held"
    folder.mkdir()
    return folder


@pytest.fixture
def stack(workspace: Workspace, stub_vllm: Path, held: Path) -> Iterator[Stack]:
    yield from running_stack(workspace, stub_vllm, held)


@pytest.fixture
def other(tmp_path: Path, stub_vllm: Path, held: Path) -> Iterator[Stack]:
    """Another workspace, on the same card of 24 GB."""
    workspace = Workspace(tmp_path / "other")
    workspace.root.mkdir()
    yield from running_stack(workspace, stub_vllm, held)


def running_stack(workspace: Workspace, stub_vllm: Path, held: Path) -> Iterator[Stack]:
    environment = {
        "PYTHONPATH": str(NVML),
        "STAND_IN_GPU": "NVIDIA A30:24576",
        "STAND_IN_GPU_HELD": str(held),
        "HF_HUB_OFFLINE": "1",
    }
    stack = Stack(workspace, stub_vllm, environment=environment)
    stack.write(more=PROFILES)
    yield stack
    stack.run("down")


def take(stack: Stack, held: Path, mebibytes: int) -> None:
    """From its next start on the engine holds so much of the card."""
    stack.fault(STUB_GPU_MIB=mebibytes, STAND_IN_GPU_HELD=held)


def refusal(stack: Stack, *argv: str) -> dict[str, Any]:
    envelope: dict[str, Any] = json.loads(stack.run(*argv, "--json").stdout.splitlines()[-1])
    assert not envelope["ok"]
    return envelope


def test_an_engine_that_would_collide_with_anothers_is_refused_before_anything_is_touched(
    stack: Stack, other: Stack, held: Path
) -> None:
    take(other, held, 21000)
    assert other.run("up", "large").returncode == 0

    envelope = refusal(stack, "up", "large")

    [error] = envelope["errors"]
    assert (envelope["exit_status"], error["code"]) == (8, "card_taken")
    assert f"the engine of the workspace {other.workspace.root}" in error["message"]
    assert f"`pmpctl --workspace {other.workspace.root} down`" in error["cure"]
    assert not stack.workspace.process_dir.exists()
    assert other.status()["phase"] == "ready"


def test_the_command_that_the_refusal_names_clears_the_way(stack: Stack, other: Stack, held: Path) -> None:
    take(other, held, 21000)
    other.run("up", "large")
    cure = refusal(stack, "up", "large")["errors"][0]["cure"]
    command = cure.split("`")[1].split()

    assert command[0] == "pmpctl"
    assert stack.run(*command[1:]).returncode == 0

    assert stack.run("up", "large").returncode == 0


def test_an_engine_that_has_not_taken_its_memory_yet_counts_with_what_it_will_take(stack: Stack, other: Stack) -> None:
    assert other.run("up", "large").returncode == 0

    assert refusal(stack, "up", "large")["errors"][0]["code"] == "card_taken"


def test_engines_that_fit_beside_each_other_may_run(stack: Stack, other: Stack, held: Path) -> None:
    take(other, held, 10500)
    assert other.run("up", "small").returncode == 0
    take(stack, held, 10500)

    assert stack.run("up", "small").returncode == 0
    assert refusal(stack, "up", "large")["errors"][0]["code"] == "card_taken"

    assert stack.status()["profile"] == "small"
    assert other.status()["phase"] == "ready"


def test_ones_own_engine_is_no_neighbour(stack: Stack, held: Path) -> None:
    take(stack, held, 21000)
    stack.run("up", "large")

    assert stack.run("up", "small").returncode == 0
    assert stack.run("up", "large").returncode == 0


def test_a_driver_that_does_not_tell_who_holds_what_changes_nothing(stack: Stack, other: Stack, held: Path) -> None:
    for each in (stack, other):
        each.environment["STAND_IN_GPU_MUTE"] = "1"
        take(each, held, 10500)
    other.run("up", "small")

    assert stack.run("up", "small").returncode == 0
    assert stack.run("up", "small", "--restart").returncode == 0
    assert refusal(stack, "up", "large")["errors"][0]["code"] == "card_taken"


def test_force_starts_even_so_and_says_who_is_there(stack: Stack, other: Stack, held: Path) -> None:
    take(other, held, 21000)
    other.run("up", "large")

    done = stack.run("up", "large", "--force")

    assert done.returncode == 0, done.stderr
    assert str(other.workspace.root) in done.stderr
    assert "(--force)" in done.stderr


def test_an_engine_on_the_processor_takes_nothing_of_the_card(stack: Stack, other: Stack) -> None:
    other.run("up", "coding")

    assert stack.run("up", "large").returncode == 0


def test_a_port_of_another_workspace_is_named_with_that_workspace(stack: Stack, other: Stack) -> None:
    other.run("up", "coding")
    stack.api_port = other.api_port
    stack.write(more=PROFILES)

    [error] = refusal(stack, "up", "coding")["errors"]

    assert error["code"] == "port_taken"
    assert f"the gateway of the workspace {other.workspace.root}" in error["message"]
    assert f"`pmpctl --workspace {other.workspace.root} down`" in error["cure"]
