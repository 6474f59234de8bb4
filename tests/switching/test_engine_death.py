"""An engine that dies outside any switch: it comes back by itself, or is named as what it is."""

import signal
import time

import httpx
import pytest

from tests.support import eventually
from tests.switching.conftest import BOTH_RUNTIMES, MakeStack
from tests.switching.engines import end_engine

pytestmark = [BOTH_RUNTIMES, pytest.mark.slow]

WAIT_SECONDS = 2


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "exit-status-0"])
def test_a_request_to_an_engine_that_died_is_answered_by_the_one_that_comes_back(
    make_stack: MakeStack, signum: signal.Signals
) -> None:
    stack = make_stack()
    up = stack.run("up", "coding")
    assert up.returncode == 0, up.stderr
    before = stack.ask()["system_fingerprint"]

    end_engine(stack, signum)
    after = stack.ask("still there")

    assert after["choices"][0]["message"]["content"] == "still there"
    assert after["system_fingerprint"] != before
    status = stack.status()
    engine = next(unit for unit in status["units"] if unit["role"] == "engine")
    assert (status["phase"], engine["phase"], engine["restarts"]) == ("ready", "running", 1)


def test_a_request_to_an_engine_that_stays_away_is_told_when_to_come_again(make_stack: MakeStack) -> None:
    stack = make_stack(gateway=f"engine_wait_seconds = {WAIT_SECONDS}")
    assert stack.run("up", "coding").returncode == 0
    stack.fault(STUB_NEVER_READY=1)

    end_engine(stack)
    began = time.monotonic()
    with pytest.raises(httpx.HTTPStatusError) as refused:
        stack.ask()
    seconds = time.monotonic() - began

    assert refused.value.response.status_code == 503
    assert int(refused.value.response.headers["retry-after"]) > 0
    assert WAIT_SECONDS <= seconds < WAIT_SECONDS + 20
    assert stack.status()["phase"] == "restarting"
    human = stack.run("status").stdout
    assert "the engine ended and is started again" in human
    assert "engine away for" in human


def test_a_crash_loop_is_ended_and_named_and_up_starts_again_once_it_is_mended(make_stack: MakeStack) -> None:
    stack = make_stack(gateway=f"engine_wait_seconds = {WAIT_SECONDS}")
    assert stack.run("up", "coding").returncode == 0
    stack.fault(STUB_EXIT_CODE=0)

    end_engine(stack)
    status = eventually(lambda: (now := stack.status())["phase"] == "crash-loop" and now, 60)

    engine = next(unit for unit in status["units"] if unit["role"] == "engine")
    assert (engine["phase"], engine["restarts"]) == ("dead", 4)
    assert "crash loop: it ended 5 times in a row" in engine["error"]
    assert any("No available memory for the cache blocks" in line for line in engine["first_errors"])
    human = stack.run("status").stdout
    assert "coding: crash-loop" in human
    assert "engine: crash loop: it ended 5 times in a row" in human
    with pytest.raises(httpx.HTTPStatusError, match="503"):
        stack.ask()

    stack.fault()
    assert stack.json("up", "coding")["data"]["changes"] == {"engine": "replaced", "gateway": "kept"}
    assert stack.ask("back again")["choices"][0]["message"]["content"] == "back again"
