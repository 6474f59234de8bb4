"""Three switches with the real vLLM, under load: no request is lost, broken off, or answered by the wrong model."""

import asyncio
import itertools
import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from pmpctl.operations.gateway_control import gateway_status
from pmpctl.workspace import Workspace
from tests.e2e.engine import GREETING, MODEL
from tests.stack import Stack
from tests.switching.load import Opening, meant_model

pytestmark = [pytest.mark.vllm, pytest.mark.slow, pytest.mark.timeout(1800)]

CLIENTS = 4
# The second model is the demo model with a template that hears "Say OK" in all that is said.
HEARS_ONE_THING = "{%- set messages = [{'role': 'user', 'content': 'Say OK'}] -%}"
ANSWERS = {"chatty": GREETING, "curt": "OK"}

PROFILES = """
[profiles.chatty]
model = "builtin:demo"
device = "cpu"
max_model_len = 2048
max_num_seqs = 4
max_num_batched_tokens = 512
kv_cache_memory_bytes = 67108864

[profiles.curt]
extends = "chatty"
model = "./curt-model"
"""


@dataclass(slots=True)
class Asked:
    """`ends` are the reasons why the answer ended; `error` is what came instead of one."""

    asked_at: float
    text: str = ""
    ends: tuple[str, ...] = ()
    error: str = ""


@pytest.fixture
def stack(workspace: Workspace, vllm_program: Path) -> Iterator[Stack]:
    copy = workspace.root / "curt-model"
    shutil.copytree(MODEL, copy)
    template = copy / "chat_template.jinja"
    template.write_text(HEARS_ONE_THING + template.read_text())
    stack = Stack(workspace, vllm_program)
    stack.environment["PMPCTL_ENGINE_PROGRAM"] = str(vllm_program)
    stack.write(more=PROFILES, start_timeout=600)
    yield stack
    stack.run("down", timeout_seconds=180)


async def ask(client: httpx.AsyncClient, *, stream: bool) -> Asked:
    asked = Asked(time.time())
    body = {"model": "llm", "messages": [{"role": "user", "content": "Hello"}], "stream": stream}
    try:
        async with client.stream("POST", "/v1/chat/completions", json=body) as response:
            lines = [line async for line in response.aiter_lines() if line]
    except httpx.HTTPError as error:
        asked.error = repr(error)
        return asked
    data = [line.removeprefix("data: ") for line in lines if line.startswith("data: ")] if stream else lines
    if response.status_code != 200 or (stream and data.pop() != "[DONE]") or "error" in json.loads(data[-1]):
        asked.error = f"{response.status_code} {lines}"
        return asked
    choices = [choice for each in data for choice in json.loads(each)["choices"]]
    asked.text = "".join(choice["delta" if stream else "message"].get("content") or "" for choice in choices)
    asked.ends = tuple(choice["finish_reason"] for choice in choices if choice["finish_reason"])
    return asked


def faults_of(answers: list[Asked], openings: list[Opening]) -> list[str]:
    found = []
    for each in answers:
        if each.error or each.ends != ("stop",) or each.text not in ANSWERS.values():
            found.append(f"{each}")
        meant = meant_model(each.asked_at, openings)
        if meant is not None and each.text != ANSWERS[meant]:
            found.append(f"{each} while {meant} was to answer")
    return found


async def test_three_switches_under_load_lose_nothing_and_mix_up_nothing(stack: Stack) -> None:
    up = await asyncio.to_thread(stack.run, "up", "chatty", timeout_seconds=800)
    assert up.returncode == 0, up.stderr
    answers: list[Asked] = []
    openings = [Opening(0.0, 0.0, "chatty")]
    held = 0
    done = asyncio.Event()

    async def keep_asking(client: httpx.AsyncClient) -> None:
        for number in itertools.count():
            answers.append(await ask(client, stream=number % 2 == 1))
            if done.is_set():
                return

    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{stack.api_port}", timeout=300) as client:
        clients = [asyncio.create_task(keep_asking(client)) for _ in range(CLIENTS)]
        for profile in ("curt", "chatty", "curt"):
            switched = await asyncio.to_thread(stack.run, "--json", "switch", profile, timeout_seconds=800)
            assert switched.returncode == 0, switched.stdout + switched.stderr
            result = json.loads(switched.stdout.splitlines()[-1])["data"]
            status = gateway_status(stack.workspace)
            assert status is not None
            openings.append(Opening.told_by(result, status.door.since, profile))
            held += result["held"]
            assert result["held"] == result["released"]
            assert result["cancelled"] + result["refused"] == 0
        done.set()
        await asyncio.gather(*clients)

    assert faults_of(answers, openings) == []
    assert {each.text for each in answers} == set(ANSWERS.values())
    assert held >= CLIENTS
