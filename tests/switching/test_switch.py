"""What a user sees of a switch: real processes and real containers, the real gateway, and trivial engines."""

import json
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from subprocess import CompletedProcess
from typing import Any, TypeVar

import httpx
import pytest

from pmp_gateway.control_schema import GatewayStatus, Phase
from pmpctl.operations.gateway_control import gateway_status
from tests.stack import Stack
from tests.support import eventually
from tests.switching.conftest import BOTH_RUNTIMES, MODELS, MakeStack

T = TypeVar("T")

STEPS = ["hold", "drain", "stop", "remove", "prove", "start", "wait", "verify", "open"]
COUNTS = ("held", "released", "finished", "cancelled", "refused")
HOLDING = (Phase.HOLDING, Phase.DRAINING, Phase.OPENING)
LONG = "one two three four five six seven eight nine ten " * 6


@pytest.fixture
def coding(make_stack: MakeStack) -> Stack:
    """`coding` is up."""
    stack = make_stack()
    up = stack.run("up", "coding")
    assert up.returncode == 0, up.stderr
    return stack


def gateway(stack: Stack) -> GatewayStatus:
    status = gateway_status(stack.workspace)
    assert status is not None
    return status


def engine(stack: Stack) -> str:
    """Which engine answers: what it was told to load, and when it started."""
    fingerprint: str = stack.ask()["system_fingerprint"]
    return fingerprint


def is_over(stack: Stack, profile: str) -> bool:
    """The profile serves, and nothing is left to mend."""
    status = stack.status()
    assert (status["phase"], status["profile"], status["gateway_phase"]) == ("ready", profile, "open")
    assert engine(stack).startswith(f"{MODELS[profile]}@")
    return not stack.workspace.journal_file.exists()


def stream(stack: Stack, content: str) -> list[str]:
    """All lines of a streamed answer."""
    body = {"model": "llm", "messages": [{"role": "user", "content": content}], "stream": True}
    url = f"http://127.0.0.1:{stack.api_port}/v1/chat/completions"
    with httpx.stream("POST", url, json=body, timeout=90) as response:
        return [line for line in response.iter_lines() if line]


def events_of(lines: list[str]) -> list[dict[str, Any]]:
    return [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: {")]


@contextmanager
def beside(call: Callable[..., T], *arguments: Any) -> Iterator[Future[T]]:
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(call, *arguments)


def codes(done: "CompletedProcess[str]") -> list[str]:
    return [error["code"] for error in json.loads(done.stdout.splitlines()[-1])["errors"]]


@BOTH_RUNTIMES
def test_the_other_model_stands_behind_the_same_address_and_the_result_tells_what_it_took(coding: Stack) -> None:
    data = coding.json("switch", "chat")["data"]

    assert (data["profile"], data["previous"], data["change"]) == ("chat", "coding", "switched")
    assert list(data["phases"]) == ["checks", "page-cache", *STEPS]
    assert 0 < data["gap_seconds"] <= data["seconds"]
    assert {name: data[name] for name in COUNTS} == dict.fromkeys(COUNTS, 0)
    assert is_over(coding, "chat")


def test_people_see_each_step_with_its_time_and_the_gap_at_the_end(coding: Stack) -> None:
    done = coding.run("swap", "chat")

    assert done.returncode == 0
    for title in ("Letting new requests wait", "Letting requests finish", "Stopping the engine of coding"):
        assert f"{title}: done in" in done.stderr
    assert "chat serves after" in done.stdout
    assert "gap" in done.stdout


@BOTH_RUNTIMES
def test_requests_that_come_in_the_gap_are_answered_by_the_new_model(coding: Stack) -> None:
    coding.fault("acme/chat", STUB_START_SECONDS=3)
    with coding.running("switch", "chat", "--json") as command:
        eventually(lambda: gateway(coding).phase in HOLDING, 30)
        with (
            beside(coding.ask, "a plain question") as plain,
            beside(stream, coding, "a streamed question") as streamed,
        ):
            eventually(lambda: gateway(coding).held == 2)
            answer, lines = plain.result(60), streamed.result(60)
        output, _ = command.communicate(timeout=60)

    assert answer["system_fingerprint"].startswith("acme/chat@")
    assert answer["choices"][0]["message"]["content"] == "a plain question"
    events = events_of(lines)
    assert {event["system_fingerprint"] for event in events} == {answer["system_fingerprint"]}
    assert "".join(event["choices"][0]["delta"].get("content", "") for event in events) == "a streamed question"
    assert lines[-1] == "data: [DONE]"
    data = json.loads(output.splitlines()[-1])["data"]
    assert (data["held"], data["released"], data["refused"]) == (2, 2, 0)
    assert data["gap_seconds"] >= 3


def test_held_requests_for_the_old_model_by_name_get_a_404_where_names_are_strict(make_stack: MakeStack) -> None:
    stack = make_stack(gateway='unknown_model = "reject"')
    assert stack.run("up", "coding").returncode == 0
    stack.fault("acme/chat", STUB_START_SECONDS=3)
    with stack.running("switch", "chat") as command:
        eventually(lambda: gateway(stack).phase in HOLDING, 30)
        with beside(stack.ask, "still you?", "coding") as old, beside(stack.ask, "whoever") as anybody:
            eventually(lambda: gateway(stack).held == 2)
            with pytest.raises(httpx.HTTPStatusError) as refused:
                old.result(60)
            assert anybody.result(60)["system_fingerprint"].startswith("acme/chat@")
        assert command.wait(60) == 0

    assert refused.value.response.status_code == 404
    assert "'coding' does not exist" in refused.value.response.json()["error"]["message"]


@BOTH_RUNTIMES
def test_what_is_under_way_finishes_in_time_or_is_cut_off_with_an_error_event(make_stack: MakeStack) -> None:
    stack = make_stack()
    stack.fault("acme/coder", STUB_WORD_SECONDS=0.2, STUB_GATE="gate")
    assert stack.run("up", "coding").returncode == 0
    with beside(stream, stack, LONG) as long, beside(stream, stack, "only a few words") as short:
        eventually(lambda: gateway(stack).in_flight == 2)
        with stack.running("switch", "chat", "--drain", "8", "--json") as command:
            eventually(lambda: gateway(stack).phase is Phase.DRAINING, 60)
            stack.open_gate("gate")
            output, _ = command.communicate(timeout=90)

    data = json.loads(output.splitlines()[-1])["data"]
    assert (data["finished"], data["cancelled"]) == (1, 1)
    assert short.result()[-1] == "data: [DONE]"
    events = events_of(long.result())
    assert len(events) > 1
    assert "send the request again" in events[-1]["error"]["message"]


@BOTH_RUNTIMES
def test_an_engine_that_ends_at_once_is_diagnosed_and_the_old_model_serves_again(coding: Stack) -> None:
    coding.fault("acme/chat", STUB_EXIT_CODE=3)

    done = coding.run("switch", "chat", "--json")

    assert done.returncode == 5
    assert codes(done) == ["switch_failed", "engine_start_failed"]
    assert "ValueError: No available memory for the cache blocks." in done.stdout
    assert "ValueError" in (coding.workspace.logs_dir / "failed-engine.log").read_text()
    assert is_over(coding, "coding")


@BOTH_RUNTIMES
def test_requests_that_wait_for_a_model_that_does_not_come_go_to_the_old_one(make_stack: MakeStack) -> None:
    stack = make_stack(more="start_timeout = 2")
    assert stack.run("up", "coding").returncode == 0
    stack.fault("acme/chat", STUB_NEVER_READY=1)
    with stack.running("switch", "chat") as command:
        eventually(lambda: gateway(stack).phase in HOLDING, 30)
        with beside(stack.ask, "anybody there?") as held:
            answer = held.result(60)
        _, errors = command.communicate(timeout=60)

    assert command.returncode == 5
    assert "no progress for 2 s" in errors
    assert answer["system_fingerprint"].startswith("acme/coder@")
    assert is_over(stack, "coding")


@BOTH_RUNTIMES
def test_another_model_than_planned_is_never_let_serve(coding: Stack) -> None:
    coding.fault("acme/chat", STUB_WRONG_MODEL="acme/other")

    done = coding.run("switch", "chat", "--json")

    assert done.returncode == 5
    assert codes(done) == ["switch_failed", "wrong_model_served"]
    assert is_over(coding, "coding")


@BOTH_RUNTIMES
def test_a_port_that_is_stolen_in_the_gap_is_no_way_to_lose_the_old_model(coding: Stack) -> None:
    coding.fault("acme/chat", STUB_START_SECONDS=3)
    is_over_yet = threading.Event()

    def steal() -> None:
        with taken(coding.engine_port):
            eventually(lambda: "rollback" in coding.workspace.journal_file.read_text() or is_over_yet.is_set(), 60)

    with beside(steal) as thief:
        done = coding.run("switch", "chat")
        is_over_yet.set()
        thief.result(60)

    assert done.returncode == 5, done.stderr
    assert is_over(coding, "coding")


@contextmanager
def taken(port: int) -> Iterator[None]:
    """As soon as nobody else has it."""
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)

        def bound() -> bool:
            try:
                server.bind(("127.0.0.1", port))
            except OSError:
                return False
            return True

        eventually(bound, 60)
        server.listen()
        yield


def test_the_old_model_comes_back_as_it_ran_and_not_as_the_file_says_by_then(coding: Stack) -> None:
    profiles = coding.workspace.root / "profiles.toml"
    profiles.write_text(profiles.read_text().replace("max_model_len = 4096", "max_model_len = 2048"))
    coding.fault("acme/chat", STUB_EXIT_CODE=3)

    assert coding.run("switch", "chat").returncode == 5

    assert coding.status()["max_model_len"] == 4096


@BOTH_RUNTIMES
@pytest.mark.parametrize("next_command", ["up", "switch"])
def test_if_neither_model_comes_up_clients_are_told_why_and_the_next_command_works(
    coding: Stack, next_command: str
) -> None:
    coding.fault(STUB_EXIT_CODE=3)

    done = coding.run("switch", "chat", "--json")

    assert done.returncode == 6
    assert codes(done) == ["switch_not_undone", "engine_start_failed", "engine_start_failed"]
    refused = httpx.post(f"http://127.0.0.1:{coding.api_port}/v1/completions", json={"model": "llm", "prompt": "Hi"})
    assert refused.status_code == 503
    assert "could not be changed" in refused.json()["error"]["message"]
    status = coding.run("status")
    assert status.returncode == 0
    assert "the switch from coding to chat failed" in status.stdout

    coding.fault()
    assert coding.run(next_command, "chat").returncode == 0
    assert is_over(coding, "chat")


def test_without_rollback_the_gateway_refuses_and_the_failure_is_told_as_it_is(coding: Stack) -> None:
    coding.fault("acme/chat", STUB_EXIT_CODE=3)

    done = coding.run("switch", "chat", "--no-rollback", "--json")

    assert done.returncode == 4
    assert codes(done) == ["engine_start_failed"]
    assert gateway(coding).phase is Phase.CLOSED
    logs = coding.run("logs", "engine")
    assert "ValueError" in logs.stdout + logs.stderr
    assert coding.run("up", "coding").returncode == 0
    assert is_over(coding, "coding")


def test_what_can_fail_early_fails_while_the_old_model_serves(make_stack: MakeStack) -> None:
    stack = make_stack(more='[profiles.absent]\nmodel = "acme/absent"\ndevice = "cpu"')
    assert stack.run("up", "coding").returncode == 0
    before = engine(stack)

    done = stack.run("switch", "absent")

    assert done.returncode == 10
    assert "acme/absent" in done.stderr
    assert engine(stack) == before
    assert is_over(stack, "coding")


@pytest.mark.docker
@pytest.mark.parametrize("make_stack", ["docker"], indirect=True)
def test_a_missing_image_is_named_while_the_old_model_serves(make_stack: MakeStack, registry: str) -> None:
    stack = make_stack(more=f'image = "{registry}/nobody/vllm:v0.32.0"')
    assert stack.run("up", "coding").returncode == 0
    before = engine(stack)

    done = stack.run("switch", "chat")

    assert done.returncode == 10
    assert f"{registry}/nobody/vllm:v0.32.0" in done.stderr
    assert engine(stack) == before
    assert is_over(stack, "coding")


def test_a_dry_run_prints_the_steps_and_touches_nothing(coding: Stack) -> None:
    before = engine(coding)

    human = coding.run("switch", "chat", "--dry-run")
    data = coding.json("switch", "chat", "--dry-run")["data"]

    assert human.returncode == 0
    for step in STEPS:
        assert step in human.stdout
    assert (data["dry_run"], data["planned"]["plan"]["profile"]) == (True, "chat")
    assert engine(coding) == before
    assert is_over(coding, "coding")


def test_a_switch_to_what_runs_does_nothing_unless_it_is_to_restart(coding: Stack) -> None:
    before = engine(coding)

    assert coding.json("switch", "coding")["data"]["change"] == "kept"
    assert engine(coding) == before

    restarted = coding.json("switch", "coding", "--restart")["data"]
    assert (restarted["change"], restarted["previous"]) == ("switched", "coding")
    assert engine(coding) != before
    assert is_over(coding, "coding")


def test_a_dash_goes_back_and_forth(coding: Stack) -> None:
    nowhere = coding.run("switch", "-")
    assert nowhere.returncode == 2
    assert "served here before" in nowhere.stderr

    assert coding.run("switch", "chat").returncode == 0
    assert coding.json("switch", "-")["data"]["profile"] == "coding"
    assert coding.json("switch", "-")["data"]["profile"] == "chat"


def test_where_nothing_runs_a_switch_starts_it_all(make_stack: MakeStack) -> None:
    stack = make_stack()

    done = stack.run("switch", "chat")

    assert done.returncode == 0, done.stderr
    assert "no gateway runs" in done.stderr
    assert is_over(stack, "chat")


def test_a_second_switch_names_the_first_or_waits_for_it(coding: Stack) -> None:
    coding.fault("acme/chat", STUB_START_SECONDS=3)
    with coding.running("switch", "chat") as first:
        eventually(lambda: gateway(coding).phase in HOLDING, 30)
        second = coding.run("switch", "coding")
        third = coding.run("switch", "coding", "--wait")

    assert second.returncode == 9
    assert f"`pmpctl switch chat`, process {first.pid}" in second.stderr
    assert third.returncode == 0, third.stderr
    assert "Waiting for another pmpctl" in third.stderr
    assert is_over(coding, "coding")


def test_the_lock_of_a_command_that_was_killed_holds_nobody_up(coding: Stack) -> None:
    coding.fault("acme/chat", STUB_START_SECONDS=30)
    with coding.running("switch", "chat") as first:
        eventually(lambda: gateway(coding).phase is Phase.OPENING, 30)
        first.kill()
        first.wait(30)

    coding.fault()
    done = coding.run("switch", "coding")

    assert done.returncode == 0, done.stderr
    assert "the switch from coding to chat was interrupted" in done.stderr
    assert is_over(coding, "coding")


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_before_the_old_engine_was_stopped_leaves_it_serving(
    make_stack: MakeStack, signum: signal.Signals
) -> None:
    stack = make_stack()
    stack.fault("acme/coder", STUB_WORD_SECONDS=0.3)
    assert stack.run("up", "coding").returncode == 0
    with beside(stream, stack, LONG) as long:
        eventually(lambda: gateway(stack).in_flight == 1)
        with stack.running("switch", "chat") as command:
            eventually(lambda: gateway(stack).phase is Phase.DRAINING, 30)
            command.send_signal(signum)
            _, errors = command.communicate(timeout=30)

    assert command.returncode == 130
    assert "coding serves again" in errors
    assert long.result()[-1] == "data: [DONE]"
    assert engine(stack) == events_of(long.result())[0]["system_fingerprint"]
    assert is_over(stack, "coding")


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_after_that_takes_the_way_back(coding: Stack, signum: signal.Signals) -> None:
    coding.fault("acme/chat", STUB_START_SECONDS=30)
    with coding.running("switch", "chat") as command:
        eventually(lambda: gateway(coding).phase is Phase.OPENING, 30)
        with beside(coding.ask, "who is there?") as held:
            eventually(lambda: gateway(coding).held == 1)
            command.send_signal(signum)
            _, errors = command.communicate(timeout=60)
            assert held.result(60)["system_fingerprint"].startswith("acme/coder@")

    assert command.returncode == 130
    assert "coding serves again" in errors
    assert is_over(coding, "coding")


def test_a_second_interruption_leaves_the_rest_to_the_next_command(coding: Stack) -> None:
    coding.fault(STUB_START_SECONDS=30)
    with coding.running("switch", "chat") as command:
        eventually(lambda: gateway(coding).phase is Phase.OPENING, 30)
        os.kill(command.pid, signal.SIGINT)
        eventually(lambda: "rollback-wait" in coding.workspace.journal_file.read_text(), 60)
        os.kill(command.pid, signal.SIGINT)
        assert command.wait(30) == 130
    assert coding.workspace.journal_file.exists()

    coding.fault()
    done = coding.run("up", "coding", "--restart")

    assert done.returncode == 0, done.stderr
    assert is_over(coding, "coding")


def test_when_nobody_reads_what_it_says_a_switch_still_leaves_a_model_that_serves(coding: Stack) -> None:
    with coding.running("switch", "chat", "--json") as command:
        assert command.stdout is not None
        assert any('"phase": "start"' in line for line in command.stdout)
        command.stdout.close()
        command.stdout = None
        assert command.wait(60) != 0

    assert is_over(coding, "coding")
