"""What `vram-check` makes of models that do not ship with pmpctl, of profiles with extras, and of bad input."""

import json
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pmpctl.workspace import Workspace
from tests.cli import pmpctl
from tests.unit.hub.checkpoints import framed, safetensors, write_cache, write_folder
from tests.unit.hub.stub_hub import StubHub, running_hub

NVML = Path(__file__).parents[2] / "world" / "nvml"

SMALL: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "num_hidden_layers": 2,
    "hidden_size": 256,
    "intermediate_size": 512,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 1024,
    "max_position_embeddings": 4096,
    "torch_dtype": "bfloat16",
    "tie_word_embeddings": True,
}
WEIGHTS = safetensors({"model.embed_tokens.weight": ("BF16", [1024, 256])})


def model_files(**changes: object) -> dict[str, bytes]:
    return {"config.json": json.dumps(SMALL | changes).encode(), "model.safetensors": WEIGHTS}


@pytest.fixture
def hub() -> Iterator[StubHub]:
    with running_hub() as hub:
        yield hub


def profile_of(folder: Path, *, host: str = "", **keys: object) -> None:
    lines = [f"{key} = {json.dumps(value)}" for key, value in ({"model": "./model"} | keys).items()]
    (folder / "profiles.toml").write_text("\n".join([host, "[profiles.mine]", *lines, ""]))


def envelope(*argv: str, cwd: Path, environment: Mapping[str, str] | None = None) -> dict[str, Any]:
    hidden = {"HF_HUB_OFFLINE": "", "HF_ENDPOINT": "http://localhost:9", **(environment or {})}
    found = json.loads(_run(*argv, "--json", cwd=cwd, environment=hidden))
    assert isinstance(found, dict)
    return found


def _run(*argv: str, cwd: Path, environment: Mapping[str, str]) -> str:
    variables: dict[str, Any] = dict(environment)
    return pmpctl("vram-check", *argv, cwd=cwd, **variables).stdout


def data(*argv: str, cwd: Path, environment: Mapping[str, str] | None = None) -> dict[str, Any]:
    found = envelope(*argv, cwd=cwd, environment=environment)["data"]
    assert isinstance(found, dict)
    return found


def error(*argv: str, cwd: Path, environment: Mapping[str, str] | None = None) -> dict[str, Any]:
    found = envelope(*argv, cwd=cwd, environment=environment)
    assert found["data"] is None
    (problem,) = found["errors"]
    assert problem["cure"]
    assert isinstance(problem, dict)
    return {**problem, "status": found["exit_status"]}


def test_a_folder_is_read_where_it_lies(tmp_path: Path) -> None:
    profile_of(tmp_path)
    write_folder(tmp_path / "model", model_files())

    found = data("mine", "--gpu", "L4", cwd=tmp_path)

    assert (found["verdict"], found["facts_source"]) == ("fits", str(tmp_path / "model"))
    assert found["settings"]["max_model_len"] == 4096


def test_the_cache_goes_before_the_hub_and_the_hub_is_asked_once(tmp_path: Path, hub: StubHub) -> None:
    profile_of(tmp_path, model="acme/small")
    hub.add("acme/small", model_files())
    online = {"HF_ENDPOINT": hub.url}

    first = data("mine", "--gpu", "L4", cwd=tmp_path, environment=online)
    asked = len(hub.asked)
    second = data("mine", "--gpu", "L4", "--offline", cwd=tmp_path, environment=online)
    write_cache(tmp_path / "models", "acme/small", model_files())
    third = data("mine", "--gpu", "L4", cwd=tmp_path, environment=online)

    assert "the hub (localhost" in first["facts_source"]
    assert first["revision"] == second["revision"]
    assert len(hub.asked) == asked
    assert third["facts_source"] == "the Hugging Face cache"


def test_offline_asks_no_hub(tmp_path: Path, hub: StubHub) -> None:
    profile_of(tmp_path, model="acme/small")
    hub.add("acme/small", model_files())

    found = error("mine", "--gpu", "L4", "--offline", cwd=tmp_path, environment={"HF_ENDPOINT": hub.url})

    assert (found["code"], found["status"]) == ("model_not_cached", 10)
    assert hub.asked == []


def test_an_unknown_architecture_is_estimated_and_marked(tmp_path: Path) -> None:
    profile_of(tmp_path)
    write_folder(tmp_path / "model", model_files(architectures=["BrandNewForCausalLM"], model_type="brand_new"))

    found = data("mine", "--gpu", "L4", cwd=tmp_path)
    shown = pmpctl("vram-check", "mine", "--gpu", "L4", cwd=tmp_path).stdout

    assert found["architecture_known"] is False
    assert found["band_gib"] >= 1.5
    assert "Note: The architecture BrandNewForCausalLM is not known here" in shown


@pytest.mark.parametrize(
    ("files", "code"),
    [
        ({}, "model_config_missing"),
        ({"config.json": b"{}"}, "model_without_safetensors"),
        ({"config.json": b"{}", "pytorch_model.bin": b"0"}, "model_without_safetensors"),
        ({"config.json": b"[", "model.safetensors": WEIGHTS}, "model_config_invalid"),
        ({"config.json": b"{}", "model.safetensors": WEIGHTS}, "model_config_invalid"),
        (model_files(num_hidden_layers=10**30), "model_config_invalid"),
        (model_files(hidden_size=-1), "model_config_invalid"),
        (model_files() | {"model.safetensors": WEIGHTS[:20]}, "weights_damaged"),
        (model_files() | {"model.safetensors": framed(b"{" * 50)}, "weights_damaged"),
    ],
    ids=[
        "no config",
        "no weights",
        "weights of another format",
        "no JSON",
        "empty config",
        "absurd layers",
        "negative size",
        "truncated header",
        "damaged header",
    ],
)
def test_a_bad_model_is_a_named_error(files: dict[str, bytes], code: str, tmp_path: Path) -> None:
    profile_of(tmp_path)
    write_folder(tmp_path / "model", files)

    found = error("mine", "--gpu", "L4", cwd=tmp_path)

    assert (found["code"], found["status"]) == (code, 2)


@pytest.mark.parametrize(
    ("argv", "code", "words"),
    [
        (("--gpu", "A31"), "card_unknown", "Did you mean A30"),
        (("--gpu", ""), "card_unknown", "Known are"),
        (("--budget-gib", "0"), "card_unknown", "such as 24"),
        (("--budget-gib", "-5"), "card_unknown", "such as 24"),
        (("--budget-gib", "nan"), "card_unknown", "such as 24"),
        (("--budget-gib", "1e9"), "card_unknown", "such as 24"),
        (("--gpu", "A30", "--budget-gib", "24"), "usage", "Give one"),
        (("--gpu", "A30", "--context", "0"), "usage", "--help"),
        (("--gpu", "A30", "--context", str(10**30)), "usage", "--help"),
        (("--gpu", "A30", "--context", "many"), "usage", "--help"),
        (("--gpu", "A30", "--utilization", "1.5"), "usage", "docs/profiles.md"),
        (("--gpu", "A30", "--utilization", "0"), "usage", "docs/profiles.md"),
        (("--gpu", "A30", "--utilization", "nan"), "usage", "docs/profiles.md"),
        (("--gpu", "A30", "--max-num-seqs", "0"), "usage", "--help"),
        (("--gpu", "A30", "--kv-cache-dtype", "fp9"), "usage", "docs/profiles.md"),
        (("--gpu", "A30", "--all", "--fit"), "usage", "Leave"),
        (("--gpu", "A30", "--svg", "a.svg", "--all"), "usage", "Leave"),
    ],
)
def test_a_bad_option_is_a_named_error(argv: tuple[str, ...], code: str, words: str, tmp_path: Path) -> None:
    profile = () if "--all" in argv else ("chat",)

    found = error(*profile, *argv, cwd=tmp_path)

    assert (found["code"], found["status"]) == (code, 2)
    assert words in found["cure"]


def test_no_card_anywhere_is_a_named_error(tmp_path: Path) -> None:
    profile_of(tmp_path)
    write_folder(tmp_path / "model", model_files())

    found = error("mine", cwd=tmp_path)

    assert found["code"] == "card_unknown"
    assert "--gpu A30" in found["cure"]


def test_an_unknown_profile_is_a_named_error(tmp_path: Path) -> None:
    assert error("codng", "--gpu", "A30", cwd=tmp_path)["code"] == "profile_unknown"


def test_a_profile_on_the_cpu_is_judged_by_the_memory_of_this_host(tmp_path: Path) -> None:
    profile_of(tmp_path, device="cpu", max_model_len=2048, kv_cache_memory_bytes=64 << 20)
    write_folder(tmp_path / "model", model_files())

    found = data("mine", "--gpu", "A30", cwd=tmp_path)
    too_small = envelope("mine", "--context", str(1 << 20), cwd=tmp_path)

    assert found["verdict"] == "fits"
    assert found["card"]["name"] == "this host's memory"
    assert found["kv_available_gib"] == 0.0625
    assert found["free_gib"] > 0
    assert too_small["exit_status"] == 3


def test_what_the_profile_adds_by_hand_counts_or_is_said_not_to(tmp_path: Path) -> None:
    write_folder(tmp_path / "model", model_files())
    extra_args = ["--block-size=32", "--limit-mm-per-prompt", '{"image": 0}', "--cpu-offload-gb", "2"]
    profile_of(tmp_path, extra_args=extra_args, dtype="half", quantization="auto", image="acme/vllm:v0.11.2")

    found = data("mine", "--gpu", "L4", cwd=tmp_path)

    settings = found["settings"]
    assert (settings["block_size"], settings["text_only"], settings["dtype"]) == (32, True, "float16")
    assert (settings["quantization"], settings["vllm_version"]) == (None, [0, 11, 2])
    assert "--cpu-offload-gb of `extra_args` is not counted here." in found["notes"]


def test_the_card_of_this_host_counts_with_what_is_free_on_it(tmp_path: Path) -> None:
    profile_of(tmp_path, host="[host]\nvram_budget_gib = 80")
    write_folder(tmp_path / "model", model_files())
    here = {"PYTHONPATH": str(NVML), "STAND_IN_GPU": "NVIDIA A30:24576"}

    found = data("mine", cwd=tmp_path, environment=here)
    other = data("mine", "--gpu", "H100", cwd=tmp_path, environment=here)

    assert (found["card"]["name"], found["card_why"]) == ("A30", "the GPU of this host")
    assert 0 < found["free_gib"] <= found["card"]["total_gib"]
    assert (other["card"]["name"], other["free_gib"]) == ("H100", None)


def test_what_holds_the_card_is_named_and_only_our_own_engine_counts_as_free(tmp_path: Path) -> None:
    profile_of(tmp_path)
    write_folder(tmp_path / "model", model_files())
    here = {"PYTHONPATH": str(NVML), "STAND_IN_GPU": "NVIDIA A30:24576"}
    idle = data("mine", cwd=tmp_path, environment=here)["free_gib"]

    ours = {"PMPCTL_UNIT": f"{Workspace(tmp_path).id}/engine/0123456789ab"}
    with holding("VLLM::EngineCore", 20480, **ours) as engine, holding("blender", 1024) as other:
        found = data("mine", cwd=tmp_path, environment=here | {"STAND_IN_GPU_PROCESSES": f"{engine},{other}"})
    with holding("VLLM::EngineCore", 20480) as other:
        blocked = envelope("mine", cwd=tmp_path, environment=here | {"STAND_IN_GPU_PROCESSES": other})

    assert found["free_gib"] == pytest.approx(idle - 1.0)
    assert any("This workspace's engine holds 20.00 GiB" in note for note in found["notes"])
    assert any("blender (pid " in note and "holds 1.00 GiB" in note for note in found["notes"])
    assert any("VLLM::EngineCore (pid " in note for note in blocked["data"]["notes"])
    assert blocked["errors"][0]["code"] == "does_not_fit"
    assert "refuses with 3.50 GiB free" in blocked["errors"][0]["message"]


@contextmanager
def holding(title: str, mebibytes: int, **environment: str) -> Iterator[str]:
    """A process of that title, as the stand-in for the driver is told of it."""
    with subprocess.Popen([title, "60"], executable="/bin/sleep", env=environment) as process:
        try:
            yield f"{process.pid}:{mebibytes}"
        finally:
            process.kill()
