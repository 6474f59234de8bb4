"""The texts are those of Docker 20.10.24 and 28.5.2."""

import pytest
import requests

from pmpctl.errors import (
    DiskFull,
    DockerNotAvailable,
    GpuNotAvailable,
    NameConflict,
    PmpctlError,
    PortTaken,
    RuntimeFailed,
)
from pmpctl.runtime.docker_errors import UNKNOWN_CURE, explained

OCI = "failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: "
HOOK = "error during container init: error running hook #0: error running hook: exit status 1, stdout: , stderr: "

SAID = [
    (
        "driver failed programming external connectivity on endpoint x (3521): Error starting userland proxy: "
        "listen tcp4 127.0.0.1:8002: bind: address already in use",
        PortTaken,
        "127.0.0.1:8002",
    ),
    (
        "driver failed programming external connectivity on endpoint x (92ef): "
        "Bind for 127.0.0.1:8002 failed: port is already allocated",
        PortTaken,
        "127.0.0.1:8002",
    ),
    (
        "failed to set up container networking: driver failed programming external connectivity on endpoint x (13a): "
        "failed to bind host port for 127.0.0.1:8002:172.18.0.2:8000/tcp: address already in use",
        PortTaken,
        "127.0.0.1:8002",
    ),
    (
        "driver failed programming external connectivity on endpoint x (6b6c): Error starting userland proxy: "
        "listen tcp4 203.0.113.7:8000: bind: cannot assign requested address",
        RuntimeFailed,
        "203.0.113.7:8000 is not an address of this machine",
    ),
    (
        "failed to set up container networking: driver failed programming external connectivity on endpoint x (52a0): "
        "failed to bind host port for 203.0.113.7:8000:10.231.0.2:8000/tcp: cannot assign requested address",
        RuntimeFailed,
        "203.0.113.7:8000 is not an address of this machine",
    ),
    (
        'Conflict. The container name "/pmpctl-x-engine" is already in use by container "e5b9". You have to remove '
        "(or rename) that container to be able to reuse that name.",
        NameConflict,
        "pmpctl-x-engine",
    ),
    ('could not select device driver "" with capabilities: [[gpu]]', GpuNotAvailable, "cannot hand out GPUs"),
    ("Unknown runtime specified nvidia", GpuNotAvailable, "cannot hand out GPUs"),
    ("unknown or invalid runtime name: nvidia", GpuNotAvailable, "cannot hand out GPUs"),
    ('could not select device driver "cdi" with capabilities: []', GpuNotAvailable, "by CDI"),
    (
        "could not select device driver cdi: CDI device injection failed: unresolvable CDI devices nvidia.com/gpu=7",
        GpuNotAvailable,
        "nvidia.com/gpu=7",
    ),
    (
        f"{OCI}{HOOK}Auto-detected mode as 'legacy'\nnvidia-container-cli: device error: 7: unknown device: unknown",
        GpuNotAvailable,
        "there is no GPU 7",
    ),
    (
        f"{OCI}{HOOK}Auto-detected mode as 'legacy'\n"
        "nvidia-container-cli: initialization error: nvml error: driver not loaded: unknown",
        GpuNotAvailable,
        "driver not loaded",
    ),
    (
        'invalid mount config for type "bind": bind source path does not exist: /srv/my models',
        RuntimeFailed,
        "/srv/my models does not exist",
    ),
    (
        f"{OCI}error during container init: error setting rlimits for ready process: "
        "error setting rlimit type 8: operation not permitted: unknown",
        RuntimeFailed,
        "locked memory",
    ),
    (f'{OCI}exec: "vllm": executable file not found in $PATH: unknown', RuntimeFailed, "no program vllm"),
    (
        f'{OCI}exec: "/opt/vllm": stat /opt/vllm: no such file or directory: unknown',
        RuntimeFailed,
        "no program /opt/vllm",
    ),
    ('exec: "docker-init": executable file not found in $PATH: unknown', RuntimeFailed, "init program"),
    ("No such image: vllm/vllm-openai:v0", RuntimeFailed, "vllm/vllm-openai:v0 is not here"),
    ("write /var/lib/docker/x: no space left on device", DiskFull, "full"),
    (
        "could not find an available, non-overlapping IPv4 address pool among the defaults to assign to the network: "
        "all predefined address pools have been fully subnetted",
        RuntimeFailed,
        "no address range left",
    ),
]


@pytest.mark.parametrize(("text", "kind", "words"), SAID)
def test_what_the_engine_says_becomes_an_error_with_its_own_cure(
    text: str, kind: type[PmpctlError], words: str
) -> None:
    error = explained(RuntimeError(text), "start the engine")
    assert type(error) is kind
    assert words in error.message
    assert error.cure != UNKNOWN_CURE


def test_of_an_error_without_a_rule_the_telling_part_is_shown() -> None:
    error = explained(RuntimeError(f"{OCI}something new went wrong: unknown"), "start the engine")
    assert type(error) is RuntimeFailed
    assert error.message == "Docker could not start the engine: something new went wrong"


@pytest.mark.parametrize("lost", [requests.ConnectionError("aborted"), requests.ReadTimeout("timed out")])
def test_a_lost_connection_is_the_engine_s_failure_not_the_container_s(lost: Exception) -> None:
    assert type(explained(lost, "start the engine")) is DockerNotAvailable
