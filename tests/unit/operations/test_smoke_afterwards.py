"""The quick checks at the end of `up` and `switch`: what they say counts, and what runs stays."""

import json
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pmpctl.smoke.quick import QUICK
from pmpctl.workspace import Workspace
from tests.stack import Stack
from tests.unit.hub.checkpoints import one_file, write_cache

_A_TOKEN = re.compile(r"pmp-[\w-]{20}")


@pytest.fixture
def stack(workspace: Workspace, stub_vllm: Path) -> Iterator[Stack]:
    for model in ("acme/coder", "acme/chat"):
        write_cache(workspace.root / "models", model, one_file())
    stack = Stack(workspace, stub_vllm, environment={"HF_HUB_OFFLINE": "1"}, smoke=True)
    stack.write()
    yield stack
    stack.run("down")


def envelope_of(done: "subprocess.CompletedProcess[str]") -> dict[str, Any]:
    envelope: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert envelope["exit_status"] == done.returncode
    return envelope


def times_checked(done: "subprocess.CompletedProcess[str]") -> int:
    events = [json.loads(line) for line in done.stdout.splitlines()]
    return sum(event.get("event") == "phase_started" and event["phase"] == "smoke" for event in events)


def verdicts(data: dict[str, Any]) -> dict[str, str]:
    return {check["name"]: check["verdict"] for check in data["smoke"]["checks"]}


def token_names(stack: Stack) -> list[str]:
    return [token["name"] for token in stack.json("token", "list")["data"]["tokens"]]


def test_up_and_switch_end_with_a_line_about_the_checks(stack: Stack) -> None:
    stack.fault(STUB_WORD_SECONDS=0.005)
    up = stack.run("up", "coding")
    switch = stack.run("switch", "chat")

    for done in (up, switch):
        assert done.returncode == 0, done.stderr
        line = next(line for line in done.stdout.splitlines() if line.startswith("  smoke "))
        assert re.search(
            rf"\d+ of {len(QUICK)} checks passed, 1 skipped in .* s \(first token \d+ ms, \d+ tokens/s\)", line
        )
        assert "see below" not in done.stdout


def test_up_checks_again_what_already_runs_as_planned(stack: Stack) -> None:
    stack.run("up", "coding")

    again = stack.json("up", "coding")["data"]

    assert again["changes"] == {"engine": "kept", "gateway": "kept"}
    assert again["smoke"]["ok"]


def test_after_up_a_failed_check_is_exit_status_7_with_its_cure_and_all_stays_up(stack: Stack) -> None:
    stack.fault(STUB_IGNORE_STOP=1)

    done = stack.run("up", "coding")

    assert done.returncode == 7
    assert "coding is up after" in done.stdout
    assert re.search(r"FAIL: stop is honoured \(stop\)\n  stop .* is not honoured: .*\n  cure: .*agents", done.stdout)
    assert "curl http://" in done.stdout
    assert f"1 of {len(QUICK)} checks failed: stop" in done.stderr
    assert stack.status()["phase"] == "ready"
    assert stack.ask("Good morning")["choices"][0]["message"]["content"] == "Good morning"


def test_after_a_switch_a_failed_check_is_exit_status_7_and_the_new_model_stays(stack: Stack) -> None:
    stack.run("up", "coding")
    stack.fault("acme/chat", STUB_IGNORE_STOP=1)

    done = stack.run("switch", "chat", "--json")

    envelope = envelope_of(done)
    assert done.returncode == 7
    assert [error["code"] for error in envelope["errors"]] == ["smoke_failed"]
    assert (envelope["data"]["profile"], envelope["data"]["change"]) == ("chat", "switched")
    assert [name for name, verdict in verdicts(envelope["data"]).items() if verdict == "fail"] == ["stop"]
    status = stack.status()
    assert (status["phase"], status["profile"], status["switch"]) == ("ready", "chat", None)


def test_a_switch_checks_once_and_one_that_has_nothing_to_do_not_at_all(stack: Stack) -> None:
    as_up = stack.run("switch", "coding", "--json")
    kept = stack.run("switch", "coding", "--json")

    assert (as_up.returncode, times_checked(as_up)) == (0, 1)
    assert envelope_of(as_up)["data"]["smoke"]["ok"]
    assert (kept.returncode, times_checked(kept)) == (0, 0)
    assert envelope_of(kept)["data"]["smoke"] is None


def test_without_smoke_the_engine_is_asked_for_no_more_than_the_token_that_proves_it(stack: Stack) -> None:
    up = stack.run("up", "coding", "--no-smoke", "--json")
    log = stack.run("logs", "engine").stdout

    assert (up.returncode, times_checked(up)) == (0, 0)
    assert envelope_of(up)["data"]["smoke"] is None
    assert len(re.findall(r'"POST ', log)) == 1


def test_a_dry_run_checks_nothing(stack: Stack) -> None:
    for command in ("up", "switch"):
        done = stack.run(command, "coding", "--dry-run", "--json")
        assert (done.returncode, times_checked(done)) == (0, 0)


def test_where_the_gateway_wants_a_token_one_is_made_shown_to_nobody_and_revoked(stack: Stack) -> None:
    stack.run("token", "add", "mine")

    done = stack.run("up", "coding", "--json")

    found = verdicts(envelope_of(done)["data"])
    assert found["auth-no-token"] == found["answer"] == "pass"
    assert token_names(stack) == ["mine"]
    assert not _A_TOKEN.search(done.stdout + done.stderr)


def test_an_interruption_of_the_checks_leaves_all_up_and_no_token_behind(stack: Stack) -> None:
    stack.run("token", "add", "mine")
    stack.fault(STUB_WORD_SECONDS=1)

    with stack.running("up", "coding", "--json") as command:
        assert command.stdout is not None
        assert next(line for line in command.stdout if '"check_made"' in line)
        command.send_signal(signal.SIGINT)
        rest, _ = command.communicate(timeout=60)

    envelope = json.loads(rest.splitlines()[-1])
    assert command.returncode == envelope["exit_status"] == 130
    assert (envelope["data"]["profile"], envelope["data"]["smoke"]) == ("coding", None)
    assert [error["code"] for error in envelope["errors"]] == ["interrupted"]
    assert "coding stays up" in envelope["errors"][0]["message"]
    assert stack.status()["phase"] == "ready"
    assert token_names(stack) == ["mine"]


def test_checks_that_cannot_be_made_are_no_proof_and_all_stays_up(stack: Stack) -> None:
    stack.run("token", "add", "mine")
    lock = stack.workspace.tokens_lock_file
    lock.unlink(missing_ok=True)
    lock.mkdir()

    done = stack.run("up", "coding", "--json")

    envelope = envelope_of(done)
    assert done.returncode == 7
    assert "the checks cannot be made" in envelope["errors"][0]["message"]
    assert envelope["data"]["smoke"] is None
    assert stack.status()["phase"] == "ready"
