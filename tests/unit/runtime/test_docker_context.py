import hashlib
import json
from pathlib import Path

import pytest

from pmpctl.errors import DockerNotAvailable
from pmpctl.runtime.docker_context import find_endpoint


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A Docker CLI's folder with a context named `lab`, but no config.json, as `docker context create` leaves it."""
    identifier = hashlib.sha256(b"lab").hexdigest()
    meta = tmp_path / "contexts/meta" / identifier
    meta.mkdir(parents=True)
    endpoints = {"docker": {"Host": "tcp://lab:2376", "SkipTLSVerify": False}}
    (meta / "meta.json").write_text(json.dumps({"Name": "lab", "Metadata": {}, "Endpoints": endpoints}))
    tls = tmp_path / "contexts/tls" / identifier / "docker"
    tls.mkdir(parents=True)
    for name in ("ca.pem", "cert.pem", "key.pem"):
        (tls / name).touch()
    return tmp_path


def test_without_any_setting_the_engine_is_this_machine_s(tmp_path: Path) -> None:
    endpoint = find_endpoint(None, {"DOCKER_CONFIG": str(tmp_path)})
    assert (endpoint.url, endpoint.why, endpoint.is_local) == ("unix:///var/run/docker.sock", "default", True)


def test_the_setting_wins_over_the_environment(config: Path) -> None:
    environment = {"DOCKER_CONFIG": str(config), "DOCKER_HOST": "tcp://b:2375", "DOCKER_CONTEXT": "lab"}
    assert find_endpoint("tcp://a:2375", environment).url == "tcp://a:2375"
    assert find_endpoint(None, environment).url == "tcp://b:2375"


def test_a_context_of_the_environment_is_used_with_its_certificates(config: Path) -> None:
    endpoint = find_endpoint(None, {"DOCKER_CONFIG": str(config), "DOCKER_CONTEXT": "lab"})
    assert endpoint.url == "tcp://lab:2376"
    assert "'lab'" in endpoint.why
    assert not endpoint.is_local
    assert endpoint.tls is not None
    assert endpoint.tls.verify
    assert endpoint.tls.ca is not None
    assert endpoint.tls.ca.name == "ca.pem"


def test_the_current_context_of_the_config_file_is_used(config: Path) -> None:
    (config / "config.json").write_text('{"currentContext": "lab"}')
    assert find_endpoint(None, {"DOCKER_CONFIG": str(config)}).url == "tcp://lab:2376"


def test_the_folder_of_the_docker_cli_is_found_in_the_home_folder(
    config: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    home = tmp_path_factory.mktemp("home")
    (home / ".docker").symlink_to(config)
    assert find_endpoint(None, {"HOME": str(home), "DOCKER_CONTEXT": "lab"}).url == "tcp://lab:2376"


@pytest.mark.parametrize("way", ["environment", "config file"])
def test_an_unknown_context_is_an_error_not_the_default(tmp_path: Path, way: str) -> None:
    environment = {"DOCKER_CONFIG": str(tmp_path)}
    if way == "environment":
        environment["DOCKER_CONTEXT"] = "gone"
    else:
        (tmp_path / "config.json").write_text('{"currentContext": "gone"}')
    with pytest.raises(DockerNotAvailable, match="no Docker context 'gone'") as caught:
        find_endpoint(None, environment)
    assert "docker context ls" in caught.value.cure


@pytest.mark.parametrize("content", ["{", '"text"'])
def test_a_broken_config_file_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(DockerNotAvailable, match=r"config\.json cannot be read"):
        find_endpoint(None, {"DOCKER_CONFIG": str(tmp_path)})


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"Endpoints": {"docker": 1}}'])
def test_a_broken_context_is_named(config: Path, content: str) -> None:
    (config / "contexts/meta" / hashlib.sha256(b"lab").hexdigest() / "meta.json").write_text(content)
    with pytest.raises(DockerNotAvailable, match="'lab' cannot be read"):
        find_endpoint(None, {"DOCKER_CONFIG": str(config), "DOCKER_CONTEXT": "lab"})


def test_certificates_of_the_environment_are_used(tmp_path: Path) -> None:
    environment = {"DOCKER_HOST": "tcp://b:2376", "DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": str(tmp_path)}
    tls = find_endpoint(None, environment).tls
    assert tls is not None
    assert (tls.verify, tls.cert) == (True, tmp_path / "cert.pem")
    assert find_endpoint(None, {"DOCKER_HOST": "tcp://b:2375"}).tls is None
