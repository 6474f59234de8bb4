import hashlib
import hmac
import json
import os
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from pmp_gateway.auth import Tokens
from pmp_gateway.failures import TokenExpired, TooManyAttempts, Unauthorized, answer_to
from pmp_gateway.token_file import TokenFileInvalid
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
        [(b"authorization", b"Bearer \x00")],
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


def test_a_malformed_file_is_refused_without_repeating_it(tmp_path: Path) -> None:
    with pytest.raises(TokenFileInvalid, match=r"auth\.json: token number 2") as refusal:
        Tokens(_write(tmp_path / "auth.json", {"tokens": ["one", {SECRET: SECRET}]}))
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


def _bearer(token: str) -> list[tuple[bytes, bytes]]:
    return [(b"authorization", f"Bearer {token}".encode())]


def _hashed(token: str, **members: object) -> dict[str, object]:
    return {"name": "laptop", "sha256": hashlib.sha256(token.encode()).hexdigest(), **members}


def test_an_expired_token_is_told_so_and_still_guards_the_gateway(tmp_path: Path) -> None:
    now = datetime(2026, 3, 1, 11, 59, 59, tzinfo=UTC).timestamp()
    path = _write(tmp_path / "auth.json", {"tokens": [_hashed(SECRET, expires="2026-03-01T12:00:00Z")]})
    tokens = Tokens(path, now=lambda: now)
    admitted = tokens.authenticate(_bearer(SECRET))
    assert admitted is not None
    assert admitted.name == "laptop"

    now += 1
    with pytest.raises(TokenExpired) as refusal:
        tokens.authenticate(_bearer(SECRET))
    answer = answer_to(refusal.value)
    assert (answer.status, answer.code) == (401, "token_expired")
    assert b"expired" in answer.body
    for headers in ([], _bearer("wrong")):
        with pytest.raises(Unauthorized):
            tokens.authenticate(headers)


@pytest.mark.parametrize("presented", ["first", "second", "third", "none of them"])
def test_every_token_is_compared_in_constant_time_whichever_one_matches(
    presented: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = Tokens(_write(tmp_path / "auth.json", {"tokens": ["first", "second", "third"]}))
    compared: list[bytes] = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append(one)
        return one == other

    monkeypatch.setattr(hmac, "compare_digest", compare)
    with suppress(Unauthorized):
        tokens.authenticate(_bearer(presented))
    assert compared == [hashlib.sha256(token).digest() for token in (b"first", b"second", b"third")]


def test_a_token_brings_its_own_limits(tmp_path: Path) -> None:
    limited = _hashed(SECRET, requests_per_minute=30, max_concurrent=0, created="2026-01-01T00:00:00Z")
    token = Tokens(_write(tmp_path / "auth.json", {"tokens": [limited, "plain"]})).authenticate(_bearer(SECRET))
    assert token is not None
    assert (token.requests_per_minute, token.max_concurrent) == (30, 0)


def test_a_token_that_is_printed_by_mistake_shows_its_name_alone(tokens: Tokens) -> None:
    token = tokens.authenticate(_bearer(HASHED))
    assert token is not None
    assert "laptop" in repr(token)
    assert repr(token.digest) not in repr(token)


def test_wrong_tokens_are_answered_later_and_later_and_missing_ones_at_once(tokens: Tokens) -> None:
    def delay(headers: list[tuple[bytes, bytes]]) -> float:
        with pytest.raises(Unauthorized) as refusal:
            tokens.authenticate(headers, "192.0.2.1")
        return refusal.value.delay_seconds

    delays = [delay(_bearer(f"wrong-{number}")) for number in range(9)]
    assert delays[0] == 0
    assert delays[-1] > 0.5
    assert delays == sorted(delays)
    assert delay([]) == 0
    assert delay([(b"authorization", b"Basic dXNlcjpwYXNz")]) == 0


def test_guessing_without_waiting_is_refused_before_a_token_is_looked_at(tokens: Tokens) -> None:
    tokens.authenticate(_bearer(SECRET), "192.0.2.1")
    for number in range(13):
        with pytest.raises(Unauthorized):
            tokens.authenticate(_bearer(f"wrong-{number}"), "192.0.2.1")

    for guess in ("wrong", HASHED):
        with pytest.raises(TooManyAttempts):
            tokens.authenticate(_bearer(guess), "192.0.2.1")
    assert tokens.authenticate(_bearer(SECRET), "192.0.2.1")
    assert tokens.authenticate(_bearer(HASHED), "192.0.2.2")


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
