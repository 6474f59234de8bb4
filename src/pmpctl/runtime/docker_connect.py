"""A client of the Docker engine that is meant, or a precise word on why there is none."""

import os
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import requests
from docker.api.client import APIClient
from docker.errors import DockerException, InvalidVersion, create_api_error_from_http_exception
from docker.tls import TLSConfig

from pmpctl.errors import DockerNotAvailable
from pmpctl.runtime.docker_context import Endpoint

OLDEST_API = (1, 41)
"""Docker 20.10."""

CONNECT_TIMEOUT_SECONDS = 10
CALL_TIMEOUT_SECONDS = 60
SILENCE_TIMEOUT_SECONDS = 300
"""How long a pull or a build may say nothing; verifying a large layer takes minutes on a slow disk."""

WITHOUT_DOCKER = "or do without Docker: `--runtime process`"


class EngineClient(APIClient):
    """docker-py, which would wait for ever on a pull or a build that went silent, and leaves its connection open."""

    _latest: requests.Response | None = None

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        kwargs["timeout"] = kwargs.get("timeout") or SILENCE_TIMEOUT_SECONDS
        self._latest = super().send(request, **kwargs)
        return self._latest

    @contextmanager
    def streaming(self) -> Iterator[None]:
        """Hangs up on the engine at the end, which ends a pull or a build that is still going on."""
        try:
            yield
        finally:
            if self._latest is not None:
                self._latest.close()

    def raw_stream(
        self, method: str, path: str, silence_seconds: float, *, params: Any = None, json: Any = None
    ) -> Iterator[bytes]:
        """The engine's answer as it arrives, for the calls whose two output streams docker-py mixes into one."""
        url = f"{self.base_url}/v{self.api_version}{path}"
        with closing(
            self.request(method, url, params=params, json=json, stream=True, timeout=silence_seconds)
        ) as answer:
            try:
                answer.raise_for_status()
            except requests.HTTPError as error:
                create_api_error_from_http_exception(error)
            yield from answer.iter_content(chunk_size=None)


def connect(endpoint: Endpoint, environment: Mapping[str, str]) -> EngineClient:
    """Raises DockerNotAvailable with the cure for the cause at hand."""
    try:
        _knock(endpoint)
        client = EngineClient(base_url=endpoint.url, timeout=CONNECT_TIMEOUT_SECONDS, tls=_tls(endpoint) or False)
    except (DockerException, requests.RequestException, OSError, ValueError) as error:
        raise _explained(error, endpoint, environment) from error
    client.timeout = CALL_TIMEOUT_SECONDS
    if api_version(client) < OLDEST_API:
        raise _too_old(endpoint, f"speaks API {client.api_version}")
    return client


def _knock(endpoint: Endpoint) -> None:
    """docker-py would leave its socket open on a failure."""
    if endpoint.socket is not None:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(CONNECT_TIMEOUT_SECONDS)
            probe.connect(str(endpoint.socket))


def api_version(client: APIClient) -> tuple[int, int]:
    major, _, minor = client.api_version.partition(".")
    return int(major), int(minor)


def _tls(endpoint: Endpoint) -> TLSConfig | None:
    files = endpoint.tls
    if files is None or endpoint.is_local:
        return None
    return TLSConfig(
        client_cert=(str(files.cert), str(files.key)) if files.cert else None,
        ca_cert=str(files.ca) if files.ca else None,
        verify=files.verify,
    )


def _explained(error: Exception, endpoint: Endpoint, environment: Mapping[str, str]) -> DockerNotAvailable:
    where = f"{endpoint.url} ({endpoint.why})"
    causes = tuple(_chain(error))

    def cause(*kinds: type[BaseException]) -> bool:
        return any(isinstance(one, kinds) for one in causes)

    if endpoint.url.startswith("ssh://"):
        return _ssh(error, where)
    if isinstance(error, InvalidVersion):
        return _too_old(endpoint, "speaks an API from before 2014")
    if cause(PermissionError):
        return DockerNotAvailable(
            f"you may not use the Docker engine at {where}: permission denied",
            cure="Join the docker group with `sudo usermod -aG docker $USER` and log in anew (members are as mighty as "
            f"root), or use rootless Docker; {WITHOUT_DOCKER}.",
        )
    if cause(FileNotFoundError, NotADirectoryError):
        return DockerNotAvailable(
            f"there is no Docker engine at {where}: no such socket",
            cure=_rootless(environment)
            or f"Install Docker, or start it with `sudo systemctl start docker`; {WITHOUT_DOCKER}.",
        )
    if cause(ConnectionRefusedError):
        start = "Start it with `sudo systemctl start docker`" if endpoint.is_local else "Start it there"
        return DockerNotAvailable(
            f"the Docker engine at {where} does not run: connection refused",
            cure=f"{start} (`docker info` must answer); {WITHOUT_DOCKER}.",
        )
    if cause(socket.gaierror):
        return DockerNotAvailable(
            f"the Docker engine's host is not known: {where}", cure=f"Correct {_setting(endpoint)}; {WITHOUT_DOCKER}."
        )
    if cause(ssl.SSLError):
        return DockerNotAvailable(
            f"the Docker engine at {where} and pmpctl do not trust each other: {causes[-1]}",
            cure="Give DOCKER_CERT_PATH the folder with ca.pem, cert.pem and key.pem, and set DOCKER_TLS_VERIFY=1.",
        )
    if cause(requests.Timeout, TimeoutError):
        return DockerNotAvailable(
            f"the Docker engine at {where} does not answer within {CONNECT_TIMEOUT_SECONDS} seconds",
            cure="Check that `docker info` answers; restart Docker if it hangs, or free the way to its host.",
        )
    return DockerNotAvailable(
        f"no Docker engine answers at {where}: {causes[-1]}",
        cure=f"Check {_setting(endpoint)} and that `docker info` answers; {WITHOUT_DOCKER}.",
    )


def _ssh(error: Exception, where: str) -> DockerNotAvailable:
    if "paramiko" in str(error):
        return DockerNotAvailable(
            f"the Docker engine at {where} is reached by SSH, for which paramiko is missing",
            cure="Install paramiko beside pmpctl (`pip install paramiko`), or forward the socket: "
            "`ssh -nNT -L /tmp/docker.sock:/var/run/docker.sock HOST` and DOCKER_HOST=unix:///tmp/docker.sock.",
        )
    return DockerNotAvailable(
        f"the Docker engine at {where} cannot be reached by SSH: {error}",
        cure="Check that `ssh HOST docker version` works without a password.",
    )


def _too_old(endpoint: Endpoint, what: str) -> DockerNotAvailable:
    return DockerNotAvailable(
        f"the Docker engine at {endpoint.url} {what}; pmpctl needs Docker 20.10 (API 1.41) or newer",
        cure=f"Update Docker, {WITHOUT_DOCKER}.",
    )


def _rootless(environment: Mapping[str, str]) -> str:
    """A rootless engine listens elsewhere, and people forget to say so."""
    candidate = Path(environment.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}") / "docker.sock"
    if not candidate.exists():
        return ""
    return f"A rootless engine listens at {candidate}: set DOCKER_HOST=unix://{candidate}."


def _setting(endpoint: Endpoint) -> str:
    return endpoint.why if endpoint.why != "default" else "DOCKER_HOST"


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and all that it wraps: docker-py, requests and urllib3 keep the cause in three different places."""
    seen: set[int] = set()
    todo: list[BaseException] = [error]
    while todo:
        one = todo.pop(0)
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        wrapped = (one.__cause__, one.__context__, getattr(one, "reason", None), *one.args)
        todo += [inner for inner in wrapped if isinstance(inner, BaseException)]
