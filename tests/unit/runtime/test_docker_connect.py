"""Why there is no Docker engine, told apart with a cure for each; real sockets, no engine needed."""

import json
import os
import socket
from pathlib import Path

import pytest

from pmpctl.errors import DockerNotAvailable
from pmpctl.runtime import docker_connect
from pmpctl.runtime.docker_connect import connect
from pmpctl.runtime.docker_context import Endpoint, find_endpoint
from tests.unit.runtime.engine import engine_that_answers


def failure(url: str, environment: dict[str, str] | None = None) -> DockerNotAvailable:
    with pytest.raises(DockerNotAvailable) as caught:
        connect(Endpoint(url, "DOCKER_HOST"), environment or {})
    return caught.value


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")


def test_without_a_socket_the_cure_is_to_install_or_start_docker(tmp_path: Path) -> None:
    error = failure(f"unix://{tmp_path}/docker.sock", {"XDG_RUNTIME_DIR": str(tmp_path)})
    assert f"{tmp_path}/docker.sock (DOCKER_HOST)" in error.message
    assert "systemctl start docker" in error.cure
    assert "--runtime process" in error.cure


def test_a_rootless_engine_that_is_there_is_named(tmp_path: Path) -> None:
    (tmp_path / "docker.sock").touch()
    error = failure("unix:///no/such/docker.sock", {"XDG_RUNTIME_DIR": str(tmp_path)})
    assert f"DOCKER_HOST=unix://{tmp_path}/docker.sock" in error.cure


def test_a_socket_that_nobody_answers_means_the_engine_does_not_run(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(str(tmp_path / "docker.sock"))
    error = failure(f"unix://{tmp_path}/docker.sock")
    assert "does not run" in error.message
    assert "systemctl start docker" in error.cure


@pytest.mark.skipif(os.geteuid() != 0, reason="root alone can become somebody else")
def test_a_socket_of_others_needs_the_docker_group(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "docker.sock"))
        server.listen()
        (tmp_path / "docker.sock").chmod(0o600)
        for folder in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
            folder.chmod(0o755)
        os.seteuid(65534)
        try:
            error = failure(f"unix://{tmp_path}/docker.sock")
        finally:
            os.seteuid(0)
    assert "permission denied" in error.message
    assert "usermod -aG docker" in error.cure


def test_a_tcp_port_that_nobody_answers_is_told() -> None:
    assert "does not run" in failure("tcp://127.0.0.1:1").message


def test_a_host_that_nobody_knows_is_told() -> None:
    error = failure("tcp://docker.invalid:2375")
    assert "host is not known" in error.message
    assert "DOCKER_HOST" in error.cure


def test_ssh_without_paramiko_names_paramiko() -> None:
    error = failure("ssh://somebody@docker.invalid")
    assert "pip install paramiko" in error.cure


@pytest.mark.parametrize("url", ["foo://x", "tcp://127.0.0.1:99999"])
def test_an_address_that_makes_no_sense_is_quoted(url: str) -> None:
    assert url in failure(url).message


@pytest.mark.parametrize("version", ["1.40", "1.12"])
def test_an_engine_before_20_10_is_too_old(version: str) -> None:
    with engine_that_answers(json.dumps({"ApiVersion": version}).encode()) as url:
        error = failure(url)
    assert "needs Docker 20.10" in error.message
    assert "Update Docker" in error.cure


def test_a_version_is_compared_as_numbers() -> None:
    with engine_that_answers(b'{"ApiVersion": "1.100"}') as url:
        connect(Endpoint(url, "DOCKER_HOST"), {}).close()


@pytest.mark.parametrize("answer", [b"{}", b"<html>a router's page</html>"])
def test_a_server_that_is_no_docker_engine_is_told(answer: bytes) -> None:
    with engine_that_answers(answer) as url:
        assert "no Docker engine answers" in failure(url).message


def test_an_engine_that_hangs_does_not_hang_us(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(docker_connect, "CONNECT_TIMEOUT_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        error = failure(f"tcp://127.0.0.1:{silent.getsockname()[1]}")
    assert "does not answer within" in error.message


def test_missing_certificates_are_told(tmp_path: Path) -> None:
    environment = {"DOCKER_HOST": "tcp://127.0.0.1:1", "DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": str(tmp_path)}
    with pytest.raises(DockerNotAvailable, match="certificate"):
        connect(find_endpoint(None, environment), environment)
