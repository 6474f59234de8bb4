"""How `up`, `down` and `status` deal with what the gateway is doing: real processes and a trivial engine."""

import json
import threading

import httpx
import pytest

from pmp_gateway.control_schema import Phase, Reason
from pmpctl.operations.gateway_control import close_gateway, gateway_status, hold
from tests.stack import Stack
from tests.support import eventually


def in_background(stack: Stack, answers: list[httpx.Response], words: int) -> threading.Thread:
    """One request whose answer takes that many of the engine's pauses between words."""

    def ask() -> None:
        body = {"model": "llm", "messages": [{"role": "user", "content": "word " * words}]}
        answers.append(httpx.post(f"http://127.0.0.1:{stack.api_port}/v1/chat/completions", json=body, timeout=60))

    thread = threading.Thread(target=ask)
    thread.start()
    return thread


@pytest.mark.parametrize("left", ["holding", "closed"])
def test_up_opens_a_gateway_that_an_interrupted_command_left_shut(stack: Stack, left: str) -> None:
    stack.run("up", "coding")
    if left == "holding":
        hold(stack.workspace, "switch-1", Reason.SWITCH, 600)
    else:
        close_gateway(stack.workspace, Reason.SWITCH_FAILED)

    done = stack.run("up", "coding")

    assert done.returncode == 0
    assert f"left {left}" in done.stdout + done.stderr
    assert stack.ask("Good morning")["choices"][0]["message"]["content"] == "Good morning"
    assert stack.status()["phase"] == "ready"


def test_up_tells_the_gateway_what_requests_of_the_profile_may_ask_for(stack: Stack) -> None:
    stack.write(more="requests = { max_n = 1 }")
    stack.run("up", "chat")
    body = {"model": "llm", "messages": [{"role": "user", "content": "Hello"}], "n": 2}
    url = f"http://127.0.0.1:{stack.api_port}/v1/chat/completions"
    assert httpx.post(url, json=body).status_code == 400

    stack.run("up", "coding")
    assert httpx.post(url, json=body).status_code == 200


def test_status_says_that_requests_wait_and_for_whom(stack: Stack) -> None:
    stack.run("up", "coding")
    hold(stack.workspace, "switch-1", Reason.SWITCH, 600)
    answers: list[httpx.Response] = []
    waiting = in_background(stack, answers, 1)
    eventually(lambda: stack.status()["held"] == 1)
    data = stack.status()
    shown = stack.run("status").stdout
    stack.run("up", "coding")
    waiting.join()

    assert data["phase"] == "holding"
    assert (data["door"]["hold_id"], data["door"]["reason"]) == ("switch-1", "switch")
    assert data["door"]["held_oldest_seconds"] > 0
    assert data["door"]["deadline"] > data["door"]["since"]
    assert "1 held" in shown
    assert "switch-1" in shown
    assert answers[0].status_code == 200


def test_status_says_that_requests_are_refused_and_what_opens_the_gateway(stack: Stack) -> None:
    stack.run("up", "coding")
    close_gateway(stack.workspace, Reason.SWITCH_FAILED)

    shown = stack.run("status").stdout

    assert stack.status()["phase"] == "closed"
    assert "switch_failed" in shown
    assert "pmpctl up" in shown


def test_down_lets_requests_finish_and_says_how_many(stack: Stack) -> None:
    stack.fault(STUB_GATE="gate")
    stack.run("up", "coding")
    answers: list[httpx.Response] = []
    request = in_background(stack, answers, 2)
    eventually(lambda: stack.status()["in_flight"] == 1)

    with stack.running("down", "--json") as command:
        eventually(lambda: (now := gateway_status(stack.workspace)) and now.phase is Phase.DRAINING, 60)
        stack.open_gate("gate")
        output, _ = command.communicate(timeout=60)
    request.join()

    data = json.loads(output.splitlines()[-1])["data"]
    assert (data["finished"], data["cancelled"]) == (1, 0)
    assert answers[0].status_code == 200


def test_down_ends_what_does_not_fit_the_drain_and_tells_the_client(stack: Stack) -> None:
    stack.fault(STUB_WORD_SECONDS=0.5)
    stack.run("up", "coding")
    answers: list[httpx.Response] = []
    request = in_background(stack, answers, 100)
    eventually(lambda: stack.status()["in_flight"] == 1)

    done = stack.run("down", "--drain", "0")
    request.join()

    assert done.returncode == 0
    assert "0 finished and 1 were cut short" in done.stdout
    assert answers[0].status_code == 503
    assert answers[0].json()["error"]["code"] == "cut_short"
    assert int(answers[0].headers["retry-after"]) > 0


def test_a_hold_does_not_outlive_down(stack: Stack) -> None:
    stack.run("up", "coding")
    hold(stack.workspace, "switch-1", Reason.SWITCH, 600)

    assert stack.run("down").returncode == 0
    assert list(stack.workspace.control_dir.iterdir()) == []
    assert "left" not in stack.run("up", "coding").stdout


def test_a_gateway_that_does_not_answer_does_not_keep_down_from_going_on(stack: Stack) -> None:
    stack.run("up", "coding")
    for path in stack.workspace.control_dir.iterdir():
        path.unlink()

    done = stack.run("down")

    assert done.returncode == 0
    assert "does not answer" in done.stdout + done.stderr
    assert stack.status()["phase"] == "down"
