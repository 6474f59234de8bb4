"""Ports that somebody else holds are named before anything is touched, and also when they are lost in a race."""

import os
import socket
from typing import Any

import pytest

from pmpctl.errors import PlanInvalid, PortTaken, RuntimeFailed
from pmpctl.planning.plan import PortBinding
from pmpctl.runtime.docker import DockerRuntime
from pmpctl.runtime.docker_connect import EngineClient
from tests.docker.conftest import UnitMaker
from tests.docker.containers import foreign_container

pytestmark = pytest.mark.docker


def published(address: str, port: int) -> dict[str, Any]:
    bindings = {"8000/tcp": [{"HostIp": address, "HostPort": str(port)}]}
    return {"ExposedPorts": {"8000/tcp": {}}, "HostConfig": {"PortBindings": bindings}}


@pytest.mark.parametrize("held", ["127.0.0.1", "0.0.0.0"])
@pytest.mark.parametrize("wanted", ["127.0.0.1", "0.0.0.0"])
def test_a_process_that_holds_the_port_is_named(
    runtime: DockerRuntime, make_unit: UnitMaker, held: str, wanted: str
) -> None:
    with socket.create_server((held, 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(PortTaken, match=rf"port {wanted}:{port} .* \(pid {os.getpid()}\)"):
            runtime.check(make_unit(ports=(PortBinding(wanted, port, 8000),)))
    runtime.check(make_unit(ports=(PortBinding(wanted, port, 8000),)))


@pytest.mark.parametrize("held", ["127.0.0.1", "0.0.0.0"])
def test_a_container_that_holds_the_port_is_named(
    runtime: DockerRuntime, client: EngineClient, make_unit: UnitMaker, base_image: str, free_port: int, held: str
) -> None:
    unit = make_unit(ports=(PortBinding("127.0.0.1", free_port, 8000),))
    name = f"{unit.name}-of-somebody-else"
    with foreign_container(client, base_image, name, **published(held, free_port)):
        with pytest.raises(PortTaken, match=f"the container {name}") as caught:
            runtime.check(unit)
        assert f"docker stop {name}" in caught.value.cure


def test_another_workspace_that_holds_the_port_is_named_as_such(
    runtime: DockerRuntime, client: EngineClient, make_unit: UnitMaker, base_image: str, free_port: int
) -> None:
    labels = {"io.pmpctl.workspace": "another-00000000", "io.pmpctl.role": "engine"}
    holder = published("127.0.0.1", free_port)
    unit = make_unit(ports=(PortBinding("127.0.0.1", free_port, 8000),))
    with (
        foreign_container(client, base_image, f"{unit.name}-2", Labels=labels, **holder),
        pytest.raises(PortTaken) as caught,
    ):
        runtime.check(unit)
    assert "the engine of the workspace another-00000000" in caught.value.message
    assert "pmpctl down" in caught.value.cure


def test_the_unit_that_is_to_be_replaced_may_hold_the_port(
    runtime: DockerRuntime, make_unit: UnitMaker, free_port: int
) -> None:
    unit = make_unit(ports=(PortBinding("127.0.0.1", free_port, 8000),))
    runtime.start(unit)
    runtime.check(unit)
    with pytest.raises(PortTaken, match=unit.name):
        runtime.check(make_unit(role="gateway", ports=unit.ports))


def test_the_same_port_on_another_address_is_no_obstacle(
    runtime: DockerRuntime, client: EngineClient, make_unit: UnitMaker, base_image: str, free_port: int
) -> None:
    name = f"{make_unit().name}-2"
    with foreign_container(client, base_image, name, **published("127.0.0.2", free_port)):
        runtime.check(make_unit(ports=(PortBinding("127.0.0.1", free_port, 8000),)))


def test_an_address_of_another_machine_is_told_at_check_and_at_start(
    runtime: DockerRuntime, make_unit: UnitMaker, free_port: int
) -> None:
    unit = make_unit(ports=(PortBinding("203.0.113.7", free_port, 8000),))
    with pytest.raises(RuntimeFailed, match=r"nothing can listen on 203\.0\.113\.7"):
        runtime.check(unit)
    with pytest.raises(RuntimeFailed, match=r"203\.0\.113\.7:\d+ is not an address of this machine"):
        runtime.start(unit)
    assert runtime.units() == ()


def test_a_word_that_is_no_address_is_never_published(runtime: DockerRuntime, make_unit: UnitMaker) -> None:
    with pytest.raises(PlanInvalid):
        runtime.start(make_unit(ports=(PortBinding("everywhere", 18000, 8000),)))
    assert runtime.units() == ()


def test_a_port_that_a_process_took_after_the_check_leaves_nothing_half_made(
    runtime: DockerRuntime, make_unit: UnitMaker
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        unit = make_unit(ports=(PortBinding("127.0.0.1", port, 8000),))
        with pytest.raises(PortTaken, match=f"127.0.0.1:{port}"):
            runtime.start(unit)
        assert runtime.units() == ()
    assert runtime.start(unit).phase == "running"


def test_a_port_that_a_container_took_after_the_check_leaves_nothing_half_made(
    runtime: DockerRuntime, client: EngineClient, make_unit: UnitMaker, base_image: str, free_port: int
) -> None:
    unit = make_unit(ports=(PortBinding("127.0.0.1", free_port, 8000),))
    with foreign_container(client, base_image, f"{unit.name}-2", **published("127.0.0.1", free_port)):
        with pytest.raises(PortTaken, match=f"127.0.0.1:{free_port}"):
            runtime.start(unit)
        assert runtime.units() == ()
    assert runtime.start(unit).phase == "running"
