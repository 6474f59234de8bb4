"""Which Docker engine is meant: the setting, DOCKER_HOST, DOCKER_CONTEXT or the current context, in the CLI's order.

docker-py reads contexts too, but takes an unknown one for the default and finds none without a config.json.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pmpctl.errors import DockerNotAvailable

DEFAULT_URL = "unix:///var/run/docker.sock"


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """`key` belongs to `cert`."""

    ca: Path | None
    cert: Path | None
    key: Path
    verify: bool


@dataclass(frozen=True, slots=True)
class Endpoint:
    """`why` says which setting named this engine, for the user to see."""

    url: str
    why: str
    tls: TlsFiles | None = None

    @property
    def socket(self) -> Path | None:
        scheme, _, path = self.url.partition("://")
        return Path("/", path) if path and scheme in ("unix", "http+unix") else None

    @property
    def is_local(self) -> bool:
        """Whether the engine's files, ports and processes are this machine's own."""
        return self.socket is not None


def find_endpoint(docker_host: str | None, environment: Mapping[str, str]) -> Endpoint:
    """Raises DockerNotAvailable for a context that does not exist or cannot be read."""
    if docker_host:
        return Endpoint(docker_host, "[host] docker_host", _environment_tls(environment))
    if host := environment.get("DOCKER_HOST"):
        return Endpoint(host, "DOCKER_HOST", _environment_tls(environment))
    config_dir = _config_dir(environment)
    if name := environment.get("DOCKER_CONTEXT"):
        why = "DOCKER_CONTEXT"
    else:
        name, why = _current_context(config_dir), f"current context in {config_dir / 'config.json'}"
    if name in ("", "default"):
        return Endpoint(DEFAULT_URL, "default", _environment_tls(environment))
    return _context(config_dir, name, why)


def _config_dir(environment: Mapping[str, str]) -> Path:
    if named := environment.get("DOCKER_CONFIG"):
        return Path(named)
    home = environment.get("HOME")
    return (Path(home) if home else Path.home()) / ".docker"


def _current_context(config_dir: Path) -> str:
    file = config_dir / "config.json"
    try:
        return str(json.loads(file.read_text(encoding="utf-8")).get("currentContext", ""))
    except FileNotFoundError:
        return ""
    except (OSError, ValueError, AttributeError) as error:
        raise DockerNotAvailable(
            f"{file} cannot be read: {error}",
            cure=f"Mend or remove {file}, or name the engine with DOCKER_HOST.",
        ) from error


def _context(config_dir: Path, name: str, why: str) -> Endpoint:
    identifier = hashlib.sha256(name.encode()).hexdigest()
    file = config_dir / "contexts" / "meta" / identifier / "meta.json"
    try:
        docker: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))["Endpoints"]["docker"]
        url = docker.get("Host") or DEFAULT_URL
    except FileNotFoundError as error:
        raise DockerNotAvailable(
            f"there is no Docker context {name!r} ({why})",
            cure="`docker context ls` lists those there are; choose one with DOCKER_CONTEXT or `docker context use`, "
            "or unset DOCKER_CONTEXT.",
        ) from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DockerNotAvailable(
            f"the Docker context {name!r} cannot be read: {error!r}",
            cure=f"Create it anew with `docker context rm {name}` and `docker context create {name}`.",
        ) from error
    tls_dir = config_dir / "contexts" / "tls" / identifier / "docker"
    return Endpoint(url, f"context {name!r} ({why})", _context_tls(tls_dir, verify=not docker.get("SkipTLSVerify")))


def _environment_tls(environment: Mapping[str, str]) -> TlsFiles | None:
    verify = bool(environment.get("DOCKER_TLS_VERIFY"))
    named = environment.get("DOCKER_CERT_PATH")
    if not verify and not named:
        return None
    folder = Path(named) if named else _config_dir(environment)
    return TlsFiles(folder / "ca.pem", folder / "cert.pem", folder / "key.pem", verify)


def _context_tls(folder: Path, *, verify: bool) -> TlsFiles | None:
    """A context keeps only the files that its creator named."""
    ca, cert, key = (folder / name for name in ("ca.pem", "cert.pem", "key.pem"))
    if not ca.is_file() and not cert.is_file():
        return None
    return TlsFiles(ca if ca.is_file() else None, cert if cert.is_file() else None, key, verify)
