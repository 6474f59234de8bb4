"""Which GPUs the engine gets, and by which of the ways that the host offers."""

from collections.abc import Iterator

from pmpctl.errors import GpuNotAvailable
from pmpctl.planning.context import Context
from pmpctl.planning.plan import GpuRequest
from pmpctl.profiles.model import HostSettings

CDI_KIND = "nvidia.com/gpu"
"""The kind of device that NVIDIA's CDI specifications describe."""


def gpu_in_docker(context: Context) -> GpuRequest | None:
    if context.profile.device != "cuda":
        return None
    wanted = context.host.gpu_access
    offered = context.facts.gpu_methods
    if wanted == "auto" and not offered:
        raise GpuNotAvailable(
            f"the profile {context.profile.name!r} needs an NVIDIA GPU, and this Docker engine offers none",
            cure="Install nvidia-container-toolkit, run `nvidia-ctk runtime configure --runtime=docker` and restart "
            'Docker; or run a profile with device = "cpu", such as `demo`.',
        )
    return GpuRequest(offered[0] if wanted == "auto" else wanted, gpu_devices(context.host))


def gpu_without_docker(context: Context) -> GpuRequest | None:
    if context.profile.device != "cuda":
        return None
    if not context.facts.gpus:
        raise GpuNotAvailable(
            f"the profile {context.profile.name!r} needs an NVIDIA GPU, and the driver shows none on this host",
            cure='Check that `nvidia-smi` lists the card; or run a profile with device = "cpu", such as `demo`.',
        )
    return GpuRequest("device-requests", tuple(_identified(context)))


def _identified(context: Context) -> Iterator[str]:
    """By identifiers, since CUDA numbers GPUs in another order than the driver, which `gpus` and the fit go by."""
    gpus, wanted = context.facts.gpus, gpu_devices(context.host)
    for device in gpus if wanted == ("all",) else wanted:
        yield gpus[int(device)] if device.isdecimal() and int(device) < len(gpus) else device


def cdi_names(gpu: GpuRequest) -> list[str]:
    return [f"{CDI_KIND}={device}" for device in gpu.devices]


def runtime_environment(gpu: GpuRequest) -> dict[str, str]:
    """What the `nvidia` runtime reads; the other ways pass no environment."""
    if gpu.method != "runtime":
        return {}
    return {"NVIDIA_VISIBLE_DEVICES": ",".join(gpu.devices), "NVIDIA_DRIVER_CAPABILITIES": "compute,utility"}


def gpu_devices(host: HostSettings) -> tuple[str, ...]:
    """As GpuRequest has them."""
    return ("all",) if host.gpus == "all" else tuple(map(str, host.gpus))
