from pathlib import Path

import pytest

from pmp_gateway.request_policy import RequestPolicy
from pmp_gateway.settings import Settings, SettingsInvalid


def test_an_empty_environment_gives_the_documented_defaults() -> None:
    settings = Settings.from_env({"BACKEND_MODEL_ID": "", "PMP_GATEWAY_CONTROL_SOCKET": " "})
    assert settings == Settings(
        backend_url="http://127.0.0.1:8002",
        backend_model_id=None,
        auth_config_path=None,
        host="127.0.0.1",
        port=8000,
        control_socket=None,
        policy=None,
        unknown_model="serve",
        log_headers=("x-signal-hunter-operation",),
        cors_origins=(),
        allowed_hosts=(),
        public_metrics=False,
        max_body_bytes=64 * 1024 * 1024,
        max_uploads_bytes=1024 * 1024 * 1024,
        state_file=None,
        hold_max_requests=256,
        hold_max_bytes=256 * 1024 * 1024,
        hold_timeout_seconds=600,
        keep_alive_seconds=5,
        engine_wait_seconds=20,
        requests_per_minute=0,
        max_concurrent=0,
    )


def test_every_variable_is_read() -> None:
    settings = Settings.from_env(
        {
            "BACKEND_URL": "https://engine:9000/",
            "BACKEND_MODEL_ID": "org/model",
            "AUTH_CONFIG_PATH": "/run/auth.json",
            "PMP_GATEWAY_HOST": "0.0.0.0",
            "PMP_GATEWAY_PORT": "9001",
            "PMP_GATEWAY_CONTROL_SOCKET": "/run/control/gateway.sock",
            "PMP_GATEWAY_UNKNOWN_MODEL": "reject",
            "PMP_GATEWAY_LOG_HEADERS": "X-One, x-two,",
            "PMP_GATEWAY_CORS_ORIGINS": "https://chat.example, http://localhost:3000",
            "PMP_GATEWAY_ALLOWED_HOSTS": "gpu.example.com,GPU",
            "PMP_GATEWAY_PUBLIC_METRICS": "1",
            "PMP_GATEWAY_MAX_BODY_BYTES": "1024",
            "PMP_GATEWAY_MAX_UPLOADS_BYTES": "4096",
            "PMP_GATEWAY_STATE_FILE": "/var/lib/gateway.json",
            "PMP_GATEWAY_HOLD_MAX_REQUESTS": "0",
            "PMP_GATEWAY_HOLD_MAX_BYTES": "2048",
            "PMP_GATEWAY_HOLD_TIMEOUT_SECONDS": "60",
            "PMP_GATEWAY_KEEP_ALIVE_SECONDS": "2",
            "PMP_GATEWAY_ENGINE_WAIT_SECONDS": "0",
            "PMP_GATEWAY_REQUESTS_PER_MINUTE": "60",
            "PMP_GATEWAY_MAX_CONCURRENT": "4",
            "PMP_GATEWAY_BACKEND_SILENCE_SECONDS": "7",
            "PMP_GATEWAY_MAX_HEAD_BYTES": "4096",
            "PMP_GATEWAY_MAX_CONNECTIONS": "64",
            "PMP_GATEWAY_MAX_CONNECTIONS_PER_ADDRESS": "8",
            "PMP_GATEWAY_HEAD_SECONDS": "1",
            "PMP_GATEWAY_BODY_SECONDS": "3",
            "PMP_GATEWAY_BODY_STALL_SECONDS": "5",
            "PMP_GATEWAY_CLIENT_STALL_SECONDS": "9",
            "PMP_GATEWAY_CLIENT_IDLE_SECONDS": "11",
        }
    )
    assert settings == Settings(
        backend_url="https://engine:9000",
        backend_model_id="org/model",
        auth_config_path=Path("/run/auth.json"),
        host="0.0.0.0",
        port=9001,
        control_socket=Path("/run/control/gateway.sock"),
        unknown_model="reject",
        log_headers=("x-one", "x-two"),
        cors_origins=("https://chat.example", "http://localhost:3000"),
        allowed_hosts=("gpu.example.com", "GPU"),
        public_metrics=True,
        max_body_bytes=1024,
        max_uploads_bytes=4096,
        state_file=Path("/var/lib/gateway.json"),
        hold_max_requests=0,
        hold_max_bytes=2048,
        hold_timeout_seconds=60,
        keep_alive_seconds=2,
        engine_wait_seconds=0,
        requests_per_minute=60,
        max_concurrent=4,
        backend_silence_seconds=7,
        max_head_bytes=4096,
        max_connections=64,
        max_connections_per_address=8,
        head_seconds=1,
        body_seconds=3,
        body_stall_seconds=5,
        client_stall_seconds=9,
        client_idle_seconds=11,
    )


def test_an_empty_list_of_headers_means_none() -> None:
    assert Settings.from_env({"PMP_GATEWAY_LOG_HEADERS": ""}).log_headers == ()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BACKEND_URL", "engine:8002"),
        ("BACKEND_URL", "ftp://engine:8002"),
        ("BACKEND_URL", "http://"),
        ("BACKEND_URL", "http://engine:port"),
        ("BACKEND_URL", "http://engine:8002/v1"),
        ("BACKEND_URL", "http://engine:8002/?a=b"),
        ("PMP_GATEWAY_PORT", "http"),
        ("PMP_GATEWAY_PORT", "65536"),
        ("PMP_GATEWAY_PORT", "-1"),
        ("PMP_GATEWAY_MAX_BODY_BYTES", "0"),
        ("PMP_GATEWAY_MAX_BODY_BYTES", "64MiB"),
        ("PMP_GATEWAY_HOLD_MAX_REQUESTS", "-1"),
        ("PMP_GATEWAY_HOLD_TIMEOUT_SECONDS", "0"),
        ("PMP_GATEWAY_KEEP_ALIVE_SECONDS", "0"),
        ("PMP_GATEWAY_ENGINE_WAIT_SECONDS", "20s"),
        ("PMP_GATEWAY_MAX_HEAD_BYTES", "1023"),
        ("PMP_GATEWAY_MAX_CONNECTIONS", "0"),
        ("PMP_GATEWAY_MAX_CONNECTIONS_PER_ADDRESS", "0"),
        ("PMP_GATEWAY_HEAD_SECONDS", "0"),
        ("PMP_GATEWAY_BODY_SECONDS", "5m"),
        ("PMP_GATEWAY_BODY_STALL_SECONDS", "0"),
        ("PMP_GATEWAY_CLIENT_STALL_SECONDS", "-1"),
        ("PMP_GATEWAY_CLIENT_IDLE_SECONDS", "0"),
        ("PMP_GATEWAY_REQUESTS_PER_MINUTE", "-1"),
        ("PMP_GATEWAY_MAX_CONCURRENT", "1000001"),
        ("PMP_GATEWAY_UNKNOWN_MODEL", "maybe"),
        ("PMP_GATEWAY_LOG_HEADERS", "X-One,Authorization"),
        ("PMP_GATEWAY_LOG_HEADERS", "x-api-key"),
        ("PMP_GATEWAY_CORS_ORIGINS", "chat.example"),
        ("PMP_GATEWAY_CORS_ORIGINS", "https://chat.example/"),
        ("PMP_GATEWAY_CORS_ORIGINS", "https://Chat.example"),
        ("PMP_GATEWAY_CORS_ORIGINS", "https://chat.example:443"),
        ("PMP_GATEWAY_CORS_ORIGINS", "http://chat.example:80"),
        ("PMP_GATEWAY_CORS_ORIGINS", "https://*.example"),
        ("PMP_GATEWAY_CORS_ORIGINS", "https://user@chat.example"),
        ("PMP_GATEWAY_CORS_ORIGINS", "null"),
        ("PMP_GATEWAY_ALLOWED_HOSTS", "gpu.example.com:8000"),
        ("PMP_GATEWAY_ALLOWED_HOSTS", "http://gpu.example.com"),
        ("PMP_GATEWAY_ALLOWED_HOSTS", "*"),
        ("PMP_GATEWAY_PUBLIC_METRICS", "yes"),
    ],
)
def test_a_wrong_value_is_refused_by_the_name_of_its_variable(name: str, value: str) -> None:
    with pytest.raises(SettingsInvalid, match=name):
        Settings.from_env({name: value})


@pytest.mark.parametrize("origin", ["*", "http://localhost:3000", "http://[::1]:3000", "app://obsidian.md"])
def test_an_origin_may_be_whatever_browsers_send(origin: str) -> None:
    assert Settings.from_env({"PMP_GATEWAY_CORS_ORIGINS": origin}).cors_origins == (origin,)


def test_the_state_lies_beside_the_control_socket_unless_told_otherwise() -> None:
    settings = Settings.from_env({"PMP_GATEWAY_CONTROL_SOCKET": "/run/control/gateway.sock"})
    assert settings.state_file == Path("/run/control/gateway.sock.state.json")


def test_credentials_in_the_backend_url_are_refused_and_not_repeated() -> None:
    with pytest.raises(SettingsInvalid) as refusal:
        Settings.from_env({"BACKEND_URL": "http://me:canary@engine:8002"})
    assert "canary" not in str(refusal.value)


def test_a_gateway_that_runs_alone_reads_its_policy_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "policy.json"
    path.write_text('{"max_tokens": 100}')
    assert Settings.from_env({"PMP_GATEWAY_POLICY_FILE": str(path)}).policy == RequestPolicy(max_tokens=100)


@pytest.mark.parametrize("text", ["", "[]", '{"max_tokens": "many"}', '{"max_token": 1}', "\xff"])
def test_a_policy_that_cannot_be_kept_keeps_the_gateway_from_starting(text: str, tmp_path: Path) -> None:
    path = tmp_path / "policy.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(SettingsInvalid, match=r"PMP_GATEWAY_POLICY_FILE: .*policy\.json"):
        Settings.from_env({"PMP_GATEWAY_POLICY_FILE": str(path)})


def test_a_policy_file_that_is_not_there_keeps_the_gateway_from_starting(tmp_path: Path) -> None:
    with pytest.raises(SettingsInvalid, match="cannot be read"):
        Settings.from_env({"PMP_GATEWAY_POLICY_FILE": str(tmp_path / "missing.json")})
