"""What the gateway is told through its environment."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast
from urllib.parse import urlsplit

from pmp_gateway.token_file import LARGEST_LIMIT

UnknownModel = Literal["serve", "reject"]

# Naming one of these in PMP_GATEWAY_LOG_HEADERS would write secrets into the log.
_SECRET_HEADERS = frozenset({"authorization", "proxy-authorization", "x-api-key", "cookie"})


class SettingsInvalid(Exception):
    """The message names the variable, what is wrong with it and what it may be."""


@dataclass(frozen=True, slots=True)
class Settings:
    backend_url: str = "http://127.0.0.1:8002"
    backend_model_id: str | None = None
    auth_config_path: Path | None = None
    host: str = "127.0.0.1"
    port: int = 8000
    control_socket: Path | None = None
    unknown_model: UnknownModel = "serve"
    log_headers: tuple[str, ...] = ("x-signal-hunter-operation",)
    max_body_bytes: int = 64 * 1024 * 1024
    # For tokens without limits of their own, and by address where there are no tokens; 0 is none.
    requests_per_minute: int = 0
    max_concurrent: int = 0
    # How long the backend may send nothing at all; a long answer that is not streamed is silent until it is done.
    backend_silence_seconds: int = 3600

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> "Settings":
        """An empty variable counts as one that is not set, but for the list of headers, which may be empty."""
        given = {name: value.strip() for name, value in env.items() if value.strip()}
        default = cls()
        auth_config_path = given.get("AUTH_CONFIG_PATH")
        control_socket = given.get("PMP_GATEWAY_CONTROL_SOCKET")
        log_headers = env.get("PMP_GATEWAY_LOG_HEADERS")
        return cls(
            backend_url=_backend_url(given.get("BACKEND_URL", default.backend_url)),
            backend_model_id=given.get("BACKEND_MODEL_ID"),
            auth_config_path=Path(auth_config_path) if auth_config_path else None,
            host=given.get("PMP_GATEWAY_HOST", default.host),
            port=_number(given, "PMP_GATEWAY_PORT", default.port, least=0, most=65535),
            control_socket=Path(control_socket) if control_socket else None,
            unknown_model=_unknown_model(given.get("PMP_GATEWAY_UNKNOWN_MODEL", default.unknown_model)),
            log_headers=default.log_headers if log_headers is None else _log_headers(log_headers),
            max_body_bytes=_number(given, "PMP_GATEWAY_MAX_BODY_BYTES", default.max_body_bytes, least=1),
            requests_per_minute=_limit(given, "PMP_GATEWAY_REQUESTS_PER_MINUTE"),
            max_concurrent=_limit(given, "PMP_GATEWAY_MAX_CONCURRENT"),
            backend_silence_seconds=_number(
                given, "PMP_GATEWAY_BACKEND_SILENCE_SECONDS", default.backend_silence_seconds, least=1
            ),
        )


def _backend_url(text: str) -> str:
    expected = "expected http://HOST:PORT or https://HOST:PORT, without a path"
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError as error:
        raise SettingsInvalid(f"BACKEND_URL is not a URL ({error}); {expected}") from error
    if url.username is not None or url.password is not None:
        raise SettingsInvalid(f"BACKEND_URL must not carry credentials; {expected}")
    if url.scheme not in ("http", "https") or not url.hostname or port == 0:
        raise SettingsInvalid(f"BACKEND_URL is {text!r}; {expected}")
    if url.path not in ("", "/") or url.query or url.fragment:
        raise SettingsInvalid(f"BACKEND_URL is {text!r}; {expected}")
    return f"{url.scheme}://{url.netloc}"


def _number(given: Mapping[str, str], name: str, default: int, *, least: int, most: int | None = None) -> int:
    text = given.get(name)
    if text is None:
        return default
    expected = f"from {least} to {most}" if most is not None else f"of at least {least}"
    if not (text.isascii() and text.isdigit()):
        raise SettingsInvalid(f"{name} is {text!r}; expected a whole number {expected}")
    number = int(text)
    if number < least or (most is not None and number > most):
        raise SettingsInvalid(f"{name} is {number}; expected a whole number {expected}")
    return number


def _limit(given: Mapping[str, str], name: str) -> int:
    return _number(given, name, 0, least=0, most=LARGEST_LIMIT)


def _unknown_model(text: str) -> UnknownModel:
    if text not in ("serve", "reject"):
        raise SettingsInvalid(f"PMP_GATEWAY_UNKNOWN_MODEL is {text!r}; expected 'serve' or 'reject'")
    return cast("UnknownModel", text)


def _log_headers(text: str) -> tuple[str, ...]:
    names = tuple(name.strip().lower() for name in text.split(",") if name.strip())
    secret = sorted(_SECRET_HEADERS.intersection(names))
    if secret:
        raise SettingsInvalid(f"PMP_GATEWAY_LOG_HEADERS names {secret[0]!r}; secrets are never logged")
    return names
