"""The verbs over the control socket of a real gateway."""

import asyncio
import json
import subprocess
import sys
import time
from typing import Any

import httpx
import pytest

from pmp_gateway.control_schema import HoldCounts, Phase, Reason, Refusal
from pmp_gateway.phases import SENTENCES
from tests.unit.gateway.conftest import StartGateway
from tests.unit.gateway.control import Control
from tests.unit.gateway.gateway_process import GatewayProcess
from tests.unit.gateway.stub import MODEL, Backend, Call
from tests.unit.gateway.wire import wire

PATH = "/v1/chat/completions"


@pytest.fixture
def gateway(start_gateway: StartGateway, control: Control) -> GatewayProcess:
    return start_gateway(PMP_GATEWAY_CONTROL_SOCKET=str(control.socket_path))


async def post(gateway: GatewayProcess, path: str = PATH) -> httpx.Response:
    async with httpx.AsyncClient(base_url=gateway.url, timeout=30) as client:
        return await client.post(path, json={})


async def test_a_hold_shows_its_owner_its_reason_and_its_deadline(gateway: GatewayProcess, control: Control) -> None:
    before = time.time()
    held = await control.tell("hold", hold_id="switch-1", deadline_seconds=60, reason="switch")
    status = await control.status()

    assert (held.ok, held.refusal, held.phase) == (True, None, Phase.HOLDING)
    assert status.phase is Phase.HOLDING
    assert (status.door.hold_id, status.door.reason) == ("switch-1", Reason.SWITCH)
    assert status.door.deadline == pytest.approx(before + 60, abs=5)
    assert status.door.since == pytest.approx(before, abs=5)
    opened = await control.tell("open", hold_id="switch-1", expect_models=[MODEL])
    assert (opened.phase, opened.door.reason, opened.door.hold_id, opened.door.deadline) == (
        Phase.OPEN,
        None,
        None,
        None,
    )


async def test_every_verb_may_be_repeated(gateway: GatewayProcess, control: Control) -> None:
    mine: dict[str, Any] = {"hold_id": "mine"}
    verbs: list[tuple[str, dict[str, Any], Phase]] = [
        ("hold", mine, Phase.HOLDING),
        ("drain", mine, Phase.HOLDING),
        ("opening", mine, Phase.OPENING),
        ("open", mine, Phase.OPEN),
        ("close", {}, Phase.CLOSED),
        ("drain", {}, Phase.CLOSED),
        ("open", {}, Phase.OPEN),
        ("drain", {}, Phase.CLOSED),
    ]
    for verb, body, phase in verbs:
        for _ in range(2):
            answer = await control.tell(verb, **body)
            assert (answer.ok, answer.phase) == (True, phase), (verb, answer.message)


async def test_a_closed_gateway_says_why_and_when_to_come_again(gateway: GatewayProcess, control: Control) -> None:
    await control.tell("close", reason="switch_failed")
    async with httpx.AsyncClient(base_url=gateway.url) as client:
        assert (await client.get("/health")).status_code == 200
    refused = await post(gateway)

    assert refused.status_code == 503
    assert refused.json()["error"]["code"] == "closed"
    assert refused.json()["error"]["message"] == SENTENCES[Reason.SWITCH_FAILED]
    assert int(refused.headers["retry-after"]) > 0
    await control.tell("open")
    assert (await post(gateway)).status_code == 200


async def test_a_drain_is_answered_when_the_last_request_is_done(
    gateway: GatewayProcess, backend: Backend, control: Control
) -> None:
    release = asyncio.Event()

    async def wait(call: Call) -> None:
        await release.wait()
        await call.respond(200, {})

    backend.handler = wait
    async with wire(gateway.port) as connection:
        await connection.post(PATH, b"{}")
        await backend.next_call()
        await control.tell("hold", hold_id="mine")
        drain = asyncio.create_task(control.tell("drain", hold_id="mine", deadline_seconds=30))
        await control.until(lambda status: status.phase is Phase.DRAINING)
        assert not drain.done()
        release.set()
        drained = await drain
        assert (await connection.answer())[0] == 200
    assert (drained.phase, drained.in_flight, drained.door.counts) == (Phase.HOLDING, 0, HoldCounts(finished=1))


async def test_a_drain_that_is_called_off_says_so(gateway: GatewayProcess, backend: Backend, control: Control) -> None:
    async def wait(_call: Call) -> None:
        await asyncio.Event().wait()

    backend.handler = wait
    async with wire(gateway.port) as connection:
        await connection.post(PATH, b"{}")
        await backend.next_call()
        drain = asyncio.create_task(control.send("drain", deadline_seconds=30))
        await control.until(lambda status: status.phase is Phase.DRAINING)
        await control.tell("open")
        response = await drain
    assert response.status_code == 409
    assert response.json()["refusal"] == Refusal.DRAIN_ENDED_EARLY
    assert response.json()["phase"] == Phase.OPEN


async def test_a_stale_controller_changes_nothing_unless_by_force(gateway: GatewayProcess, control: Control) -> None:
    await control.tell("hold", hold_id="mine", reason="switch")
    stale = await control.send("open", hold_id="yours")

    assert stale.status_code == 409
    assert stale.json()["refusal"] == Refusal.HELD_BY_ANOTHER
    assert "'mine'" in stale.json()["message"]
    assert (stale.json()["phase"], stale.json()["door"]["reason"]) == (Phase.HOLDING, Reason.SWITCH)
    assert (await control.tell("open", hold_id="yours", force=True)).phase is Phase.OPEN


async def test_a_verb_that_does_not_fit_is_answered_409_with_the_phase(
    gateway: GatewayProcess, control: Control
) -> None:
    refused = await control.send("opening", hold_id="mine")

    assert refused.status_code == 409
    assert (refused.json()["refusal"], refused.json()["phase"]) == (Refusal.WRONG_PHASE, Phase.OPEN)


async def test_the_gateway_opens_only_to_an_engine_that_answers_and_is_the_right_one(
    gateway: GatewayProcess, backend: Backend, control: Control
) -> None:
    await control.tell("hold", hold_id="mine")
    wrong = await control.tell("open", hold_id="mine", expect_models=["other", MODEL])
    await backend.stop()
    away = await control.tell("open", hold_id="mine")
    await backend.start(backend.port)

    assert (wrong.ok, wrong.refusal) == (False, Refusal.WRONG_MODELS)
    assert wrong.message == f"the engine serves {MODEL}, not other"
    assert (away.refusal, away.phase) == (Refusal.ENGINE_AWAY, Phase.HOLDING)
    assert (await control.tell("open", hold_id="mine")).ok


async def test_an_engine_that_loses_one_question_is_asked_again_before_the_gateway_refuses_to_open(
    gateway: GatewayProcess, backend: Backend, control: Control
) -> None:
    async def answer_the_second(call: Call) -> None:
        backend.models_handler = listed
        call.break_off()

    listed, backend.models_handler = backend.models_handler, answer_the_second
    await control.tell("hold", hold_id="mine")
    assert (await control.tell("open", hold_id="mine")).phase is Phase.OPEN


@pytest.mark.parametrize(
    ("verb", "body", "named"),
    [
        ("hold", {}, "hold_id"),
        ("hold", {"hold_id": "a b"}, "hold_id"),
        ("hold", {"hold_id": "a", "deadline_seconds": 3601}, "deadline_seconds"),
        ("hold", {"hold_id": "a", "deadline_seconds": -1}, "deadline_seconds"),
        ("hold", {"hold_id": "a", "reason": "a reason of my own"}, "reason"),
        ("drain", {"deadline_secs": 1}, "deadline_secs"),
        ("open", {"policy": {"max_m": 1}}, "max_m"),
        ("open", {"policy": [1]}, "policy"),
        ("close", {"reason": "canary"}, "reason"),
    ],
)
async def test_a_malformed_verb_changes_nothing_and_says_what_is_wrong(
    gateway: GatewayProcess, control: Control, verb: str, body: dict[str, Any], named: str
) -> None:
    response = await control.send(verb, **body)

    assert response.status_code == 422
    assert response.json()["refusal"] == Refusal.INVALID
    assert named in response.json()["message"]
    assert (await control.status()).phase is Phase.OPEN


async def test_the_control_program_knows_every_verb(gateway: GatewayProcess, control: Control) -> None:
    async def told(*arguments: str) -> dict[str, Any]:
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-m", "pmp_gateway.control", *arguments, "--socket", str(control.socket_path)],
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    assert (await told("hold", "--reason", "switch", "--deadline", "60"))["door"]["hold_id"] == "operator"
    assert (await told("drain", "--deadline", "0"))["phase"] == "holding"
    assert (await told("opening", "--deadline", "60", "--expect-models", MODEL))["phase"] == "opening"
    assert (await told("open", "--expect-models", MODEL, "--policy", '{"max_n": 2}'))["phase"] == "open"
    assert (await told("close", "--reason", "stop", "--force"))["phase"] == "closed"


async def test_a_verb_that_needs_nothing_needs_no_body(gateway: GatewayProcess, control: Control) -> None:
    transport = httpx.AsyncHTTPTransport(uds=str(control.socket_path))
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        for verb, phase in (("drain", "closed"), ("open", "open"), ("close", "closed")):
            assert (await client.post(f"/{verb}")).json()["phase"] == phase
