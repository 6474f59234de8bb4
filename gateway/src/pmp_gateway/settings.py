"""What the gateway is told through its environment."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast
from urllib.parse import urlsplit

from pmp_gateway.origins import ANY_ORIGIN
from pmp_gateway.request_policy import RequestPolicy
from pmp_gateway.token_file import LARGEST_LIMIT

UnknownModel = Literal["serve", "reject"]

# Naming one of these in PMP_GATEWAY_LOG_HEADERS would write secrets into the log.
_SECRET_HEADERS = frozenset({"authorization", "proxy-authorization", "x-api-key", "cookie"})

# As browsers write an origin: in lower case, without a path and without the port that its scheme means anyway.
_ORIGIN = re.compile(
    r"(?!http://[^/]*:80$|https://[^/]*:443$)[a-z][a-z0-9+.-]*://(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?"
)
_HOST_NAME = re.compile(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*")


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
    # Where the phase outlives the process; without it every gateway starts open.
    state_file: Path | None = None
    # For a gateway that runs alone; pmpctl tells the profile's own when it opens.
    policy: RequestPolicy | None = None
    unknown_model: UnknownModel = "serve"
    log_headers: tuple[str, ...] = ("x-signal-hunter-operation",)
    # Web pages that may use the API; without tokens, host names that it answers to beside addresses and single names.
    cors_origins: tuple[str, ...] = ()
    allowed_hosts: tuple[str, ...] = ()
    # Whether /metrics is on the public listener too, behind the token check.
    public_metrics: bool = False
    max_body_bytes: int = 64 * 1024 * 1024
    # What the large bodies of all requests may take together.
    max_uploads_bytes: int = 1024 * 1024 * 1024
    # What may wait while the model is changed, and how long each; a stream that waits is sent comments.
    hold_max_requests: int = 256
    hold_max_bytes: int = 256 * 1024 * 1024
    hold_timeout_seconds: int = 600
    keep_alive_seconds: int = 5
    # How long requests wait for an engine that is away although nobody holds the gateway; 0 is not at all.
    engine_wait_seconds: int = 20
    # For tokens without limits of their own, and by address where there are no tokens; 0 is none.
    requests_per_minute: int = 0
    max_concurrent: int = 0
    # How long the backend may send nothing at all; a long answer that is not streamed is silent until it is done.
    backend_silence_seconds: int = 3600
    max_head_bytes: int = 64 * 1024
    max_headers: int = 128
    max_connections: int = 4096
    max_connections_per_address: int = 2048
    # How long a client may take for a request's head, for its body, between two parts of the body, and to take more of
    # an answer; and how long a connection may be idle: longer than clients keep theirs, so that it is they who close.
    head_seconds: int = 15
    body_seconds: int = 300
    body_stall_seconds: int = 30
    client_stall_seconds: int = 300
    client_idle_seconds: int = 130

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
            state_file=_state_file(given, control_socket),
            policy=_policy(given.get("PMP_GATEWAY_POLICY_FILE")),
            unknown_model=_unknown_model(given.get("PMP_GATEWAY_UNKNOWN_MODEL", default.unknown_model)),
            log_headers=default.log_headers if log_headers is None else _log_headers(log_headers),
            cors_origins=_cors_origins(given.get("PMP_GATEWAY_CORS_ORIGINS", "")),
            allowed_hosts=_allowed_hosts(given.get("PMP_GATEWAY_ALLOWED_HOSTS", "")),
            public_metrics=_switch(given, "PMP_GATEWAY_PUBLIC_METRICS"),
            max_body_bytes=_number(given, "PMP_GATEWAY_MAX_BODY_BYTES", default.max_body_bytes, least=1),
            max_uploads_bytes=_number(given, "PMP_GATEWAY_MAX_UPLOADS_BYTES", default.max_uploads_bytes, least=1),
            hold_max_requests=_number(given, "PMP_GATEWAY_HOLD_MAX_REQUESTS", default.hold_max_requests, least=0),
            hold_max_bytes=_number(given, "PMP_GATEWAY_HOLD_MAX_BYTES", default.hold_max_bytes, least=0),
            hold_timeout_seconds=_number(
                given, "PMP_GATEWAY_HOLD_TIMEOUT_SECONDS", default.hold_timeout_seconds, least=1
            ),
            keep_alive_seconds=_number(given, "PMP_GATEWAY_KEEP_ALIVE_SECONDS", default.keep_alive_seconds, least=1),
            engine_wait_seconds=_number(given, "PMP_GATEWAY_ENGINE_WAIT_SECONDS", default.engine_wait_seconds, least=0),
            max_head_bytes=_number(given, "PMP_GATEWAY_MAX_HEAD_BYTES", default.max_head_bytes, least=1024),
            max_connections=_number(given, "PMP_GATEWAY_MAX_CONNECTIONS", default.max_connections, least=1),
            max_connections_per_address=_number(
                given, "PMP_GATEWAY_MAX_CONNECTIONS_PER_ADDRESS", default.max_connections_per_address, least=1
            ),
            head_seconds=_number(given, "PMP_GATEWAY_HEAD_SECONDS", default.head_seconds, least=1),
            body_seconds=_number(given, "PMP_GATEWAY_BODY_SECONDS", default.body_seconds, least=1),
            body_stall_seconds=_number(given, "PMP_GATEWAY_BODY_STALL_SECONDS", default.body_stall_seconds, least=1),
            client_stall_seconds=_number(
                given, "PMP_GATEWAY_CLIENT_STALL_SECONDS", default.client_stall_seconds, least=1
            ),
            client_idle_seconds=_number(given, "PMP_GATEWAY_CLIENT_IDLE_SECONDS", default.client_idle_seconds, least=1),
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


def _state_file(given: Mapping[str, str], control_socket: str | None) -> Path | None:
    """Beside the control socket unless told otherwise: without one, nobody can change the phase."""
    if told := given.get("PMP_GATEWAY_STATE_FILE"):
        return Path(told)
    return Path(f"{control_socket}.state.json") if control_socket else None


def _policy(path: str | None) -> RequestPolicy | None:
    if path is None:
        return None
    try:
        return RequestPolicy.from_data(json.loads(Path(path).read_bytes()))
    except OSError as error:
        raise SettingsInvalid(f"PMP_GATEWAY_POLICY_FILE: {path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise SettingsInvalid(f"PMP_GATEWAY_POLICY_FILE: {path} holds no policy: {error}") from error


def _unknown_model(text: str) -> UnknownModel:
    if text not in ("serve", "reject"):
        raise SettingsInvalid(f"PMP_GATEWAY_UNKNOWN_MODEL is {text!r}; expected 'serve' or 'reject'")
    return cast("UnknownModel", text)


def _cors_origins(text: str) -> tuple[str, ...]:
    origins = _items(text)
    for origin in origins:
        if origin != ANY_ORIGIN and not _ORIGIN.fullmatch(origin):
            raise SettingsInvalid(
                f"PMP_GATEWAY_CORS_ORIGINS names {origin!r}; expected origins as browsers send them, "
                "such as https://chat.example, or * for every page"
            )
    return origins


def _allowed_hosts(text: str) -> tuple[str, ...]:
    hosts = _items(text)
    for host in hosts:
        if not _HOST_NAME.fullmatch(host):
            raise SettingsInvalid(
                f"PMP_GATEWAY_ALLOWED_HOSTS names {host!r}; expected host names without ports, such as gpu.example.com"
            )
    return hosts


def _switch(given: Mapping[str, str], name: str) -> bool:
    text = given.get(name, "0")
    if text not in ("0", "1"):
        raise SettingsInvalid(f"{name} is {text!r}; expected 0 or 1")
    return text == "1"


def _items(text: str) -> tuple[str, ...]:
    return tuple(item.strip() for item in text.split(",") if item.strip())


def _log_headers(text: str) -> tuple[str, ...]:
    names = tuple(name.lower() for name in _items(text))
    secret = sorted(_SECRET_HEADERS.intersection(names))
    if secret:
        raise SettingsInvalid(f"PMP_GATEWAY_LOG_HEADERS names {secret[0]!r}; secrets are never logged")
    return names
