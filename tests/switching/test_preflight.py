"""What fails before anything is stopped: the old model never notices. The card and the hub are stand-ins."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import psutil
import pytest

from pmpctl.hub.cache import is_complete, repository_folder
from pmpctl.operations.gateway_control import gateway_status
from pmpctl.workspace import Workspace
from tests.cards import holding
from tests.small_vllm import make_vllm
from tests.stack import Stack
from tests.support import eventually
from tests.switching.conftest import MODELS, MakeStack
from tests.unit.hub.checkpoints import one_file, two_shards, write_cache
from tests.unit.hub.stub_hub import Fault, StubHub, running_hub

NVML = Path(__file__).parents[1] / "world" / "nvml"

ON_A_CARD = """
[profiles.first]
model = "acme/coder"
gpu_memory_utilization = 0.9
[profiles.second]
model = "acme/chat"
gpu_memory_utilization = 0.9
[profiles.small]
model = "acme/coder"
gpu_memory_utilization = 0.4
"""


@pytest.fixture
def hub() -> Iterator[StubHub]:
    with running_hub() as stub:
        yield stub


@pytest.fixture
def held(tmp_path: Path) -> Path:
    folder = tmp_path / "held"
    folder.mkdir()
    return folder


@pytest.fixture
def carded(make_stack: MakeStack, held: Path) -> Stack:
    """On an A30 with 24 GB, of which each engine holds what its profile asks for."""
    stack = make_stack(more=ON_A_CARD)
    stack.environment |= {
        "PYTHONPATH": str(NVML),
        "STAND_IN_GPU": "NVIDIA A30:24576",
        "STAND_IN_GPU_HELD": str(held),
    }
    stack.fault(STUB_GPU_MIB=21000, STAND_IN_GPU_HELD=held)
    return stack


def up(stack: Stack, profile: str) -> str:
    """The engine that answers then, by its fingerprint."""
    done = stack.run("up", profile)
    assert done.returncode == 0, done.stderr
    return fingerprint(stack)


def fingerprint(stack: Stack) -> str:
    return str(stack.ask()["system_fingerprint"])


def assert_unnoticed(stack: Stack, engine: str) -> None:
    status = gateway_status(stack.workspace)
    assert status is not None
    assert status.phase == "open"
    assert fingerprint(stack) == engine
    assert not stack.workspace.journal_file.exists()


def refusal(stack: Stack, *argv: str) -> tuple[int, dict[str, Any]]:
    """The exit status and the error of a command that fails, no event of which is a step of a switch."""
    done: CompletedProcess[str] = stack.run(*argv, "--json")
    *events, envelope = map(json.loads, done.stdout.splitlines())
    assert not {"hold", "drain", "stop"} & {event.get("phase") for event in events}
    [error] = envelope["errors"]
    return done.returncode, error


def phases(stack: Stack, *argv: str) -> list[dict[str, Any]]:
    done = stack.run(*argv, "--json")
    assert done.returncode == 0, done.stdout
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_weights_that_are_not_here_and_may_not_be_downloaded(make_stack: MakeStack) -> None:
    stack = make_stack(more='[profiles.absent]\nmodel = "acme/absent"\ndevice = "cpu"')
    engine = up(stack, "coding")

    status, error = refusal(stack, "switch", "absent")

    assert (status, error["code"]) == (10, "model_not_cached")
    assert_unnoticed(stack, engine)


def test_weights_are_downloaded_while_the_old_model_serves(make_stack: MakeStack, hub: StubHub) -> None:
    stack = make_stack(more='[profiles.new]\nmodel = "owner/new"\ndevice = "cpu"')
    hub.add("owner/new", two_shards())
    up(stack, "coding")
    stack.environment |= {"HF_HUB_OFFLINE": "", "HF_ENDPOINT": hub.url, "HF_HUB_DISABLE_XET": "1"}

    events = phases(stack, "switch", "new")

    order = [event["phase"] for event in events if event.get("event") == "phase_finished"]
    assert order.index("weights") < order.index("page-cache") < order.index("hold")
    assert is_complete(stack.workspace.root / "models", "owner/new", None)
    assert fingerprint(stack).startswith("owner/new@")


def test_a_download_that_hangs_holds_up_nobody_and_leaves_nothing_when_it_is_interrupted(
    make_stack: MakeStack, hub: StubHub
) -> None:
    stack = make_stack(more='[profiles.new]\nmodel = "owner/new"\ndevice = "cpu"')
    hub.add("owner/new", one_file())
    hub.faults_of_store = [Fault(200, stalls=True)]
    engine = up(stack, "coding")
    stack.environment |= {"HF_HUB_OFFLINE": "", "HF_ENDPOINT": hub.url, "HF_HUB_DISABLE_XET": "1"}

    with stack.running("switch", "new") as command:
        eventually(lambda: hub.asked_of_store, 60)
        helpers = psutil.Process(command.pid).children()
        assert_unnoticed(stack, engine)
        command.send_signal(signal.SIGINT)
        command.wait(30)

    assert command.returncode == 130
    assert not any(helper.is_running() for helper in helpers)
    blobs = repository_folder(stack.workspace.root / "models", "owner/new") / "blobs"
    assert list(blobs.glob("*.incomplete")) == []
    assert_unnoticed(stack, engine)


def test_arguments_that_vllm_refuses(make_stack: MakeStack, stub_vllm: Path, tmp_path: Path) -> None:
    stack = make_stack(more='[profiles.odd]\nmodel = "acme/chat"\ndevice = "cpu"\nextra_args = ["--seed", "one"]')
    calls = tmp_path / "calls"
    stack.environment["PMPCTL_ENGINE_PROGRAM"] = str(make_vllm(tmp_path / "venv", calls, stub_vllm))
    engine = up(stack, "coding")

    status, error = refusal(stack, "switch", "odd")

    assert (status, error["code"]) == (2, "arguments_refused")
    assert "argument --seed: invalid int value: 'one'" in error["message"]
    assert_unnoticed(stack, engine)
    for profile in ("chat", "coding", "chat"):
        phases(stack, "switch", profile)
    assert fingerprint(stack).startswith(MODELS["chat"])
    # Once for each set of arguments.
    assert calls.read_text().count("asked") == 3


def test_the_memory_of_the_engine_that_leaves_counts_as_free_and_is_waited_for(carded: Stack, held: Path) -> None:
    up(carded, "first")
    carded.environment["STAND_IN_GPU_LAG_SECONDS"] = "1.5"

    events = phases(carded, "switch", "second")

    waits = [event["message"] for event in events if event.get("event") == "phase_progress"]
    assert any(message.startswith("waiting for 18") and message.endswith("GiB more") for message in waits)
    assert events[-1]["data"]["phases"]["prove"] > 1
    assert fingerprint(carded).startswith(MODELS["chat"])


def test_an_engine_of_another_workspace_on_the_card(carded: Stack, held: Path, tmp_path: Path, stub_vllm: Path) -> None:
    carded.fault(STUB_GPU_MIB=9000, STAND_IN_GPU_HELD=held)
    other = Stack(Workspace(tmp_path / "other"), stub_vllm, environment=dict(carded.environment))
    other.workspace.root.mkdir()
    other.write(more=ON_A_CARD)
    for model in MODELS.values():
        write_cache(other.workspace.root / "models", model, one_file())
    other.fault(STUB_GPU_MIB=9000, STAND_IN_GPU_HELD=held)
    try:
        engine = up(carded, "small")
        neighbour = up(other, "small")

        status, error = refusal(carded, "switch", "second")

        assert (status, error["code"]) == (8, "card_taken")
        assert str(other.workspace.root) in error["message"]
        assert_unnoticed(carded, engine)
        assert fingerprint(other) == neighbour
    finally:
        other.run("down")


def test_memory_that_somebody_else_takes_is_named_before_anything_is_stopped(carded: Stack, held: Path) -> None:
    engine = up(carded, "first")
    with holding(held, 4096) as program:
        status, error = refusal(carded, "switch", "second")

        assert_unnoticed(carded, engine)
    assert (status, error["code"]) == (8, "card_taken")
    assert f"blender (pid {program.pid}) holds 4.00 GiB" in error["message"]
    assert f"`kill {program.pid}`" in error["cure"]


def test_a_dry_run_touches_nothing(make_stack: MakeStack) -> None:
    stack = make_stack(more='[profiles.absent]\nmodel = "acme/absent"\ndevice = "cpu"')
    engine = up(stack, "coding")

    done = stack.run("switch", "absent", "--dry-run")

    assert done.returncode == 0, done.stderr
    assert "to be downloaded" in done.stdout
    assert_unnoticed(stack, engine)
