"""Whose processes hold the card, where engines are containers; the card itself is a stand-in."""

from pathlib import Path

import pytest

from pmpctl.errors import CardNotFree
from pmpctl.operations.card import EngineTrace, prove_free, trace_engine
from pmpctl.operations.card_use import find_uses
from pmpctl.operations.environment import Environment
from pmpctl.planning.card_claim import CardClaim
from pmpctl.planning.plan import GpuMethod, GpuRequest, Mount
from pmpctl.runtime.docker import DockerRuntime
from pmpctl.runtime.docker_connect import EngineClient
from pmpctl.runtime.process import ProcessRuntime
from pmpctl.workspace import Workspace
from tests.cards import engine_of, install_card, plan_of, run_operation
from tests.docker.conftest import UnitMaker
from tests.docker.containers import foreign_container, is_running
from tests.support import eventually

pytestmark = pytest.mark.docker

SLEEPS = "import signal; signal.pause()"
WITH_A_CHILD = "import os, signal; os.fork(); signal.pause()"


def test_all_processes_of_a_unit_are_known_also_by_their_trace_once_it_is_gone(
    runtime: DockerRuntime, make_unit: UnitMaker, workspace: Workspace
) -> None:
    state = runtime.start(make_unit(WITH_A_CHILD))
    # The init process, the program and its child.
    eventually(lambda: len(runtime.processes(state.id)) == 3)
    trace = trace_engine(runtime, state)
    runtime.stop(state, 0)
    runtime.remove(state)

    assert len(trace.processes) == 3
    assert runtime.processes(state.id) == frozenset()
    plan = plan_of(workspace, engine_of("vllm", gpu=False), "docker")
    assert run_operation(prove_free(runtime, plan, [trace], timeout_seconds=20)).how == "runtime"


def test_an_engine_that_still_runs_is_no_free_card(
    runtime: DockerRuntime, make_unit: UnitMaker, workspace: Workspace
) -> None:
    state = runtime.start(make_unit())
    plan = plan_of(workspace, engine_of("vllm", gpu=False), "docker")

    with pytest.raises(CardNotFree):
        run_operation(prove_free(runtime, plan, [trace_engine(runtime, state)], timeout_seconds=0))


@pytest.mark.parametrize("engine", ["docker_host"], indirect=True)
def test_processes_that_stay_in_the_control_group_of_a_container_are_ended(
    runtime: DockerRuntime,
    client: EngineClient,
    base_image: str,
    workspace: Workspace,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A container of somebody else plays the one that was removed while its processes stayed."""
    held = install_card(tmp_path / "held", monkeypatch)
    with foreign_container(client, base_image, HostConfig={"NetworkMode": "none"}) as container:
        [orphan] = eventually(lambda: runtime.processes(container))
        (held / str(orphan.pid)).write_text("20480")
        plan = plan_of(workspace, engine_of("vllm", "--gpu-memory-utilization", "0.9"), "docker")

        proof = run_operation(prove_free(runtime, plan, [EngineTrace(container, "engine")], timeout_seconds=30))

        assert not is_running(client, container)
    assert proof.enough
    assert proof.ended == (f"sleep (pid {orphan.pid}, container {container[:12]})",)


@pytest.mark.gpu_hook
@pytest.mark.parametrize("engine", ["docker_host"], indirect=True)
@pytest.mark.parametrize("method", ["device-requests", "runtime"])
def test_another_workspaces_engine_is_known_with_its_folder_and_what_it_takes(
    runtime: DockerRuntime, make_unit: UnitMaker, tmp_path: Path, workspace: Workspace, method: GpuMethod
) -> None:
    secrets = workspace.secrets_dir
    secrets.mkdir(parents=True)
    unit = make_unit(
        argv=("python3", "-c", SLEEPS, "--gpu-memory-utilization", "0.45", "--tensor-parallel-size=2"),
        gpu=GpuRequest(method, ("0", "1")),
        mounts=(Mount("bind", str(secrets), "/run/secrets/pmpctl", read_only=True),),
    )
    started = runtime.start(unit)
    neighbour = DockerRuntime.connect(Workspace(tmp_path / "neighbour"), runtime.endpoint.url, {})
    try:
        [found] = [each for each in neighbour.engines() if each.tenant.workspace == workspace.id]
    finally:
        neighbour.close()

    assert found.tenant.root == workspace.root
    assert found.claim == CardClaim(("0", "1"), 2, 0.45)
    assert found.processes
    assert found.processes <= runtime.processes(started.id)


@pytest.mark.gpu_hook
@pytest.mark.parametrize("engine", ["docker_host"], indirect=True)
def test_a_workspace_of_processes_knows_the_workspace_of_a_container_on_its_card(
    runtime: DockerRuntime,
    make_unit: UnitMaker,
    workspace: Workspace,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    held = install_card(tmp_path / "held", monkeypatch)
    workspace.secrets_dir.mkdir(parents=True)
    started = runtime.start(
        make_unit(
            argv=("python3", "-c", SLEEPS, "--gpu-memory-utilization", "0.9"),
            gpu=GpuRequest("device-requests"),
            mounts=(Mount("bind", str(workspace.secrets_dir), "/run/secrets/pmpctl", read_only=True),),
        )
    )
    process = eventually(lambda: max(runtime.processes(started.id), default=None))
    assert process is not None
    (held / str(process.pid)).write_text("1024")
    other = Workspace(tmp_path / "other")
    other.root.mkdir()
    (other.root / "profiles.toml").write_text('[profiles.next]\nmodel = "acme/next"\n')
    environment = Environment(other, None, "process", {"DOCKER_HOST": runtime.endpoint.url})

    [use] = find_uses(environment, environment.profile_file(), ProcessRuntime(other), ("all",), 1)

    [neighbour] = use.neighbours
    assert neighbour.tenant.root == workspace.root
    # 0.9 of 23.5 GiB, although it holds one so far.
    assert neighbour.bytes == pytest.approx(0.9 * 23.5 * (1 << 30))
    assert use.available_bytes == pytest.approx((24064 << 20) - neighbour.bytes, rel=1e-3)
