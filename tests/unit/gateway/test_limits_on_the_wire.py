"""Tokens and their limits through the real process: what is slowed down, what is refused, and what a change changes."""

import asyncio
import hashlib
import json
import statistics
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.unit.gateway.conftest import StartGateway
from tests.unit.gateway.gateway_process import GatewayProcess
from tests.unit.gateway.refusals import refusal
from tests.unit.gateway.stub import Backend, Call, answer_ok
from tests.unit.gateway.wire import Wire, wire

PATH = "/v1/chat/completions"
MODELS = "GET /v1/models HTTP/1.1\r\nHost: gateway\r\n{}\r\n\r\n"
SetTokens = Callable[..., None]


def entry(name: str, **members: Any) -> dict[str, Any]:
    """Of a token that is its own name."""
    return {"name": name, "sha256": hashlib.sha256(name.encode()).hexdigest(), **members}


@pytest.fixture
def tokens_path(tmp_path: Path) -> Path:
    return tmp_path / "auth.json"


@pytest.fixture
def set_tokens(tokens_path: Path) -> SetTokens:
    def write(*entries: dict[str, Any]) -> None:
        temporary = tokens_path.with_suffix(".new")
        temporary.write_text(json.dumps({"tokens": entries}))
        temporary.replace(tokens_path)

    return write


@pytest.fixture
def guarded(start_gateway: StartGateway, tokens_path: Path, set_tokens: SetTokens) -> Callable[..., GatewayProcess]:
    def start(*entries: dict[str, Any]) -> GatewayProcess:
        set_tokens(*entries)
        return start_gateway(AUTH_CONFIG_PATH=str(tokens_path))

    return start


async def ask(connection: Wire, token: str, body: bytes = b"{}") -> None:
    await connection.post(PATH, body, f"Authorization: Bearer {token}")


async def status_of(gateway: GatewayProcess, token: str) -> int:
    async with wire(gateway.port) as connection:
        await ask(connection, token)
        return (await connection.answer())[0]


async def test_who_guesses_waits_longer_and_longer_and_everybody_else_does_not(
    guarded: Callable[..., GatewayProcess], backend: Backend
) -> None:
    gateway = guarded(entry("right"))
    took_seconds = []
    async with wire(gateway.port) as connection:
        for number in range(8):
            began = time.monotonic()
            await ask(connection, f"guess-{number}")
            assert await refusal(connection) == (401, "invalid_api_key")
            took_seconds.append(time.monotonic() - began)
    # 0.1, 0.2 and 0.4 seconds, but for the loop's clock and what was forgiven meanwhile.
    assert took_seconds[7] > 0.35
    assert took_seconds[6] > 0.15
    assert statistics.median(took_seconds[:5]) < took_seconds[7]
    async with wire(gateway.port) as guesses, wire(gateway.port) as works:
        await ask(guesses, "guess-9")
        await ask(works, "right")
        waiting = asyncio.create_task(guesses.head())
        assert (await works.answer())[0] == 200
        assert not waiting.done()
        assert (await waiting)[0] == 401
    assert len(backend.calls) == 1


@pytest.mark.parametrize("request_line", [f"POST {PATH}", "GET /v1/models"])
async def test_no_route_is_faster_to_guess_at(
    guarded: Callable[..., GatewayProcess], backend: Backend, request_line: str
) -> None:
    gateway = guarded(entry("right"))
    async with wire(gateway.port) as connection:
        for number in range(7):
            began = time.monotonic()
            await connection.send(
                f"{request_line} HTTP/1.1\r\nHost: gateway\r\nx-api-key: guess-{number}\r\n\r\n".encode()
            )
            status, _ = await refusal(connection)
            took_seconds = time.monotonic() - began
    assert status == 401
    assert took_seconds > 0.15


async def test_guessing_on_many_connections_at_once_is_refused(
    guarded: Callable[..., GatewayProcess], backend: Backend
) -> None:
    gateway = guarded(entry("right"))
    assert await status_of(gateway, "right") == 200
    async with AsyncExitStack() as stack:
        connections = [await stack.enter_async_context(wire(gateway.port)) for _ in range(40)]
        for number, connection in enumerate(connections):
            await ask(connection, f"guess-{number}")
        answers = await asyncio.gather(*map(refusal, connections))
        assert set(answers) == {(401, "invalid_api_key"), (429, "too_many_attempts")}
        assert answers.count((429, "too_many_attempts")) >= 40 - 5 - 8
    assert await status_of(gateway, "right") == 200
    assert len(backend.calls) == 2


async def test_a_rate_beyond_the_limit_is_told_when_to_come_again(
    guarded: Callable[..., GatewayProcess], backend: Backend
) -> None:
    gateway = guarded(entry("limited", requests_per_minute=60), entry("free"))
    async with wire(gateway.port) as connection:
        began = time.monotonic()
        for _ in range(60):
            await ask(connection, "limited")
            assert (await connection.answer())[0] == 200
        refused = None
        while time.monotonic() - began < 30 and refused is None:
            await ask(connection, "limited")
            status, headers = await connection.head()
            body = await connection.exactly(int(dict(headers)["content-length"]))
            if status == 429:
                refused = headers, json.loads(body)["error"]["code"]
        assert refused is not None
        assert refused[1] == "rate_limited"
        seconds = int(dict(refused[0])["retry-after"])
        assert seconds == 1
        assert await status_of(gateway, "free") == 200
        await asyncio.sleep(seconds)
        await ask(connection, "limited")
        assert (await connection.answer())[0] == 200


async def test_requests_at_a_time_beyond_the_limit_are_refused_until_one_ends_or_its_client_leaves(
    guarded: Callable[..., GatewayProcess], backend: Backend
) -> None:
    release = asyncio.Event()

    async def stream(call: Call) -> None:
        await call.start()
        await call.chunk(b"data: 1\n\n")
        await release.wait()
        await call.finish()

    backend.handler = stream
    gateway = guarded(entry("two", max_concurrent=2), entry("free"))
    async with wire(gateway.port) as ends, wire(gateway.port) as leaves, wire(gateway.port) as waits:
        for connection in (ends, leaves):
            await ask(connection, "two")
            await connection.until(b"data: 1\n\n\r\n")
        for _ in range(3):
            await ask(waits, "two")
            status, headers = await waits.head()
            assert (status, dict(headers)["retry-after"]) == (429, "1")
            await waits.exactly(int(dict(headers)["content-length"]))
        await waits.send(MODELS.format("Authorization: Bearer two").encode())
        assert await refusal(waits) == (429, "too_many_concurrent")
        async with wire(gateway.port) as other:
            await ask(other, "free")
            await other.until(b"data: 1\n\n\r\n")

        await leaves.leave()
        await backend.calls[1].gone.wait()
        await ask(waits, "two")
        await waits.until(b"data: 1\n\n\r\n")
        release.set()
        await ends.until(b"0\r\n\r\n")
        await ask(ends, "two")
        await ends.until(b"0\r\n\r\n")


async def test_refused_requests_count_for_nothing(guarded: Callable[..., GatewayProcess], backend: Backend) -> None:
    gateway = guarded(entry("one", max_concurrent=1))
    async with wire(gateway.port) as connection:
        for body in (b"{", b"[]", b'{"prompt_embeds":"x"}') * 3:
            await ask(connection, "one", body)
            assert (await refusal(connection))[0] == 400
        await connection.send(MODELS.format("Authorization: Bearer one").replace("models", "models/none").encode())
        assert (await refusal(connection))[0] == 404
        await ask(connection, "one")
        assert (await connection.answer())[0] == 200


async def test_a_change_of_the_file_counts_within_seconds_and_ends_nothing_that_runs(
    guarded: Callable[..., GatewayProcess], set_tokens: SetTokens, tokens_path: Path, backend: Backend
) -> None:
    release = asyncio.Event()

    async def stream(call: Call) -> None:
        await call.start()
        await call.chunk(b"data: 1\n\n")
        await release.wait()
        await call.finish()

    gateway = guarded(entry("old"))
    assert await status_of(gateway, "old") == 200
    backend.handler = stream
    async with wire(gateway.port) as runs, wire(gateway.port) as idle:
        await ask(runs, "old")
        await runs.until(b"data: 1\n\n\r\n")
        await ask(idle, "old", b"{")
        assert (await refusal(idle))[0] == 400
        set_tokens(entry("new"), entry("expired", expires="2020-01-01T00:00:00Z"))
        backend.handler = answer_ok
        await until_status(gateway, "new", 200)
        # A connection is no credential.
        await ask(idle, "old")
        assert await refusal(idle) == (401, "invalid_api_key")
        await ask(idle, "expired")
        assert await refusal(idle) == (401, "token_expired")
        release.set()
        await runs.until(b"0\r\n\r\n")
    await asyncio.to_thread(tokens_path.write_text, "{")
    async with asyncio.timeout(30):
        while "stay as they are" not in gateway.stderr:
            assert await status_of(gateway, "new") == 200
            await asyncio.sleep(0.1)
    assert await status_of(gateway, "new") == 200
    assert await status_of(gateway, "old") == 401


async def test_a_token_expires_while_the_gateway_runs(guarded: Callable[..., GatewayProcess], backend: Backend) -> None:
    end = datetime.now(UTC) + timedelta(seconds=3)
    gateway = guarded(entry("short", expires=end.strftime("%Y-%m-%dT%H:%M:%SZ")))
    if datetime.now(UTC) < end - timedelta(seconds=1):
        assert await status_of(gateway, "short") == 200
    await until_status(gateway, "short", 401)
    assert datetime.now(UTC) >= end.replace(microsecond=0)


async def until_status(gateway: GatewayProcess, token: str, status: int) -> None:
    async with asyncio.timeout(30):
        while await status_of(gateway, token) != status:  # noqa: ASYNC110 (it happens in another process)
            await asyncio.sleep(0.1)
