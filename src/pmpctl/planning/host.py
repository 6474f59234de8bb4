"""What planning must know of the host, gathered beforehand: the plan itself asks nobody."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pmpctl.planning.plan import GpuMethod, ImageBuild, RuntimeKind


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A file or folder that the engine must see; `digest` changes with the content of a file."""

    path: Path
    digest: str


@dataclass(frozen=True, slots=True)
class HostFacts:
    """`uid` and `gid` own the workspace; `python` runs the gateway and `engine_program` the engine without Docker.

    `gpu_methods` are the ways in which the engine hands out GPUs, best first; `gpus` are the
    identifiers of those that NVML sees, in its order, or "all" where the user's shell says which of them count.
    `hub_environment` holds the settings (never the token) that the user's shell has for the Hugging Face hub.
    """

    runtime: RuntimeKind
    uid: int
    gid: int
    gpus: tuple[str, ...]
    gpu_methods: tuple[GpuMethod, ...]
    python: Path
    engine_program: Path
    gateway_image: str
    gateway_build: ImageBuild | None
    hub_environment: Mapping[str, str]
    has_tokens: bool
    files: Mapping[str, LocalFile] = field(default_factory=dict)
