from typing import Any

import pytest

from pmpctl.planning.plan import GpuMethod
from pmpctl.runtime.docker_gpu import offered_methods

NVIDIA_RUNTIME: dict[str, Any] = {"Runtimes": {"runc": {}, "nvidia": {}}}
PLAIN: dict[str, Any] = {"Runtimes": {"runc": {}}, "DiscoveredDevices": None}
CDI: dict[str, Any] = {"Runtimes": {"runc": {}}, "DiscoveredDevices": [{"Source": "cdi", "ID": "nvidia.com/gpu=0"}]}
OTHER_CDI: dict[str, Any] = {
    "Runtimes": {"runc": {}},
    "DiscoveredDevices": [{"Source": "cdi", "ID": "example.com/nic=0"}],
}
PODMAN: dict[str, Any] = {"Runtimes": {"nvidia": {}}, "BuildahVersion": "1.28.2"}


@pytest.mark.parametrize(
    ("info", "hook_found", "methods"),
    [
        (PLAIN, False, ()),
        (PLAIN, True, ("device-requests",)),
        (NVIDIA_RUNTIME, False, ("device-requests", "runtime")),
        (NVIDIA_RUNTIME, True, ("device-requests", "runtime")),
        (CDI, False, ("cdi",)),
        (CDI, True, ("cdi", "device-requests")),
        (CDI | NVIDIA_RUNTIME, True, ("cdi", "device-requests", "runtime")),
        (OTHER_CDI, False, ()),
        (PODMAN, True, ()),
    ],
)
def test_methods_are_offered_best_first(info: dict[str, Any], hook_found: bool, methods: tuple[GpuMethod, ...]) -> None:
    assert offered_methods(info, hook_found=hook_found) == methods
