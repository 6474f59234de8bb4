"""GPUs reach a container by each of the three ways, on engines with stand-ins for NVIDIA's parts."""

from dataclasses import replace
from pathlib import Path

import pytest

from pmpctl.errors import GpuNotAvailable
from pmpctl.planning.plan import GpuMethod, GpuRequest, Unit
from pmpctl.runtime.base import LogQuery
from pmpctl.runtime.docker import DockerRuntime
from pmpctl.workspace import Workspace
from tests.docker.conftest import UnitMaker
from tests.support import GPU_UUIDS, MIG_UUID, eventually

pytestmark = pytest.mark.docker

BOTH = set(GPU_UUIDS)


LIST_GPUS = """
import os, pathlib
request = pathlib.Path("/etc/nvidia-visible-devices")
print(request.read_text().strip() if request.exists() else "", flush=True)
os.execvp("nvidia-smi", ["nvidia-smi", "--query-gpu=uuid", "--format=csv,noheader"])
"""


def gpus_inside(runtime: DockerRuntime, unit: Unit) -> tuple[str, set[str]]:
    """What the hook was asked for, and what the unit's own program sees.

    A command run beside it (`docker exec`) would not see what CDI adds to the environment.
    """
    started = runtime.start(replace(unit, argv=("python3", "-c", LIST_GPUS), restart="no"))
    eventually(lambda: (state := runtime.state(started.id)) is not None and not state.alive, 20)
    request, *uuids = [line.text for line in runtime.logs(started, LogQuery())]
    return request, set(uuids)


@pytest.mark.gpu_hook
@pytest.mark.parametrize("engine", ["docker_host"], indirect=True)
class TestOnAnEngineWithNvidiaSHook:
    def test_device_requests_and_the_runtime_are_offered(self, runtime: DockerRuntime) -> None:
        assert runtime.gpu_methods() == ("device-requests", "runtime")

    @pytest.mark.parametrize("method", ["device-requests", "runtime"])
    @pytest.mark.parametrize(
        ("devices", "request_seen", "inside"),
        [
            (("all",), "all", BOTH),
            (("1",), "1", {GPU_UUIDS[1]}),
            (("0", "1"), "0,1", BOTH),
            ((GPU_UUIDS[0],), GPU_UUIDS[0], {GPU_UUIDS[0]}),
            ((MIG_UUID,), MIG_UUID, {MIG_UUID}),
        ],
        ids=["all", "one by index", "two by index", "one by uuid", "a MIG device"],
    )
    def test_a_unit_sees_the_gpus_it_asked_for_and_no_others(
        self,
        runtime: DockerRuntime,
        make_unit: UnitMaker,
        method: GpuMethod,
        devices: tuple[str, ...],
        request_seen: str,
        inside: set[str],
    ) -> None:
        unit = make_unit(gpu=GpuRequest(method, devices))
        runtime.check(unit)
        assert gpus_inside(runtime, unit) == (request_seen, inside)

    def test_a_unit_without_request_sees_no_gpu(self, runtime: DockerRuntime, make_unit: UnitMaker) -> None:
        started = runtime.start(make_unit())
        assert runtime.execute(started, ["nvidia-smi"])[0] in (126, 127)

    @pytest.mark.parametrize("method", ["device-requests", "runtime"])
    def test_a_gpu_that_is_not_there_is_named_and_nothing_stays_behind(
        self, runtime: DockerRuntime, make_unit: UnitMaker, method: GpuMethod
    ) -> None:
        with pytest.raises(GpuNotAvailable, match="there is no GPU 7 on this machine"):
            runtime.start(make_unit(gpu=GpuRequest(method, ("7",))))
        assert runtime.units() == ()

    def test_cdi_is_refused_before_anything_is_touched(self, runtime: DockerRuntime, make_unit: UnitMaker) -> None:
        with pytest.raises(GpuNotAvailable, match="cdi") as caught:
            runtime.check(make_unit(gpu=GpuRequest("cdi")))
        assert "nvidia-container-toolkit" in caught.value.cure


@pytest.mark.cdi
@pytest.mark.parametrize("engine", ["cdi_docker_host"], indirect=True)
class TestOnAnEngineWithCdi:
    def test_cdi_is_offered_and_nothing_else(self, runtime: DockerRuntime) -> None:
        assert runtime.gpu_methods() == ("cdi",)

    @pytest.mark.parametrize(
        ("devices", "inside"),
        [(("all",), BOTH), (("1",), {GPU_UUIDS[1]}), (("0", "1"), BOTH), ((GPU_UUIDS[0],), {GPU_UUIDS[0]})],
        ids=["all", "one by index", "two by index", "one by uuid"],
    )
    def test_a_unit_sees_the_gpus_it_asked_for_and_no_others(
        self, runtime: DockerRuntime, make_unit: UnitMaker, devices: tuple[str, ...], inside: set[str]
    ) -> None:
        unit = make_unit(gpu=GpuRequest("cdi", devices))
        runtime.check(unit)
        assert gpus_inside(runtime, unit) == ("", inside)

    def test_a_gpu_that_is_not_there_is_named_and_nothing_stays_behind(
        self, runtime: DockerRuntime, make_unit: UnitMaker
    ) -> None:
        with pytest.raises(GpuNotAvailable, match=r"nvidia\.com/gpu=7") as caught:
            runtime.start(make_unit(gpu=GpuRequest("cdi", ("7",))))
        assert "nvidia-ctk cdi" in caught.value.cure
        assert runtime.units() == ()

    @pytest.mark.parametrize("method", ["device-requests", "runtime"])
    def test_a_method_that_the_engine_lacks_is_refused_at_check_and_at_start(
        self, runtime: DockerRuntime, make_unit: UnitMaker, method: GpuMethod
    ) -> None:
        unit = make_unit(gpu=GpuRequest(method))
        for step in (runtime.check, runtime.start):
            with pytest.raises(GpuNotAvailable) as caught:
                step(unit)
            assert "nvidia-ctk runtime configure --runtime=docker" in caught.value.cure
        assert runtime.units() == ()

    def test_the_hook_on_the_path_of_a_local_engine_counts_as_device_requests(
        self, workspace: Workspace, engine: str, tmp_path: Path
    ) -> None:
        hook = tmp_path / "nvidia-container-runtime-hook"
        hook.touch(mode=0o755)
        runtime = DockerRuntime.connect(workspace, engine, {"PATH": str(tmp_path)})
        assert runtime.gpu_methods() == ("cdi", "device-requests")
        runtime.close()
