"""How a profile becomes vLLM's arguments."""

import pytest

from pmpctl.errors import PlanInvalid
from tests.unit.planning.factory import flag, plan


def test_every_setting_of_a_profile_reaches_vllm() -> None:
    made = plan(
        {
            "max_model_len": 32768,
            "gpu_memory_utilization": 0.95,
            "kv_cache_dtype": "fp8",
            "quantization": "awq",
            "dtype": "half",
            "max_num_seqs": 16,
            "max_num_batched_tokens": 2048,
            "kv_cache_memory_bytes": 1073741824,
            "tensor_parallel_size": 2,
            "tool_call_parser": "hermes",
            "reasoning_parser": "qwen3",
            "tokenizer_mode": "mistral",
            "config_format": "mistral",
            "load_format": "mistral",
            "revision": "abc123",
            "trust_remote_code": True,
            "extra_args": ["--seed", "1"],
        }
    )
    argv = " ".join(made.engine.argv)

    assert argv.startswith("vllm serve acme/coder --host 0.0.0.0 --port 8002 --served-model-name llm coding acme/coder")
    for words in (
        "--max-model-len 32768",
        "--gpu-memory-utilization 0.95",
        "--kv-cache-dtype fp8",
        "--quantization awq",
        "--dtype half",
        "--max-num-seqs 16",
        "--max-num-batched-tokens 2048",
        "--kv-cache-memory-bytes 1073741824",
        "--tensor-parallel-size 2",
        "--tool-call-parser hermes",
        "--enable-auto-tool-choice",
        "--reasoning-parser qwen3",
        "--tokenizer-mode mistral",
        "--config-format mistral",
        "--load-format mistral",
        "--revision abc123",
        "--trust-remote-code",
        "--enforce-eager",
        "--seed 1",
    ):
        assert words in argv


def test_what_is_left_to_vllm_is_not_said() -> None:
    argv = plan({"enforce_eager": False}).engine.argv

    unsaid = {"--quantization", "--kv-cache-dtype", "--dtype", "--max-num-seqs", "--tool-call-parser"}
    assert unsaid.isdisjoint(argv)
    assert "--enable-auto-tool-choice" not in argv
    assert "--enforce-eager" not in argv


def test_the_profiles_own_model_id_replaces_the_repositorys_in_the_served_names() -> None:
    assert plan({"backend_model_id": "coder-30b"}).served_names == ("llm", "coding", "coder-30b")


def test_a_flag_that_the_images_vllm_does_not_know_is_refused_with_the_release_that_has_it() -> None:
    with pytest.raises(PlanInvalid) as caught:
        plan({"image": "vllm/vllm-openai:v0.9.2", "kv_cache_memory_bytes": 1})
    assert "0.11.0" in caught.value.message
    assert "0.9.2" in caught.value.message


def test_an_old_vllm_is_told_to_reason_in_its_own_words() -> None:
    old = plan({"image": "vllm/vllm-openai:v0.8.5", "reasoning_parser": "deepseek_r1"})
    new = plan({"image": "vllm/vllm-openai:v0.32.0", "reasoning_parser": "deepseek_r1"})

    assert "--enable-reasoning" in old.engine.argv
    assert "--enable-reasoning" not in new.engine.argv


def test_an_image_whose_tag_names_no_release_is_warned_about() -> None:
    assert any("names no vLLM release" in warning for warning in plan({"image": "acme/vllm:stable"}).warnings)
    assert not plan().warnings


def test_a_cpu_profile_with_a_fixed_cache_does_not_claim_a_share_of_the_hosts_memory() -> None:
    demo = {"name": "demo", "model": "builtin:demo", "device": "cpu"}

    assert flag(plan({**demo, "kv_cache_memory_bytes": 1}), "--gpu-memory-utilization") is None
    assert flag(plan(demo), "--gpu-memory-utilization") == "0.9"


def test_the_engine_fetches_media_from_where_the_profile_says_and_never_follows_a_redirect() -> None:
    argv = plan({"requests": {"media_domains": ["a.example", "b.example"]}}).engine.argv
    at = argv.index("--allowed-media-domains")

    assert argv[at + 1 : at + 3] == ("a.example", "b.example")
    assert argv[at + 3].startswith("--")
    assert "--allowed-media-domains" not in plan().engine.argv
    assert plan().engine.env["VLLM_MEDIA_URL_ALLOW_REDIRECTS"] == "0"


def test_media_domains_need_a_vllm_that_keeps_to_them() -> None:
    with pytest.raises(PlanInvalid) as caught:
        plan({"image": "vllm/vllm-openai:v0.10.2", "requests": {"media_domains": ["a.example"]}})
    assert "0.11.0" in caught.value.message


def test_the_engine_trusts_in_requests_what_the_profile_allows_and_its_vllm_asks_about() -> None:
    allowed = {"requests": {"allow_fields": ["chat_template", "media_io_kwargs"]}}

    assert {"--trust-request-chat-template", "--trust-request-mm-kwargs"} <= set(plan(allowed).engine.argv)
    assert "--trust-request-mm-kwargs" not in plan({"image": "vllm/vllm-openai:v0.20.0", **allowed}).engine.argv
    assert not [word for word in plan().engine.argv if word.startswith("--trust")]


def test_the_engine_never_takes_tensors_and_shows_no_documentation() -> None:
    argv = plan({"requests": {"allow_fields": ["chat_template", "mm_processor_kwargs", "vllm_xargs"]}}).engine.argv

    assert "--disable-fastapi-docs" in argv
    assert not [word for word in argv if "embeds" in word]


def test_a_profile_that_wants_more_answers_at_once_gets_them_from_the_engine() -> None:
    assert plan({"requests": {"max_n": 500}}).engine.env["VLLM_MAX_N_SEQUENCES"] == "500"
    assert plan({"requests": {"max_n": 2}}).engine.hash == plan().engine.hash
