"""How GPUs reach a container: which ways an engine offers, and what each of them asks for."""

import shutil
from collections.abc import Mapping
from typing import Any

from pmpctl.planning.gpu import CDI_KIND, cdi_names
from pmpctl.planning.plan import GpuMethod, GpuRequest

HOOK = "nvidia-container-runtime-hook"
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

INSTALL_TOOLKIT = (
    "Install nvidia-container-toolkit, run `sudo nvidia-ctk runtime configure --runtime=docker` "
    "and `sudo systemctl restart docker`."
)


def offered_methods(info: Mapping[str, Any], *, hook_found: bool) -> tuple[GpuMethod, ...]:
    """The ways to hand out GPUs, best first, from `docker info` and from whether NVIDIA's hook is on this machine.

    - `cdi`: the engine lists NVIDIA devices that it discovered (28.2 and later say so). Exact, and needs no hook.
    - `device-requests` (`--gpus`): no engine says whether it can. It can when it found NVIDIA's hook on its PATH as it
      started; so we look for the hook where a local engine would, and take a registered `nvidia` runtime, which comes
      from the same package, for the same proof where we cannot look.
    - `runtime`: an `nvidia` runtime is registered.

    Podman's imitation of this API takes device requests and ignores them, so nothing but CDI counts there.
    """
    methods: list[GpuMethod] = []
    has_runtime = "nvidia" in (info.get("Runtimes") or {})
    if any(CDI_KIND in str(device.get("ID", "")) for device in info.get("DiscoveredDevices") or ()):
        methods.append("cdi")
    if _is_podman(info):
        return tuple(methods)
    if hook_found or has_runtime:
        methods.append("device-requests")
    if has_runtime:
        methods.append("runtime")
    return tuple(methods)


def find_hook(environment: Mapping[str, str]) -> bool:
    """Whether NVIDIA's hook is where an engine on this machine would find it."""
    return shutil.which(HOOK, path=f"{environment.get('PATH', '')}:{SYSTEM_PATH}") is not None


def device_requests(gpu: GpuRequest) -> list[dict[str, Any]]:
    """The engine API's DeviceRequests; a count of -1 means all, and ids forbid a count."""
    match gpu.method:
        case "device-requests" if gpu.devices == ("all",):
            return [{"Driver": "", "Count": -1, "Capabilities": [["gpu"]]}]
        case "device-requests":
            return [{"Driver": "", "DeviceIDs": list(gpu.devices), "Capabilities": [["gpu"]]}]
        case "cdi":
            return [{"Driver": "cdi", "DeviceIDs": cdi_names(gpu)}]
        case "runtime":
            return []


def _is_podman(info: Mapping[str, Any]) -> bool:
    return "podman" in str(info.get("ServerVersion", "")).lower() or info.get("BuildahVersion") is not None
