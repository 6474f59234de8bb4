"""The arguments of every shipped profile, read by the parser of the vLLM release that the default images hold."""

import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pmpctl.planning.build import build_plan
from pmpctl.planning.host import LocalFile
from pmpctl.profiles.load import load, shipped_file
from pmpctl.workspace import Workspace
from tests.unit.planning.factory import FACTS

pytestmark = pytest.mark.vllm

# The table of profiles that are in production.
EXPECTED: dict[str, tuple[str, int, float, str, str | None, str | None]] = {
    "coding": ("stelterlab/Qwen3-Coder-30B-A3B-Instruct-AWQ", 32768, 0.90, "fp8", None, "qwen3_xml"),
    "coding-40k": ("stelterlab/Qwen3-Coder-30B-A3B-Instruct-AWQ", 40960, 0.90, "fp8", None, "qwen3_xml"),
    "coding-48k": ("stelterlab/Qwen3-Coder-30B-A3B-Instruct-AWQ", 49152, 0.90, "fp8", None, "qwen3_xml"),
    "coding-v2": ("Qwen/Qwen2.5-Coder-32B-Instruct-AWQ", 20480, 0.95, "fp8", "awq", "hermes"),
    "coding-legacy": ("Qwen/Qwen2.5-Coder-14B-Instruct-AWQ", 32768, 0.90, "fp8", "awq", "hermes"),
    "instruct": ("Qwen/Qwen2.5-32B-Instruct-AWQ", 6000, 0.90, "auto", "awq", "hermes"),
    "chat": ("mistralai/Mistral-7B-Instruct-v0.2", 8192, 0.85, "auto", None, None),
    "devstral": ("cyankiwi/Devstral-Small-2-24B-Instruct-2512-AWQ-4bit", 65536, 0.92, "fp8", None, "mistral"),
}


@pytest.fixture(scope="module")
def understood(vllm_program: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("templates")
    template = folder / "template.jinja"
    template.write_text("{{ messages }}")
    file = load(shipped_file(), {})
    files = {
        "builtin:demo": LocalFile(Path("/pkg/demo"), ""),
        "builtin:devstral": LocalFile(template, "0"),
    }
    # On the host's paths, so that the parser finds the template that a container would have mounted.
    facts = replace(FACTS, runtime="process", files=files)
    argv = {name: build_plan(Workspace(Path("/srv/llm")), file, name, facts).engine.argv[2:] for name in file.profiles}
    ran = subprocess.run(
        [vllm_program.parent / "python", Path(__file__).with_name("vllm_parser.py")],
        input=json.dumps(argv),
        capture_output=True,
        text=True,
        timeout=240,
        env={"PATH": os.environ["PATH"], "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1"},
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    found: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("name", EXPECTED)
def test_vllm_understands_a_shipped_profile_as_it_is_meant(name: str, understood: dict[str, Any]) -> None:
    model, context, utilization, kv_dtype, quantization, tool_parser = EXPECTED[name]

    assert understood[name] == {
        "model": model,
        "served": ["llm", name, model],
        "max_model_len": context,
        "gpu_memory_utilization": utilization,
        "kv_cache_dtype": kv_dtype,
        "quantization": quantization,
        "tool_call_parser": tool_parser,
        "auto_tools": tool_parser is not None,
        "eager": True,
        "tensor_parallel_size": 1,
    }


def test_vllm_understands_the_demo(understood: dict[str, Any]) -> None:
    assert understood["demo"]["tool_call_parser"] == "hermes"
    assert understood["demo"]["served"][:2] == ["llm", "demo"]


def test_no_profile_is_left_out(understood: dict[str, Any]) -> None:
    assert set(understood) == {*EXPECTED, "demo"}
