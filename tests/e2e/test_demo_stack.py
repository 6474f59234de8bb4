"""The newcomer's first command with the real vLLM: as processes, and in containers."""

import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from pmpctl.smoke.apis import APIS
from pmpctl.smoke.long import LONG
from pmpctl.smoke.quick import QUICK
from pmpctl.smoke.tools import TOOLS
from pmpctl.workspace import Workspace
from tests.stack import Stack

pytestmark = [pytest.mark.vllm, pytest.mark.slow, pytest.mark.timeout(900)]

PROFILES = """\
[gateway]
listen = "127.0.0.1:{api_port}"
base_image = "pmpctl-test/base:bookworm"

[host]
runtime = "{runtime}"
engine_port = {engine_port}
cpu_image = "{image}"

[profiles.demo]
model = "builtin:demo"
device = "cpu"
tool_call_parser = "hermes"
extra_args = ["--exclude-tools-when-tool-choice-none"]
max_model_len = 2048
max_num_seqs = 4
max_num_batched_tokens = 512
kv_cache_memory_bytes = 67108864
shm_size_gib = 1

[profiles.too-long]
extends = "demo"
max_model_len = 1000000
"""

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}

# An open gateway on loopback before a model that neither thinks nor embeds.
NOTHING_TO_CHECK = {"engine-hidden", "reasoning", "embeddings", "messages-x-api-key"}
# Its answers take 0.15 s, in which a busy machine may read none of their pieces.
TOO_QUICK_TO_TELL = {"stream"}


@pytest.fixture(scope="module", params=["process", pytest.param("docker", marks=pytest.mark.docker)])
def demo(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The demo profile, up; one engine for all tests of a runtime."""
    program: Path = request.getfixturevalue("vllm_program")
    environment = {}
    image = "pmpctl-test/vllm-cpu:0.32.0"
    if request.param == "docker":
        image = request.getfixturevalue("vllm_image")
        request.getfixturevalue("base_image")
        environment["DOCKER_HOST"] = request.getfixturevalue("docker_host")
    root = tmp_path_factory.mktemp(f"demo-{request.param}")
    stack = Stack(Workspace(root), program, runtime=request.param, environment=environment, smoke=True)
    stack.environment["PMPCTL_ENGINE_PROGRAM"] = str(program)
    text = PROFILES.format(api_port=stack.api_port, engine_port=stack.engine_port, runtime=request.param, image=image)
    (root / "profiles.toml").write_text(text)
    try:
        up = stack.run("up", "demo", timeout_seconds=600)
        assert up.returncode == 0, up.stderr
        assert f"http://127.0.0.1:{stack.api_port}/v1" in up.stdout
        assert f"of {len(QUICK)} checks passed" in up.stdout
        yield stack
    finally:
        stack.run("down", timeout_seconds=180)


def test_a_chat_is_answered_under_each_name(demo: Stack) -> None:
    for name in ("llm", "demo", "builtin:demo", "gpt-4o"):
        answer = demo.ask("Hello", model=name)
        assert answer["choices"][0]["finish_reason"] == "stop"
        assert "demo" in answer["choices"][0]["message"]["content"].lower()


def test_a_streamed_answer_comes_in_chunks_and_ends_properly(demo: Stack) -> None:
    body = {"model": "llm", "messages": [{"role": "user", "content": "Hello"}], "stream": True}
    url = f"http://127.0.0.1:{demo.api_port}/v1/chat/completions"
    with httpx.stream("POST", url, json=body, timeout=60) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        events = [line.removeprefix("data: ") for line in response.iter_lines() if line.startswith("data: ")]

    assert events[-1] == "[DONE]"
    pieces = [json.loads(event)["choices"][0]["delta"].get("content") or "" for event in events[:-1]]
    assert sum(1 for piece in pieces if piece) > 3
    assert "demo" in "".join(pieces).lower()


def test_a_tool_is_called_and_its_result_answered(demo: Stack) -> None:
    url = f"http://127.0.0.1:{demo.api_port}/v1/chat/completions"
    messages: list[dict[str, object]] = [{"role": "user", "content": "What is the weather in Paris?"}]
    first = httpx.post(url, json={"model": "llm", "messages": messages, "tools": [WEATHER]}, timeout=60).json()
    call = first["choices"][0]["message"]["tool_calls"][0]

    assert call["function"]["name"] == "get_weather"
    assert json.loads(call["function"]["arguments"]) == {"city": "Paris"}

    messages += [
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": call["id"], "content": "sunny"},
    ]
    second = httpx.post(url, json={"model": "llm", "messages": messages, "tools": [WEATHER]}, timeout=60).json()
    assert second["choices"][0]["message"]["content"]
    assert not second["choices"][0]["message"].get("tool_calls")


def test_models_tell_the_context(demo: Stack) -> None:
    models = httpx.get(f"http://127.0.0.1:{demo.api_port}/v1/models", timeout=30).json()["data"]

    assert {model["id"]: model["max_model_len"] for model in models}["llm"] == 2048


def test_up_again_keeps_the_engine_and_status_is_ready(demo: Stack) -> None:
    again = demo.json("up", "demo")["data"]

    assert again["changes"] == {"engine": "kept", "gateway": "kept"}
    assert again["smoke"]["ok"]
    status = demo.status()
    assert status["phase"] == "ready"
    assert status["versions"]["vllm"].startswith("0.32.0")


def test_every_check_of_the_api_passes(demo: Stack) -> None:
    """Quick, tools, other APIs; as processes the long prompts and a soak, too, which no runtime changes."""
    more = ["--long", "--soak", "0.1"] if demo.runtime == "process" else []
    done = demo.run("smoke", "--json", *more, timeout_seconds=400)
    report = json.loads(done.stdout.splitlines()[-1])["data"]
    verdicts: dict[str, set[str]] = defaultdict(set)
    for check in report["checks"]:
        verdicts[check["verdict"]].add(check["name"])
    told = [(check["name"], check["detail"]) for check in report["checks"] if check["verdict"] in ("warn", "fail")]

    assert told == []
    assert done.returncode == 0
    skippable = NOTHING_TO_CHECK | TOO_QUICK_TO_TELL
    assert verdicts["skipped"] <= skippable
    expected = {check.name for check in (*QUICK, *TOOLS, *APIS, *(LONG if more else ()))} - skippable
    assert expected <= verdicts["pass"]
    if more:
        assert {"soak-errors", "soak-latency", "soak-restarts", "soak-memory"} <= verdicts["pass"]


def test_what_vllm_refuses_is_shown_in_its_own_words(demo: Stack) -> None:
    """Last of its runtime: the engine that served until now is replaced."""
    failed = demo.run("up", "too-long", timeout_seconds=300)

    assert failed.returncode == 4
    assert "max_model_len" in failed.stderr
    assert "1000000" in failed.stderr
    assert demo.status()["phase"] == "failed"
