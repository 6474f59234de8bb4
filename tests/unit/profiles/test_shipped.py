"""The shipped profiles.toml: values that are in production, and an example that explains every key."""

import re
from pathlib import Path

import pytest

from pmpctl.profiles.load import load, shipped_file
from pmpctl.profiles.model import Defaults, GatewaySettings, HostSettings, ProfileTable, Table
from pmpctl.profiles.vllm_flags import LISTS, SWITCHES, VALUES

ROOT = Path(__file__).parents[3]

QWEN3_CODER = "stelterlab/Qwen3-Coder-30B-A3B-Instruct-AWQ"
DEVSTRAL = "cyankiwi/Devstral-Small-2-24B-Instruct-2512-AWQ-4bit"
# model, max_model_len, gpu_memory_utilization, kv_cache_dtype, quantization, tool_call_parser, chat_template
PRODUCTION = {
    "coding": (QWEN3_CODER, 32768, 0.90, "fp8", None, "qwen3_xml", None),
    "coding-40k": (QWEN3_CODER, 40960, 0.90, "fp8", None, "qwen3_xml", None),
    "coding-48k": (QWEN3_CODER, 49152, 0.90, "fp8", None, "qwen3_xml", None),
    "coding-v2": ("Qwen/Qwen2.5-Coder-32B-Instruct-AWQ", 20480, 0.95, "fp8", "awq", "hermes", None),
    "coding-legacy": ("Qwen/Qwen2.5-Coder-14B-Instruct-AWQ", 32768, 0.90, "fp8", "awq", "hermes", None),
    "instruct": ("Qwen/Qwen2.5-32B-Instruct-AWQ", 6000, 0.90, "auto", "awq", "hermes", None),
    "chat": ("mistralai/Mistral-7B-Instruct-v0.2", 8192, 0.85, "auto", None, None, None),
    "devstral": (DEVSTRAL, 65536, 0.92, "fp8", None, "mistral", "builtin:devstral"),
}


@pytest.mark.parametrize("name", PRODUCTION)
def test_a_profile_in_production_keeps_its_values(name: str) -> None:
    profile = load(shipped_file(), {}).profile(name)
    assert PRODUCTION[name] == (
        profile.model,
        profile.max_model_len,
        profile.gpu_memory_utilization,
        profile.kv_cache_dtype,
        profile.quantization,
        profile.tool_call_parser,
        profile.chat_template,
    )
    assert (profile.device, profile.tensor_parallel_size, profile.enforce_eager) == ("cuda", 1, True)
    assert (profile.shm_size_gib, profile.image, profile.trust_remote_code) == (8, None, False)
    assert profile.description


def test_the_demo_runs_anywhere_and_calls_tools() -> None:
    demo = load(shipped_file(), {}).profile("demo")
    assert (demo.device, demo.model, demo.tool_call_parser) == ("cpu", "builtin:demo", "hermes")
    assert demo.extra_args == ["--exclude-tools-when-tool-choice-none"]
    assert demo.description


def test_no_other_profile_ships_and_the_host_is_planned_for_24_gib_on_the_known_ports() -> None:
    file = load(shipped_file(), {})
    assert set(file.profiles) == {*PRODUCTION, "demo"}
    assert file.default is None
    assert file.host.vram_budget_gib == 24
    assert (file.host.engine_port, file.gateway.listen) == (8002, "127.0.0.1:8000")


@pytest.mark.parametrize("model", [ProfileTable, GatewaySettings, HostSettings])
def test_the_example_and_the_guide_explain_every_key(model: type[Table]) -> None:
    example, guide = shipped_file().read_text(), (ROOT / "docs" / "profiles.md").read_text()
    for key in model.model_fields:
        assert re.search(rf"^(# )?{key} = ", example, re.MULTILINE), key
        assert f"| `{key}` |" in guide, key


@pytest.mark.parametrize(
    ("table", "model"), [("defaults", Defaults), ("gateway", GatewaySettings), ("host", HostSettings)]
)
def test_what_the_example_shows_behind_a_hash_is_valid_when_the_hash_goes(
    table: str, model: type[Table], tmp_path: Path
) -> None:
    text = shipped_file().read_text()
    start = text.index(f"[{table}]\n")
    end = text.index("\n\n", start)
    shown = re.sub(r"^# (?=[a-z_]+ = )", "", text[start:end], flags=re.MULTILINE)
    path = tmp_path / "profiles.toml"
    path.write_text(shown + '\n[profiles.it]\nmodel = "a/b"\n')
    load(path, {})
    assert len(re.findall(r"^[a-z_]+ = ", shown, re.MULTILINE)) > len(model.model_fields) // 2


def test_the_guide_lists_every_argument_that_may_be_added() -> None:
    guide = (ROOT / "docs" / "profiles.md").read_text()
    assert [flag for flag in sorted(SWITCHES | VALUES | LISTS) if f"`{flag}`" not in guide] == []
