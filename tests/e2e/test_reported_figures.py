"""The real engine's own figures against ours: its KV cache, its concurrency, its longest context."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pmpctl.diagnosis.figures import EngineFigures, read_figures
from pmpctl.operations.environment import Environment
from pmpctl.operations.fit_inputs import FitInputs, FitOptions, gather_inputs
from pmpctl.vram.estimate import kv_settings
from pmpctl.vram.kv_cache import KvLayout, kv_layout
from pmpctl.vram.shares import Measured
from pmpctl.workspace import Workspace
from tests.e2e.ask_vllm import ask_vllm
from tests.stack import Stack

pytestmark = [pytest.mark.vllm, pytest.mark.slow, pytest.mark.timeout(900)]

KV_CACHE_BYTES = 8 << 20

# No multiple of a block, so that rounding shows.
PROFILES = f"""
[profiles.tiny]
model = "./tiny-model"
device = "cpu"
max_model_len = 2000
max_num_seqs = 4
max_num_batched_tokens = 512
kv_cache_memory_bytes = {KV_CACHE_BYTES}

[profiles.too-long]
extends = "tiny"
max_model_len = 32768
"""


@pytest.fixture(scope="module")
def stack(vllm_program: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    root = tmp_path_factory.mktemp("figures")
    ask_vllm(vllm_program, "make_tiny_model.py", {"folder": str(root / "tiny-model")})
    stack = Stack(Workspace(root), vllm_program)
    stack.environment["PMPCTL_ENGINE_PROGRAM"] = str(vllm_program)
    stack.write(more=PROFILES, start_timeout=300)
    try:
        yield stack
    finally:
        stack.run("down", timeout_seconds=180)


def inputs_of(stack: Stack, profile: str) -> FitInputs:
    environment = Environment(stack.workspace, None, "process", stack.environment)
    return gather_inputs(environment, environment.profile_file(), profile, FitOptions(offline=True))


def layout_of(inputs: FitInputs) -> KvLayout:
    return kv_layout(inputs.architecture, kv_settings(inputs.settings, inputs.chosen.card))


def logged(stack: Stack) -> EngineFigures:
    log = stack.run("logs", "engine")
    return read_figures([*log.stdout.splitlines(), *log.stderr.splitlines()])


def test_the_engine_reports_the_cache_that_we_compute_and_it_is_remembered(stack: Stack) -> None:
    up = stack.run("up", "tiny", timeout_seconds=600)
    assert up.returncode == 0, up.stderr

    said, inputs = logged(stack), inputs_of(stack, "tiny")
    ours = layout_of(inputs).pool(KV_CACHE_BYTES)
    assert said.kv_cache_tokens == ours.printed_tokens
    assert said.concurrency_tokens == 2000
    assert said.max_concurrency == round(ours.concurrency, 2)
    assert said.reserved_kv_gib == round(KV_CACHE_BYTES / 2**30, 2)

    known = (inputs.facts, inputs.architecture, inputs.weights, inputs.chosen.card, inputs.settings)
    evidence = inputs.calibration.evidence(*known)
    assert isinstance(evidence, Measured)
    assert evidence.available_kv_gib == said.reserved_kv_gib
    assert stack.json("vram-check", "tiny")["data"]["basis"] == "measured"


def test_the_engine_names_the_longest_context_that_we_compute(stack: Stack) -> None:
    failed = stack.run("up", "too-long", timeout_seconds=600)
    assert failed.returncode == 4

    said, ours = logged(stack), layout_of(inputs_of(stack, "too-long"))
    assert said.estimated_max_model_len == ours.largest_context(KV_CACHE_BYTES)
    assert said.needed_kv_gib == round(ours.bytes_of_request(32768) / 2**30, 2)
