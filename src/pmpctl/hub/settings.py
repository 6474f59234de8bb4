"""How this user reaches the hub: its address, a token, and whether the network may be touched at all."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pmpctl.planning.engine_unit import HUB_TOKEN_FILE
from pmpctl.workspace import Workspace

TOKEN_VARIABLES = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
DEFAULT_ENDPOINT = "https://huggingface.co"


@dataclass(frozen=True, slots=True)
class HubToken:
    value: str = field(repr=False)
    origin: str
    """The variable or file it was found in: what a message may name."""


@dataclass(frozen=True, slots=True)
class HubSettings:
    endpoint: str
    token: HubToken | None
    offline_because: str | None
    """The option or variable that forbids the network; None where it is allowed."""
    ca_bundle: Path | None
    """Certificates to trust besides the system's."""


def read_settings(environment: Mapping[str, str], workspace: Workspace, *, offline: bool) -> HubSettings:
    bundle = (
        environment.get("SSL_CERT_FILE") or environment.get("REQUESTS_CA_BUNDLE") or environment.get("CURL_CA_BUNDLE")
    )
    return HubSettings(
        endpoint=(environment.get("HF_ENDPOINT") or DEFAULT_ENDPOINT).rstrip("/"),
        token=_find_token(environment, workspace),
        offline_because="--offline" if offline else _offline_variable(environment),
        ca_bundle=Path(bundle) if bundle else None,
    )


def _offline_variable(environment: Mapping[str, str]) -> str | None:
    names = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
    return next((name for name in names if environment.get(name, "").upper() in {"1", "ON", "YES", "TRUE"}), None)


def _find_token(environment: Mapping[str, str], workspace: Workspace) -> HubToken | None:
    for name in TOKEN_VARIABLES:
        if value := environment.get(name, "").strip():
            return HubToken(value, name)
    for path in _token_files(environment, workspace):
        try:
            value = path.read_text().strip()
        except (OSError, ValueError):
            continue
        if value:
            return HubToken(value, str(path))
    return None


def _token_files(environment: Mapping[str, str], workspace: Workspace) -> list[Path]:
    home = Path(environment.get("HOME") or Path.home())
    caches = Path(environment.get("XDG_CACHE_HOME") or home / ".cache")
    hub_home = Path(environment.get("HF_HOME") or caches / "huggingface")
    told = environment.get("HF_TOKEN_PATH")
    return [*([Path(told)] if told else []), hub_home / "token", workspace.secrets_dir / HUB_TOKEN_FILE]
