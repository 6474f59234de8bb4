"""The table of faults, second part: what happens around the engine while models change."""

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pmpctl.operations.journal import Step
from pmpctl.runtime.gateway_image import gateway_source
from tests import needs
from tests.stack import Stack
from tests.support import eventually
from tests.switching.conftest import BOTH_RUNTIMES, MODELS, MakeStack
from tests.switching.engines import process_of
from tests.switching.load import Load
from tests.switching.spare_docker import SpareDocker, spare_docker
from tests.switching.watching import at

pytestmark = pytest.mark.slow

NVML = Path(__file__).parents[1] / "world" / "nvml"

ON_A_CARD = """
[profiles.old]
model = "acme/coder"
max_model_len = 1024

[profiles.new]
model = "acme/chat"
max_model_len = 1024
"""


def serving(stack: Stack) -> str:
    return str(stack.ask()["system_fingerprint"]).partition("@")[0]


def assert_all_is_well(stack: Stack, profile: str, model: str = "") -> None:
    """That profile serves, the gateway is open, and nothing tells of an interrupted switch."""
    status = stack.status()
    assert (status["phase"], status["profile"], status["switch"]) == ("ready", profile, None)
    assert not stack.workspace.journal_file.exists()
    assert serving(stack) == (model or MODELS[profile])


@pytest.fixture
def on_a_card(make_stack: MakeStack, tmp_path: Path) -> Stack:
    """A stand-in for an A30, of which the engine holds 20 GB for as long as it lives."""
    held = tmp_path / "held"
    held.mkdir()
    stack = make_stack(more=ON_A_CARD, host="card_timeout = 8")
    stack.environment |= {
        "PYTHONPATH": os.pathsep.join(filter(None, [str(NVML), os.environ.get("PYTHONPATH")])),
        "STAND_IN_GPU": "NVIDIA A30:24576",
        "STAND_IN_GPU_HELD": str(held),
    }
    stack.fault(STUB_GPU_MIB=20480, STAND_IN_GPU_HELD=held)
    up = stack.run("up", "old")
    assert up.returncode == 0, up.stderr
    return stack


def test_memory_of_the_card_that_is_freed_late_is_waited_for(on_a_card: Stack) -> None:
    on_a_card.environment["STAND_IN_GPU_LAG_SECONDS"] = "1.5"

    switched = on_a_card.json("switch", "new")["data"]

    assert 1.5 < switched["phases"]["prove"] < 8
    assert_all_is_well(on_a_card, "new", "acme/chat")


def test_memory_of_the_card_that_is_not_freed_is_named_and_the_old_model_serves_again(on_a_card: Stack) -> None:
    on_a_card.environment["STAND_IN_GPU_LAG_SECONDS"] = "1000"

    done = on_a_card.run("switch", "new")

    assert done.returncode == 5, done.stderr
    assert "NVIDIA A30" in done.stderr
    assert "8 s after the old engine was removed" in done.stderr
    assert_all_is_well(on_a_card, "old", "acme/coder")
    on_a_card.environment["STAND_IN_GPU_LAG_SECONDS"] = "0"
    assert on_a_card.run("switch", "new").returncode == 0
    assert_all_is_well(on_a_card, "new", "acme/chat")


@BOTH_RUNTIMES
@pytest.mark.parametrize("step", [Step.DRAIN, Step.WAIT], ids=str)
async def test_a_gateway_that_is_killed_comes_back_as_it_was_and_the_switch_goes_on(
    make_stack: MakeStack, step: Step
) -> None:
    stack = make_stack()
    assert (await asyncio.to_thread(stack.run, "up", "coding")).returncode == 0
    stack.fault(MODELS["chat"], STUB_START_SECONDS=3)
    load = Load(stack.api_port, concurrency=3)

    def switch() -> "subprocess.CompletedProcess[str]":
        with at(stack, step, "switch", "chat") as command:
            os.kill(process_of(stack, "gateway"), signal.SIGKILL)
            out, err = command.communicate(timeout=90)
            return subprocess.CompletedProcess(command.args, command.returncode, out, err)

    async with load.running():
        await load.some_more()
        done = await asyncio.to_thread(switch)
        await load.some_more()

    assert done.returncode == 0, done.stderr
    assert_all_is_well(stack, "chat")
    # What was under way in the gateway that was killed is lost with it, and nothing else.
    assert {answer.fault for answer in load.answers if not answer.broken} == {""}
    assert {answer.fault for answer in load.answers[-6:]} == {""}


class SmallDisk:
    """The folder in which pmpctl keeps its state, on a disk of its own."""

    def __init__(self, folder: Path) -> None:
        self._ballast = folder / "ballast"

    def fill(self) -> None:
        with contextlib.suppress(OSError), self._ballast.open("wb", buffering=0) as file:
            while True:
                file.write(b"\0" * 4096)

    def empty(self) -> None:
        self._ballast.unlink()


@pytest.fixture
def small_disk(make_stack: MakeStack) -> Iterator[Callable[[Stack], SmallDisk]]:
    if os.geteuid() != 0:
        needs.skip_or_fail("only root may mount a small disk")
    mounted: list[Path] = []

    def mount(stack: Stack) -> SmallDisk:
        folder = stack.workspace.state_dir
        folder.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m,mode=755", "tmpfs", folder], check=True)
        mounted.append(folder)
        return SmallDisk(folder)

    yield mount
    for folder in mounted:
        subprocess.run(["umount", "--lazy", folder], check=True)


@BOTH_RUNTIMES
def test_a_disk_that_is_full_before_a_switch_stops_it_before_anything_is_touched(
    make_stack: MakeStack, small_disk: Callable[[Stack], SmallDisk]
) -> None:
    stack = make_stack()
    disk = small_disk(stack)
    assert stack.run("up", "coding").returncode == 0
    before = process_of(stack, "engine")
    disk.fill()

    done = stack.run("switch", "chat")

    assert done.returncode == 8
    assert "disk" in done.stderr
    assert process_of(stack, "engine") == before
    assert_all_is_well(stack, "coding")
    disk.empty()
    assert stack.run("switch", "chat").returncode == 0
    assert_all_is_well(stack, "chat")


@BOTH_RUNTIMES
def test_a_disk_that_fills_up_while_the_new_model_starts_is_no_reason_to_take_it_back(
    make_stack: MakeStack, small_disk: Callable[[Stack], SmallDisk]
) -> None:
    stack = make_stack()
    disk = small_disk(stack)
    assert stack.run("up", "coding").returncode == 0
    stack.fault(MODELS["chat"], STUB_START_SECONDS=2)

    with at(stack, Step.WAIT, "switch", "chat") as command:
        disk.fill()
        _, said = command.communicate(timeout=90)

    assert command.returncode == 0, said
    assert "disk" in said
    assert serving(stack) == MODELS["chat"]
    disk.empty()
    assert stack.run("switch", "coding").returncode == 0
    assert_all_is_well(stack, "coding")


@pytest.fixture(scope="module")
def spare() -> Iterator[SpareDocker]:
    if os.geteuid() != 0:
        needs.skip_or_fail("only root may start a Docker engine")
    with spare_docker() as docker:
        yield docker


@pytest.fixture
def spare_stack(make_stack: MakeStack, spare: SpareDocker, docker_host: str, base_image: str) -> Iterator[Stack]:
    """On the spare engine; the test is in that engine's network."""
    stack = make_stack(gateway="engine_wait_seconds = 60")
    gateway_image = gateway_source(base_image).image
    if not spare.has_image(gateway_image):
        assert stack.run("up", "coding").returncode == 0
        assert stack.run("down").returncode == 0
        spare.copy_images(docker_host, needs.stub_image(), gateway_image)
    stack.environment["DOCKER_HOST"] = spare.host
    with spare.network():
        yield stack
        spare.start()
        stack.run("down")


@pytest.mark.docker
@pytest.mark.parametrize("make_stack", ["docker"], indirect=True)
@pytest.mark.parametrize(
    ("step", "signum"),
    [
        (Step.DRAIN, signal.SIGKILL),
        (Step.STOP, signal.SIGKILL),
        (Step.WAIT, signal.SIGKILL),
        (Step.WAIT, signal.SIGTERM),
    ],
    ids=["killed-at-drain", "killed-at-stop", "killed-at-wait", "restarted-at-wait"],
)
def test_a_docker_that_goes_and_comes_back_in_a_switch_leaves_what_the_next_command_mends(
    spare_stack: Stack, spare: SpareDocker, step: Step, signum: signal.Signals
) -> None:
    stack = spare_stack
    up = stack.run("up", "coding")
    assert up.returncode == 0, up.stderr
    stack.fault(MODELS["chat"], STUB_START_SECONDS=2)

    with at(stack, step, "switch", "chat") as command:
        spare.end(signum)
        _, said = command.communicate(timeout=120)
    spare.start()

    assert command.returncode == 6, said
    assert "Traceback" not in said
    assert "the Docker engine stopped answering" in said
    status = eventually(lambda: (now := stack.status())["door"] and now, 60)
    assert status["switch"]["state"] == "failed"
    assert "pmpctl up" in status["switch"]["cure"]
    done = stack.run("switch", "chat")
    assert done.returncode == 0, done.stderr
    assert_all_is_well(stack, "chat")
