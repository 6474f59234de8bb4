"""The GPUs of this host, as the driver's own library (NVML) sees them."""

from dataclasses import dataclass

import pynvml


@dataclass(frozen=True, slots=True)
class Gpu:
    index: int
    uuid: str
    name: str
    total_bytes: int
    free_bytes: int


def list_gpus() -> tuple[Gpu, ...]:
    """Empty where there is no driver or no card; a card that does not answer is left out."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return ()
    try:
        return tuple(gpu for index in range(pynvml.nvmlDeviceGetCount()) if (gpu := _read(index)) is not None)
    finally:
        pynvml.nvmlShutdown()


def _read(index: int) -> Gpu | None:
    try:
        handle = pynvml.nvmlDeviceGetHandleByIndex(index)
        memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
        return Gpu(
            index=index,
            uuid=pynvml.nvmlDeviceGetUUID(handle),
            name=pynvml.nvmlDeviceGetName(handle),
            total_bytes=int(memory.total),
            free_bytes=int(memory.free),
        )
    except pynvml.NVMLError:
        return None
