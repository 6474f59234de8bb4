from dataclasses import replace
from typing import Any

import pytest

from pmpctl.errors import PlanInvalid
from pmpctl.planning.plan import GpuMethod, GpuRequest, HealthCheck, Mount, PortBinding, Unit
from pmpctl.runtime.docker_create import create_body

UNIT = Unit(
    role="engine",
    name="pmpctl-x-engine",
    image="vllm/vllm-openai:v0.32.0",
    argv=("vllm", "serve", "--port", "8002"),
    env={"HF_HUB_OFFLINE": "1"},
    labels={"io.pmpctl.workspace": "x-12345678", "io.pmpctl.role": "engine"},
    health_url="http://127.0.0.1:8002/health",
)


def body(**changes: Any) -> dict[str, Any]:
    return create_body(replace(UNIT, **changes), network_id="n" * 64)


def host_config(**changes: Any) -> dict[str, Any]:
    config: dict[str, Any] = body(**changes)["HostConfig"]
    return config


def test_the_argv_is_the_whole_command_whatever_entrypoint_the_image_has() -> None:
    made = body()
    assert (made["Entrypoint"], made["Cmd"]) == (["vllm"], ["serve", "--port", "8002"])


def test_every_unit_is_hardened() -> None:
    config = host_config()
    assert config["CapDrop"] == ["ALL"]
    assert config["SecurityOpt"] == ["no-new-privileges:true"]
    assert config["Init"] is True
    assert not {"Privileged", "IpcMode", "PidMode", "UsernsMode", "Devices", "Binds"} & config.keys()


def test_what_a_unit_asks_for_it_gets() -> None:
    made = body(
        cap_add=("DAC_OVERRIDE",),
        user="1000:1000",
        read_only=True,
        pids_limit=256,
        shm_size_bytes=8 * 1024**3,
        memlock_bytes=-1,
        working_dir="/srv",
        stop_timeout_seconds=60,
    )
    config = made["HostConfig"]
    assert (made["User"], made["WorkingDir"], made["StopTimeout"]) == ("1000:1000", "/srv", 60)
    assert (config["CapAdd"], config["ReadonlyRootfs"], config["PidsLimit"]) == (["DAC_OVERRIDE"], True, 256)
    assert config["ShmSize"] == 8589934592
    assert config["Ulimits"] == [{"Name": "memlock", "Soft": -1, "Hard": -1}]
    assert config["RestartPolicy"] == {"Name": "unless-stopped"}


def test_the_limit_on_locked_memory_is_left_alone_unless_the_unit_names_one() -> None:
    assert "Ulimits" not in host_config()


def test_logs_are_rotated() -> None:
    assert host_config(log_max_size_bytes=1000, log_max_files=2)["LogConfig"] == {
        "Type": "json-file",
        "Config": {"max-size": "1000", "max-file": "2"},
    }


def test_a_health_check_is_a_plain_command_with_times_in_nanoseconds() -> None:
    check = HealthCheck(("python3", "-c", "pass"), 15, 10, 4, 600)
    assert body(health=check)["Healthcheck"] == {
        "Test": ["CMD", "python3", "-c", "pass"],
        "Interval": 15_000_000_000,
        "Timeout": 10_000_000_000,
        "Retries": 4,
        "StartPeriod": 600_000_000_000,
    }


def test_the_network_is_named_by_its_id_since_names_may_be_ambiguous() -> None:
    made = body(network_alias="engine")
    assert made["HostConfig"]["NetworkMode"] == "n" * 64
    assert made["NetworkingConfig"]["EndpointsConfig"] == {"n" * 64: {"Aliases": ["engine"]}}


def test_ports_are_published_on_their_address_only() -> None:
    made = body(ports=(PortBinding("127.0.0.1", 8002, 8000), PortBinding("::1", 8002, 8000)))
    assert made["ExposedPorts"] == {"8000/tcp": {}}
    assert made["HostConfig"]["PortBindings"] == {
        "8000/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8002"}, {"HostIp": "::1", "HostPort": "8002"}]
    }


def test_localhost_is_published_on_loopback_not_on_all_addresses() -> None:
    made = host_config(ports=(PortBinding("localhost", 8000, 8000),))
    assert made["PortBindings"]["8000/tcp"][0]["HostIp"] == "127.0.0.1"


@pytest.mark.parametrize("address", ["", "example.org", "127.0.0.1:8000"])
def test_an_address_that_docker_would_take_for_all_addresses_is_refused(address: str) -> None:
    with pytest.raises(PlanInvalid):
        host_config(ports=(PortBinding(address, 8000, 8000),))


def test_mounts_are_of_the_kind_that_fails_when_a_source_is_missing() -> None:
    mounts = (
        Mount("bind", "/srv/models", "/models", read_only=True),
        Mount("volume", "pmpctl-x-compile", "/var/cache/pmpctl"),
        Mount("tmpfs", "", "/tmp", size_bytes=1024),
    )
    assert host_config(mounts=mounts)["Mounts"] == [
        {"Type": "bind", "Source": "/srv/models", "Target": "/models", "ReadOnly": True},
        {
            "Type": "volume",
            "Source": "pmpctl-x-compile",
            "Target": "/var/cache/pmpctl",
            "ReadOnly": False,
            "VolumeOptions": {"Labels": {"io.pmpctl.workspace": "x-12345678"}},
        },
        {"Type": "tmpfs", "Target": "/tmp", "ReadOnly": False, "TmpfsOptions": {"SizeBytes": 1024}},
    ]


@pytest.mark.parametrize(
    ("method", "devices", "requests"),
    [
        ("device-requests", ("all",), [{"Driver": "", "Count": -1, "Capabilities": [["gpu"]]}]),
        ("device-requests", ("0", "1"), [{"Driver": "", "DeviceIDs": ["0", "1"], "Capabilities": [["gpu"]]}]),
        ("device-requests", ("MIG-c",), [{"Driver": "", "DeviceIDs": ["MIG-c"], "Capabilities": [["gpu"]]}]),
        ("cdi", ("all",), [{"Driver": "cdi", "DeviceIDs": ["nvidia.com/gpu=all"]}]),
        ("cdi", ("0", "GPU-b"), [{"Driver": "cdi", "DeviceIDs": ["nvidia.com/gpu=0", "nvidia.com/gpu=GPU-b"]}]),
    ],
)
def test_gpus_are_asked_for_in_the_words_of_each_method(
    method: GpuMethod, devices: tuple[str, ...], requests: list[dict[str, Any]]
) -> None:
    made = body(gpu=GpuRequest(method, devices))
    assert made["HostConfig"]["DeviceRequests"] == requests
    assert "Runtime" not in made["HostConfig"]
    assert made["Env"] == ["HF_HUB_OFFLINE=1"]


def test_the_nvidia_runtime_is_asked_by_environment() -> None:
    made = body(gpu=GpuRequest("runtime", ("0", "1")))
    assert made["HostConfig"]["Runtime"] == "nvidia"
    assert not made["HostConfig"]["DeviceRequests"]
    assert {"NVIDIA_VISIBLE_DEVICES=0,1", "NVIDIA_DRIVER_CAPABILITIES=compute,utility"} < set(made["Env"])


def test_a_unit_without_gpu_asks_for_none() -> None:
    assert not {"DeviceRequests", "Runtime"} & host_config().keys()
