import hashlib
import json
import os
from pathlib import Path
from typing import Any

import httpx
import pytest

from pmp_gateway.auth import TokenFileInvalid, Tokens
from pmp_gateway.failures import Unauthorized
from tests.support import eventually
from tests.unit.gateway.conftest import StartGateway
from tests.unit.gateway.stub import Backend

SECRET = "s3cret-canary"
HASHED = "hashed-canary"


def _write(path: Path, data: object) -> Path:
    """As a careful writer does: the file is whole or the old one at every moment."""
    beside = path.with_suffix(".new")
    beside.write_text(data if isinstance(data, str) else json.dumps(data))
    beside.replace(path)
    return path


@pytest.fixture
def tokens(tmp_path: Path) -> Tokens:
    hashed = {"name": "laptop", "sha256": hashlib.sha256(HASHED.encode()).hexdigest()}
    return Tokens(_write(tmp_path / "auth.json", {"tokens": [SECRET, hashed, "tökén", "\ud800"]}))


@pytest.mark.parametrize(
    "headers",
    [
        [(b"authorization", f"Bearer {SECRET}".encode())],
        [(b"authorization", f"bearer {SECRET}".encode())],
        [(b"authorization", f"BEARER   {SECRET}".encode())],
        [(b"authorization", f"Bearer {HASHED}".encode())],
        [(b"authorization", "Bearer tökén".encode())],
        [(b"x-api-key", SECRET.encode())],
        [(b"x-api-key", HASHED.encode())],
        [(b"authorization", f"Bearer {SECRET}".encode()), (b"x-api-key", b"unused")],
    ],
)
def test_a_valid_token_is_admitted(tokens: Tokens, headers: list[tuple[bytes, bytes]]) -> None:
    assert tokens.authenticate(headers) is not None


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(b"authorization", b"")],
        [(b"authorization", b"Bearer")],
        [(b"authorization", b"Bearer ")],
        [(b"authorization", SECRET.encode())],
        [(b"authorization", f"Basic {SECRET}".encode())],
        [(b"authorization", f"Bearer{SECRET}".encode())],
        [(b"authorization", f"Bearer {SECRET}x".encode())],
        [(b"authorization", f"Bearer {SECRET[:-1]}".encode())],
        [(b"authorization", f"Bearer {SECRET}, Bearer {SECRET}".encode())],
        [(b"authorization", f"Bearer {SECRET} {SECRET}".encode())],
        [(b"authorization", f"Bearer {SECRET}".encode())] * 2,
        [(b"authorization", b"Bearer \xff\xfe")],
        [(b"authorization", f"Bearer {hashlib.sha256(HASHED.encode()).hexdigest()}".encode())],
        [(b"authorization", b"Bearer wrong"), (b"x-api-key", SECRET.encode())],
        [(b"x-api-key", b"")],
        [(b"x-api-key", f"Bearer {SECRET}".encode())],
        [(b"x-api-key", SECRET.encode())] * 2,
        [(b"cookie", f"token={SECRET}".encode())],
    ],
)
def test_anything_else_is_not(tokens: Tokens, headers: list[tuple[bytes, bytes]]) -> None:
    with pytest.raises(Unauthorized):
        tokens.authenticate(headers)


@pytest.mark.parametrize("content", [None, {"tokens": []}])
def test_no_file_and_no_tokens_both_mean_that_everybody_may_come_in(tmp_path: Path, content: Any) -> None:
    path = tmp_path / "auth.json"
    if content is not None:
        _write(path, content)
    assert Tokens(path).authenticate([]) is None


MALFORMED: list[object] = [
    "{",
    "[]",
    "null",
    {},
    {"token": [SECRET]},
    {"tokens": SECRET},
    {"tokens": [""]},
    {"tokens": ["  "]},
    {"tokens": [SECRET, None]},
    {"tokens": [{"name": "a"}]},
    {"tokens": [{"name": "a", "sha256": "abc"}]},
    {"tokens": [{"name": "", "sha256": "0" * 64}]},
    {"tokens": [{"name": "a", "sha256": "0" * 64, "expires": "tomorrow"}]},
    "[" * 200_000,
]


@pytest.mark.parametrize("content", MALFORMED, ids=lambda content: repr(content)[:40])
def test_a_malformed_file_is_refused_without_repeating_it(tmp_path: Path, content: object) -> None:
    with pytest.raises(TokenFileInvalid, match=r"auth\.json") as refusal:
        Tokens(_write(tmp_path / "auth.json", content))
    assert SECRET not in str(refusal.value)


def test_a_folder_in_the_place_of_the_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TokenFileInvalid, match="folder"):
        Tokens(tmp_path)


def test_an_empty_file_means_an_open_gateway_but_never_opens_a_guarded_one(tmp_path: Path) -> None:
    path = _write(tmp_path / "auth.json", "")
    assert Tokens(path).authenticate([]) is None

    _write(path, {"tokens": [SECRET]})
    tokens = Tokens(path)
    path.write_text("")
    with pytest.raises(TokenFileInvalid):
        tokens.reload()
    with pytest.raises(Unauthorized):
        tokens.authenticate([])


def test_a_reload_of_a_vanished_file_keeps_the_tokens(tmp_path: Path) -> None:
    path = _write(tmp_path / "auth.json", {"tokens": [SECRET]})
    tokens = Tokens(path)
    path.unlink()
    with pytest.raises(TokenFileInvalid, match="gone"):
        tokens.reload()
    with pytest.raises(Unauthorized):
        tokens.authenticate([])


def _status(url: str, token: str) -> int:
    return httpx.get(f"{url}/v1/models/llm", headers={"authorization": f"Bearer {token}"}, trust_env=False).status_code


async def test_a_request_without_a_valid_token_never_reaches_the_engine(
    start_gateway: StartGateway, backend: Backend, tmp_path: Path
) -> None:
    path = _write(tmp_path / "auth.json", {"tokens": [SECRET]})
    gateway = start_gateway(AUTH_CONFIG_PATH=str(path))
    async with httpx.AsyncClient(base_url=gateway.url) as client:
        for route in ("/v1/chat/completions", "/tokenize", "/v1/messages"):
            refused = await client.post(route, json={}, headers={"authorization": "Bearer wrong"})
            assert refused.status_code == 401
            assert refused.headers["www-authenticate"] == "Bearer"
            assert refused.json()["error"]["code"] == "invalid_api_key"
        assert (await client.get("/v1/models")).status_code == 401
        assert (await client.get("/v1/models", params={"token": SECRET})).status_code == 401
        assert (await client.get("/health")).status_code == 200
        assert not backend.calls
        assert backend.models_asked == 0

        admitted = await client.post("/v1/chat/completions", json={}, headers={"x-api-key": SECRET})
        assert admitted.status_code == 200
        assert SECRET not in gateway.stderr + gateway.stdout_path.read_text()


async def test_a_changed_file_takes_effect_without_a_restart_and_a_broken_one_does_not(
    start_gateway: StartGateway, backend: Backend, tmp_path: Path
) -> None:
    path = _write(tmp_path / "auth.json", {"tokens": ["first"]})
    # What the gateway answers depends on the token alone: with no backend there, 503 means admitted.
    gateway = start_gateway(AUTH_CONFIG_PATH=str(path), backend_url="http://127.0.0.1:9")
    assert (_status(gateway.url, "first"), _status(gateway.url, "second")) == (503, 401)

    _write(path, {"tokens": ["second"]})
    eventually(lambda: _status(gateway.url, "second") == 503)
    assert _status(gateway.url, "first") == 401

    _write(path, '{"tokens": [')
    eventually(lambda: _status(gateway.url, "second") == 503 and "stay as they are" in gateway.stderr)
    assert _status(gateway.url, "first") == 401
    assert gateway.stderr.count("stay as they are") == 1

    path.unlink()
    eventually(lambda: _status(gateway.url, "second") == 503 and "is gone" in gateway.stderr)
    assert _status(gateway.url, "first") == 401

    _write(path, {"tokens": []})
    eventually(lambda: _status(gateway.url, "anything") == 503)


def test_a_gateway_with_a_malformed_token_file_refuses_to_start(start_gateway: StartGateway, tmp_path: Path) -> None:
    path = _write(tmp_path / "auth.json", {"tokens": [SECRET, ""]})
    gateway = start_gateway(listening=False, AUTH_CONFIG_PATH=str(path))
    assert gateway.wait(30) == os.EX_CONFIG
    assert f"{path}: token number 2" in gateway.stderr
    assert "Traceback" not in gateway.stderr
    assert SECRET not in gateway.stderr


def test_a_gateway_that_cannot_read_its_token_file_refuses_to_start(
    start_gateway: StartGateway, tmp_path: Path
) -> None:
    path = tmp_path / "auth.json"
    path.symlink_to(path)
    gateway = start_gateway(listening=False, AUTH_CONFIG_PATH=str(path))
    assert gateway.wait(30) == os.EX_CONFIG
    assert f"{path} cannot be read" in gateway.stderr
