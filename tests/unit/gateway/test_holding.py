"""What clients of a real gateway see while it holds, drains, waits for its engine, and comes back after a kill."""

import asyncio
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from pmp_gateway.control_schema import Phase, Reason
from pmp_gateway.phases import SENTENCES
from tests.unit.gateway.conftest import StartGateway
from tests.unit.gateway.control import Control
from tests.unit.gateway.gateway_process import GatewayProcess
from tests.unit.gateway.stub import MODEL, Backend, Call
from tests.unit.gateway.wire import wire

PATH = "/v1/chat/completions"
STREAM = b'{"stream":true}'
LEAVES_WITHIN_SECONDS = 2.0

StartHere = Callable[..., GatewayProcess]


@pytest.fixture
def control(tmp_path: Path) -> Control:
    return Control(tmp_path / "control.sock")


@pytest.fixture
def start(start_gateway: StartGateway, control: Control) -> StartHere:
    return lambda **env: start_gateway(PMP_GATEWAY_CONTROL_SOCKET=str(control.socket_path), **env)


async def hold(control: Control, **body: Any) -> None:
    answer = await control.tell("hold", hold_id="mine", reason="switch", **body)
    assert answer.ok, answer.message


async def until_held(control: Control, count: int) -> None:
    await control.until(lambda status: status.held == count)


async def ask(gateway: GatewayProcess, body: dict[str, Any] | None = None, path: str = PATH) -> httpx.Response:
    async with httpx.AsyncClient(base_url=gateway.url, timeout=30) as client:
        return await client.post(path, json=body or {})


async def test_a_held_request_is_answered_once_the_gateway_opens(
    start: StartHere, backend: Backend, control: Control
) -> None:
    gateway = start()
    await hold(control)
    held = asyncio.create_task(ask(gateway))
    await until_held(control, 1)
    async with httpx.AsyncClient(base_url=gateway.url) as client:
        assert (await client.get("/health")).status_code == 200
    assert backend.calls == []
    opened = await control.tell("open", hold_id="mine")
    response = await held

    assert response.json() == {"ok": True}
    assert (opened.door.counts.held, opened.phase) == (1, Phase.OPEN)
    line = await asyncio.to_thread(gateway.logged, response.headers["x-request-id"])
    assert line["held_ms"] > 0


async def test_held_requests_reach_the_engine_in_their_order(
    start: StartHere, backend: Backend, control: Control
) -> None:
    gateway = start()
    await hold(control)
    held = []
    for number in range(20):
        held.append(asyncio.create_task(ask(gateway, {"seed": number})))
        await until_held(control, number + 1)
    await control.tell("open", hold_id="mine")
    await asyncio.gather(*held)

    assert [call.json()["seed"] for call in backend.calls] == list(range(20))


async def test_the_list_of_models_waits_too(start: StartHere, backend: Backend, control: Control) -> None:
    gateway = start()
    await hold(control)
    async with httpx.AsyncClient(base_url=gateway.url, timeout=30) as client:
        listing = asyncio.create_task(client.get("/v1/models"))
        await until_held(control, 1)
        backend.models = ["another"]
        await control.tell("open", hold_id="mine")
        assert "another" in [entry["id"] for entry in (await listing).json()["data"]]


async def test_held_requests_go_to_the_model_that_came_meanwhile(
    start: StartHere, backend: Backend, control: Control
) -> None:
    gateway = start()
    assert (await ask(gateway, {"model": "llm"})).status_code == 200
    await hold(control)
    held = asyncio.create_task(ask(gateway, {"model": "llm"}))
    await until_held(control, 1)
    await backend.stop()
    backend.models = ["another"]
    await backend.start(backend.port)
    await control.tell("open", hold_id="mine", expect_models=["another"])
    assert (await held).status_code == 200

    assert [call.json()["model"] for call in backend.calls] == [MODEL, "another"]


@pytest.mark.parametrize(
    "env", [{"PMP_GATEWAY_HOLD_MAX_REQUESTS": "2"}, {"PMP_GATEWAY_HOLD_MAX_BYTES": "2000"}], ids=["count", "bytes"]
)
async def test_more_than_may_wait_is_refused_at_once(
    start: StartHere, backend: Backend, control: Control, env: dict[str, str]
) -> None:
    gateway = start(**env)
    await hold(control)
    body = {"prompt": "x" * 900}
    held = [asyncio.create_task(ask(gateway, body)) for _ in range(2)]
    await until_held(control, 2)
    refused = await ask(gateway, body)
    await control.tell("open", hold_id="mine")

    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "hold_full")
    assert int(refused.headers["retry-after"]) > 0
    assert [(await each).status_code for each in held] == [200, 200]


async def test_a_request_waits_only_as_long_as_one_may(start: StartHere, backend: Backend, control: Control) -> None:
    gateway = start(PMP_GATEWAY_HOLD_TIMEOUT_SECONDS="1")
    await hold(control)
    refused = await ask(gateway)

    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "hold_timed_out")
    assert int(refused.headers["retry-after"]) > 0
    assert (await control.status()).phase is Phase.HOLDING
    assert backend.calls == []


async def test_a_hold_that_nobody_ends_opens_to_the_engine_that_still_serves(
    start: StartHere, backend: Backend, control: Control
) -> None:
    gateway = start()
    await hold(control, deadline_seconds=1)

    assert (await ask(gateway)).status_code == 200
    assert (await control.status()).phase is Phase.OPEN


async def test_a_hold_that_nobody_ends_closes_when_no_engine_answers(
    start: StartHere, backend: Backend, control: Control
) -> None:
    gateway = start()
    await hold(control, deadline_seconds=1)
    held = asyncio.create_task(ask(gateway))
    await until_held(control, 1)
    await backend.stop()
    refused, later = await held, await ask(gateway)
    await backend.start(backend.port)

    for response in (refused, later):
        assert response.status_code == 503
        assert response.json()["error"]["message"] == SENTENCES[Reason.HOLD_EXPIRED]
        assert int(response.headers["retry-after"]) > 0
    assert (await control.status()).door.reason is Reason.HOLD_EXPIRED
    assert (await control.tell("open")).ok


async def test_a_client_that_leaves_the_line_frees_its_place_and_never_reaches_the_engine(
    start: StartHere, backend: Backend, control: Control
) -> None:
    gateway = start(PMP_GATEWAY_HOLD_MAX_REQUESTS="1")
    await hold(control)
    async with wire(gateway.port) as connection:
        await connection.post(PATH, b'{"seed":1}', "X-Request-Id: leaves-the-line")
        await until_held(control, 1)
        await connection.leave()
        await control.until(lambda status: status.held == 0, LEAVES_WITHIN_SECONDS)
    assert (await asyncio.to_thread(gateway.logged, "leaves-the-line"))["status"] == 499
    stays = asyncio.create_task(ask(gateway, {"seed": 2}))
    await until_held(control, 1)
    await control.tell("open", hold_id="mine")
    assert (await stays).status_code == 200

    assert [call.json()["seed"] for call in backend.calls] == [2]


async def test_a_stream_that_waits_is_kept_alive_by_comments_and_then_goes_on(
    start: StartHere, backend: Backend, control: Control
) -> None:
    async def stream(call: Call) -> None:
        await call.start()
        await call.chunk(b'data: {"n":1}\n\n')
        await call.finish()

    backend.handler = stream
    gateway = start(PMP_GATEWAY_KEEP_ALIVE_SECONDS="1")
    await hold(control)
    async with wire(gateway.port) as connection:
        await connection.post(PATH, STREAM)
        status, headers = await connection.head()
        assert (status, dict(headers)["content-type"].split(";")[0]) == (200, "text/event-stream")
        for _ in range(2):
            assert b": " in await connection.until(b"\n\n")
        await control.tell("open", hold_id="mine")
        rest = await connection.until(b"0\r\n\r\n")
    assert b'data: {"n":1}\n\n' in rest


@pytest.mark.parametrize(
    ("path", "said", "shown"),
    [
        (PATH, b'{"error":{"message":"too long","code":400}}', b'data: {"error":{"message":"too long","code":400}}'),
        (
            "/v1/responses",
            b'{"error":{"message":"too long"}}',
            b'event: error\ndata: {"type":"error","error":{"message":"too long"}}',
        ),
        (PATH, b'{"detail":[{"msg":"internal"}]}', b'"code":"backend_broken"'),
        (PATH, b"Internal Server Error", b'"code":"backend_broken"'),
    ],
)
async def test_what_the_engine_refuses_after_comments_is_an_error_event_that_clients_understand(
    start: StartHere, backend: Backend, control: Control, path: str, said: bytes, shown: bytes
) -> None:
    async def refuse(call: Call) -> None:
        head = b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(said)
        await call.raw(head + said)

    backend.handler = refuse
    gateway = start(PMP_GATEWAY_KEEP_ALIVE_SECONDS="1")
    await hold(control)
    async with wire(gateway.port) as connection:
        await connection.post(path, STREAM)
        await connection.head()
        await connection.until(b"\n\n")
        await control.tell("open", hold_id="mine")
        rest = await connection.until(b"0\r\n\r\n")
    assert shown in rest
    assert b"internal" not in rest.replace(b"internal_error", b"")


async def test_a_plain_request_that_waits_is_sent_nothing_before_its_answer(
    start: StartHere, backend: Backend, control: Control
) -> None:
    gateway = start(PMP_GATEWAY_KEEP_ALIVE_SECONDS="1", PMP_GATEWAY_HOLD_TIMEOUT_SECONDS="3")
    await hold(control)
    async with wire(gateway.port) as connection:
        await connection.post(PATH, b"{}")
        status, body = await connection.answer()
    assert status == 503
    assert json.loads(body)["error"]["code"] == "hold_timed_out"


async def test_a_stream_that_waits_in_vain_ends_with_an_error_event(
    start: StartHere, backend: Backend, control: Control
) -> None:
    gateway = start(PMP_GATEWAY_KEEP_ALIVE_SECONDS="1")
    await hold(control)
    async with wire(gateway.port) as connection:
        await connection.post(PATH, STREAM)
        await connection.head()
        await connection.until(b"\n\n")
        await control.tell("close", hold_id="mine", reason="switch_failed")
        rest = await connection.until(b"0\r\n\r\n")
    assert SENTENCES[Reason.SWITCH_FAILED].encode() in rest
    assert b'"code":"closed"' in rest


async def test_a_drain_ends_what_does_not_fit_and_says_so_while_new_requests_wait(
    start: StartHere, backend: Backend, control: Control
) -> None:
    async def wait(call: Call) -> None:
        if call.json().get("stream"):
            await call.start()
            await call.chunk(b'data: {"n":1}\n\n')
        if call.json().get("seed") is None:
            await asyncio.Event().wait()
        await call.respond(200, {"ok": True})

    backend.handler = wait
    gateway = start()
    async with wire(gateway.port) as stream, wire(gateway.port) as plain:
        await stream.post(PATH, STREAM)
        await stream.until(b'data: {"n":1}\n\n')
        await plain.post(PATH, b"{}")
        await backend.next_call(2)
        await hold(control)
        drain = asyncio.create_task(control.tell("drain", hold_id="mine", deadline_seconds=1))
        late = asyncio.create_task(ask(gateway, {"seed": 1}))
        status, body = await plain.answer()
        assert (status, json.loads(body)["error"]["code"]) == (503, "cut_short")
        assert b'"code":"cut_short"' in await stream.until(b"0\r\n\r\n")
        async with asyncio.timeout(LEAVES_WITHIN_SECONDS):
            await asyncio.gather(*(call.gone.wait() for call in backend.calls))
        drained = await drain
    assert (drained.phase, drained.in_flight, drained.held) == (Phase.HOLDING, 0, 1)
    assert (drained.door.counts.finished, drained.door.counts.cancelled) == (0, 2)
    await control.tell("open", hold_id="mine")
    assert (await late).json() == {"ok": True}


async def test_a_drain_without_a_hold_refuses_who_comes(start: StartHere, backend: Backend, control: Control) -> None:
    release = asyncio.Event()

    async def wait(call: Call) -> None:
        await release.wait()
        await call.respond(200, {"ok": True})

    backend.handler = wait
    gateway = start()
    last = asyncio.create_task(ask(gateway))
    await backend.next_call()
    drain = asyncio.create_task(control.tell("drain", deadline_seconds=30))
    await control.until(lambda status: status.phase is Phase.DRAINING)
    refused = await ask(gateway)
    release.set()

    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "closed")
    assert (await last).json() == {"ok": True}
    assert (await drain).phase is Phase.CLOSED


async def test_a_gateway_that_stops_sends_away_who_waits(start: StartHere, backend: Backend, control: Control) -> None:
    gateway = start()
    await hold(control)
    held = asyncio.create_task(ask(gateway))
    await until_held(control, 1)
    gateway.terminate()
    refused = await held

    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "gateway_stopping")
    assert await asyncio.to_thread(gateway.wait) == 0


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_a_gateway_that_ended_in_a_hold_comes_back_in_it(
    start: StartHere, backend: Backend, control: Control, number: signal.Signals
) -> None:
    first = start()
    assert (await control.tell("open", policy={"max_n": 1}, expect_models=[MODEL])).ok
    await hold(control, deadline_seconds=600)
    before = (await control.status()).door
    first.process.send_signal(number)
    await asyncio.to_thread(first.wait)
    second = start()
    status = await control.status()

    assert status.phase is Phase.HOLDING
    assert (status.door.hold_id, status.door.reason) == ("mine", Reason.SWITCH)
    assert (status.door.deadline, status.door.since) == (before.deadline, before.since)
    held = asyncio.create_task(ask(second))
    await until_held(control, 1)
    await control.tell("open", hold_id="mine")
    assert (await held).status_code == 200
    assert (await ask(second, {"n": 2})).status_code == 400


async def test_a_deadline_that_passed_while_no_gateway_ran_ends_the_hold(
    start: StartHere, backend: Backend, control: Control
) -> None:
    first = start()
    await hold(control, deadline_seconds=1)
    first.kill()
    second = start()

    assert (await ask(second)).status_code == 200


async def test_a_closed_gateway_stays_closed_when_it_is_killed(
    start: StartHere, backend: Backend, control: Control
) -> None:
    first = start()
    await control.tell("close", reason="stop")
    first.kill()
    refused = await ask(start())

    assert refused.json()["error"]["message"] == SENTENCES[Reason.STOP]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"schema": 1, "phase": "ajar"}', '{"schema": 2}'])
async def test_a_damaged_memory_is_set_aside_and_the_gateway_starts_closed(
    start: StartHere, control: Control, tmp_path: Path, content: str
) -> None:
    path = tmp_path / "state.json"
    path.write_text(content)
    gateway = start(PMP_GATEWAY_STATE_FILE=str(path))
    status = await control.status()

    assert (status.phase, status.door.reason) == (Phase.CLOSED, Reason.STATE_UNREADABLE)
    assert "damaged" in gateway.stderr
    assert "Traceback" not in gateway.stderr
    assert (tmp_path / "state.json.damaged").read_text() == content
    assert (await control.tell("open")).ok
    gateway.kill()
    start(PMP_GATEWAY_STATE_FILE=str(path))
    assert (await control.status()).phase is Phase.OPEN


async def test_a_memory_that_cannot_be_written_does_not_keep_the_gateway_from_holding(
    start: StartHere, control: Control, tmp_path: Path
) -> None:
    gateway = start(PMP_GATEWAY_STATE_FILE=str(tmp_path / "missing" / "state.json"))
    await hold(control)

    assert (await control.status()).phase is Phase.HOLDING
    assert "cannot be kept" in gateway.stderr


async def test_without_a_control_socket_nothing_is_remembered(start_gateway: StartGateway, tmp_path: Path) -> None:
    gateway = start_gateway()
    assert (await ask(gateway)).status_code == 200
    gateway.kill()
    assert {path.name for path in await asyncio.to_thread(os.scandir, tmp_path / "gateway-0")} == {"stdout", "stderr"}


async def test_requests_wait_for_an_engine_that_comes_back_soon(
    start: StartHere, backend: Backend, control: Control
) -> None:
    gateway = start()
    assert (await ask(gateway, {"seed": 0})).status_code == 200
    await backend.stop()
    waiting = []
    for seed in (1, 2, 3):
        waiting.append(asyncio.create_task(ask(gateway, {"seed": seed})))
        await until_held(control, seed)
    status = await control.status()
    assert status.phase is Phase.OPEN
    assert status.door.engine_away_since is not None
    await backend.start(backend.port)

    assert [(await each).status_code for each in waiting] == [200, 200, 200]
    assert [call.json()["seed"] for call in backend.calls] == [0, 1, 2, 3]
    assert (await control.status()).door.engine_away_since is None


async def test_an_engine_that_stays_away_is_waited_for_only_so_long(
    start: StartHere, backend: Backend, control: Control
) -> None:
    gateway = start(PMP_GATEWAY_ENGINE_WAIT_SECONDS="1")
    await backend.stop()
    refused = await asyncio.gather(*(ask(gateway) for _ in range(3)))
    late = await ask(gateway)
    await backend.start(backend.port)

    for response in (*refused, late):
        assert (response.status_code, response.json()["error"]["code"]) == (503, "backend_away")
        assert int(response.headers["retry-after"]) > 0
    lines = [await asyncio.to_thread(gateway.logged, each.headers["x-request-id"]) for each in (refused[0], late)]
    assert lines[0]["held_ms"] > lines[1]["held_ms"] == 0
    assert (await ask(gateway)).status_code == 200
    await control.until(lambda status: status.door.engine_away_since is None)


async def test_a_stream_whose_engine_is_away_gets_a_status_that_clients_ask_again_after(
    start: StartHere, backend: Backend, control: Control
) -> None:
    gateway = start(PMP_GATEWAY_ENGINE_WAIT_SECONDS="3", PMP_GATEWAY_KEEP_ALIVE_SECONDS="1")
    await backend.stop()
    async with wire(gateway.port) as connection:
        await connection.post(PATH, STREAM)
        status, body = await connection.answer()
    await backend.start(backend.port)
    assert (status, json.loads(body)["error"]["code"]) == (503, "backend_away")


async def test_a_request_that_waited_is_held_against_the_policy_that_is_in_force_when_it_goes(
    start: StartHere, backend: Backend, control: Control
) -> None:
    gateway = start()
    await hold(control)
    too_many, modest = asyncio.create_task(ask(gateway, {"n": 3})), asyncio.create_task(ask(gateway, {"n": 1}))
    await until_held(control, 2)
    assert (await control.tell("open", hold_id="mine", policy={"max_n": 2})).ok
    refused = await too_many
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "value_too_large")
    assert (await modest).status_code == 200
    assert backend.call.json()["n"] == 1
