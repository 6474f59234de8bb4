"""The daily commands without Docker: real processes, the real gateway, and a trivial engine with vLLM's arguments."""

import json
import signal
import socket
from pathlib import Path

import httpx
import psutil
import pytest

from pmpctl.workspace import Workspace
from tests.stack import Stack
from tests.support import eventually

CANARY = "hf_canary0123456789abcdefghij"


def processes_of(stack: Stack) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("PMPCTL_UNIT", "").startswith(f"{stack.workspace.id}/"):
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
    return found


def test_up_ends_with_an_address_that_answers_and_a_line_to_paste(stack: Stack) -> None:
    done = stack.run("up", "coding")

    assert done.returncode == 0, done.stderr
    assert f"http://127.0.0.1:{stack.api_port}/v1" in done.stdout
    assert "llm, coding, acme/coder" in done.stdout
    assert "curl http://" in done.stdout
    assert stack.ask("Good morning")["choices"][0]["message"]["content"] == "Good morning"


def test_up_again_changes_nothing(stack: Stack) -> None:
    stack.run("up", "coding")
    before = sorted(process.pid for process in processes_of(stack))

    again = stack.json("up", "coding")

    assert again["data"]["changes"] == {"engine": "kept", "gateway": "kept"}
    assert sorted(process.pid for process in processes_of(stack)) == before


def test_a_changed_profile_replaces_the_engine_and_keeps_the_gateway(stack: Stack) -> None:
    stack.run("up", "coding")

    changed = stack.json("up", "chat")

    assert changed["data"]["changes"] == {"engine": "replaced", "gateway": "kept"}
    assert stack.status()["profile"] == "chat"


def test_an_edited_chat_template_replaces_the_engine_and_a_touched_one_does_not(stack: Stack) -> None:
    stack.write(more='chat_template = "./my.jinja"')
    template = stack.workspace.root / "my.jinja"
    template.write_text("{{ messages }}")
    stack.run("up", "chat")
    template.touch()
    assert stack.json("up", "chat")["data"]["changes"]["engine"] == "kept"

    template.write_text("{{ messages[0] }}")

    assert stack.json("up", "chat")["data"]["changes"]["engine"] == "replaced"


def test_status_tells_what_runs_and_down_leaves_nothing(stack: Stack) -> None:
    stack.run("up", "coding")
    data = stack.status()

    assert (data["phase"], data["profile"], data["max_model_len"]) == ("ready", "coding", 4096)
    assert {unit["role"]: unit["phase"] for unit in data["units"]} == {"engine": "running", "gateway": "running"}
    assert data["in_flight"] == 0

    assert stack.run("down").returncode == 0
    assert processes_of(stack) == []
    assert stack.status()["phase"] == "down"
    assert stack.run("down").returncode == 0


def test_a_port_held_by_another_program_is_named_before_anything_starts(stack: Stack) -> None:
    with socket.create_server(("127.0.0.1", stack.api_port)):
        done = stack.run("up", "coding")

    assert done.returncode == 8
    assert str(stack.api_port) in done.stderr
    assert str(psutil.Process().pid) in done.stderr
    assert processes_of(stack) == []


def test_a_failed_start_shows_the_engines_first_error_and_keeps_its_log(stack: Stack) -> None:
    stack.fault(STUB_EXIT_CODE=3)

    done = stack.run("up", "coding")

    assert done.returncode == 4
    assert "error: the engine of 'coding' ended before it answered" in done.stderr
    assert "ValueError" in done.stderr
    assert "Traceback" not in done.stderr
    assert "ValueError" in (log := stack.run("logs", "engine")).stdout + log.stderr
    assert stack.status()["phase"] == "failed"

    stack.fault()
    assert stack.run("up", "coding").returncode == 0


def test_an_engine_with_another_model_is_not_put_behind_the_gateway(stack: Stack) -> None:
    stack.fault(STUB_WRONG_MODEL="acme/other")

    done = stack.run("up", "coding")

    assert done.returncode == 4
    assert "acme/other" in done.stderr


def test_an_engine_that_shows_no_progress_is_a_failure_and_says_where_it_hung(stack: Stack) -> None:
    stack.write(start_timeout=1)
    stack.fault(STUB_NEVER_READY=1)

    done = stack.run("up", "coding")

    assert done.returncode == 11
    assert "no progress for 1 s" in done.stderr


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_start_is_explained_and_finished_by_the_next_up(stack: Stack, signum: signal.Signals) -> None:
    stack.fault(STUB_START_SECONDS=3)
    with stack.running("up", "coding") as command:
        eventually(lambda: any(unit["role"] == "engine" for unit in stack.status()["units"]), 30)
        engine = next(process.pid for process in processes_of(stack))
        command.send_signal(signum)
        command.wait(30)
        assert command.returncode == (-9 if signum == signal.SIGKILL else 130)
    assert stack.status()["phase"] in ("starting", "no-gateway")

    finished = stack.json("up", "coding")

    assert finished["data"]["changes"] == {"engine": "kept", "gateway": "started"}
    assert engine in [process.pid for process in processes_of(stack)]


def test_a_second_command_is_told_who_holds_the_workspace(stack: Stack) -> None:
    stack.fault(STUB_NEVER_READY=1)
    with stack.running("up", "coding") as first:
        eventually(lambda: any(unit["role"] == "engine" for unit in stack.status()["units"]), 30)
        second = stack.run("down")

        assert second.returncode == 9
        assert f"process {first.pid}" in second.stderr
        assert "`pmpctl up coding`" in second.stderr


def test_two_workspaces_live_side_by_side(stack: Stack, stub_vllm: Path, tmp_path: Path) -> None:
    other_root = tmp_path / "other"
    other_root.mkdir()
    other = Stack(Workspace(other_root), stub_vllm)
    other.write()
    try:
        assert stack.run("up", "coding").returncode == 0
        assert other.run("up", "chat").returncode == 0
        assert stack.run("down").returncode == 0

        assert other.status()["phase"] == "ready"
        assert other.ask("still here")["choices"][0]["message"]["content"] == "still here"
    finally:
        other.run("down")


def test_a_token_file_that_cannot_be_used_is_refused_before_anything_starts(stack: Stack) -> None:
    folder = stack.workspace.root / "config"
    folder.mkdir()
    (folder / "auth.json").write_text("{not json")

    done = stack.run("up", "coding")

    assert done.returncode == 2
    assert "auth.json" in done.stderr
    assert processes_of(stack) == []


def test_tokens_guard_the_api_and_health_stays_open(stack: Stack) -> None:
    folder = stack.workspace.root / "config"
    folder.mkdir()
    (folder / "auth.json").write_text('{"tokens": ["s3cret-token"]}')

    up = stack.run("up", "coding")

    assert "tokens    required" in up.stdout
    assert "s3cret-token" not in up.stdout + up.stderr
    assert httpx.get(f"http://127.0.0.1:{stack.api_port}/health").status_code == 200
    with pytest.raises(httpx.HTTPStatusError, match="401"):
        stack.ask()
    assert stack.ask(headers={"Authorization": "Bearer s3cret-token"})


def test_a_wide_listener_without_tokens_is_refused(stack: Stack) -> None:
    stack.write(gateway="allow_open = false")
    text = (stack.workspace.root / "profiles.toml").read_text()
    (stack.workspace.root / "profiles.toml").write_text(text.replace('"127.0.0.1:', '"0.0.0.0:'))

    done = stack.run("up", "coding")

    assert done.returncode == 2
    assert "allow_open" in done.stderr
    assert "config/auth.json" in done.stderr


def test_the_hub_token_reaches_the_engine_as_a_file_and_shows_nowhere(stack: Stack) -> None:
    up = stack.run("up", "coding", HF_TOKEN=CANARY)
    dry = stack.run("up", "coding", "--dry-run", HF_TOKEN=CANARY)
    status = stack.run("status", "--json", HF_TOKEN=CANARY)

    assert up.returncode == 0
    for process in processes_of(stack):
        assert CANARY not in " ".join([*process.cmdline(), *process.environ().values()])
    assert CANARY not in up.stdout + up.stderr + dry.stdout + dry.stderr + status.stdout
    holding = [
        path for path in stack.workspace.root.rglob("*") if path.is_file() and CANARY in path.read_text("latin1")
    ]
    assert [path.relative_to(stack.workspace.root).as_posix() for path in holding] == [".pmpctl/secrets/hf_token"]
    assert holding[0].stat().st_mode & 0o777 == 0o600


def test_a_dry_run_prints_the_plan_and_touches_nothing(stack: Stack) -> None:
    human = stack.run("up", "coding", "--dry-run")
    plan = stack.json("up", "coding", "--dry-run")["data"]["plan"]

    assert "serve acme/coder" in human.stdout
    assert plan["engine"]["argv"][1:3] == ["serve", "acme/coder"]
    assert not stack.workspace.state_dir.exists()
    assert not (stack.workspace.root / "models").exists()


def test_a_missing_engine_is_named_with_the_command_that_installs_it(stack: Stack) -> None:
    done = stack.run("up", "coding", PMPCTL_ENGINE_PROGRAM="./nowhere/vllm")

    assert done.returncode == 8
    assert "scripts/start.sh" in done.stderr


def test_logs_separate_the_streams_and_take_the_last_lines(stack: Stack) -> None:
    stack.run("up", "coding")

    last = stack.run("logs", "engine", "--tail", "1")
    entries = [json.loads(line) for line in stack.run("logs", "--json").stdout.splitlines()[:-1]]

    assert len(last.stdout.splitlines() + last.stderr.splitlines()) == 1
    assert {entry["role"] for entry in entries} == {"engine", "gateway"}
    assert {entry["line"]["stream"] for entry in entries} == {"stdout", "stderr"}


def test_logs_of_an_empty_workspace_say_what_to_do(stack: Stack) -> None:
    done = stack.run("logs")

    assert done.returncode == 2
    assert "pmpctl up" in done.stderr
