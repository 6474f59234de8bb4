"""The files of the demo model, and what its template makes of the conversations that clients send."""

import json
from pathlib import Path
from typing import Any

import jinja2.sandbox
import pytest

import pmpctl

FOLDER = Path(pmpctl.__file__).parent / "demo_model"

WEATHER = {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}}
CALL = {"id": "call_123456789", "type": "function", "function": {"name": "get_weather", "arguments": "{}"}}


def prompt(messages: list[dict[str, Any]], tools: list[dict[str, Any]] | None = None) -> str:
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string((FOLDER / "chat_template.jinja").read_text())
    return template.render(messages=messages, tools=tools, add_generation_prompt=True)


def asked(content: Any, tools: list[dict[str, Any]] | None = None) -> str:
    """The last words of the prompt: what the model is told to answer."""
    return prompt([{"role": "user", "content": content}], tools).rpartition("<|end|>")[2]


def test_it_is_small_and_whole() -> None:
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 2_500_000
    config = json.loads((FOLDER / "config.json").read_text())
    tokenizer = json.loads((FOLDER / "tokenizer.json").read_text())
    known = {**tokenizer["model"]["vocab"], **{token["content"]: token["id"] for token in tokenizer["added_tokens"]}}

    assert config["architectures"] == ["Qwen2ForCausalLM"]
    assert max(known.values()) + 1 == config["vocab_size"]
    assert config["eos_token_id"] == known["<|end|>"]


def test_its_weights_are_those_of_its_configuration() -> None:
    config = json.loads((FOLDER / "config.json").read_text())
    with (FOLDER / "model.safetensors").open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))

    assert header["model.embed_tokens.weight"]["shape"] == [config["vocab_size"], config["hidden_size"]]
    assert header["model.embed_tokens.weight"]["dtype"] == "BF16"
    assert f"model.layers.{config['num_hidden_layers'] - 1}.mlp.down_proj.weight" in header


@pytest.mark.parametrize(
    ("content", "tools", "told"),
    [
        ("Hello", None, "<|chat|>"),
        ("Say OK", None, "<|ok|>"),
        ("please say ok", None, "<|ok|>"),
        ([{"type": "text", "text": "Reply with OK"}], None, "<|ok|>"),
        ("What is the weather?", [WEATHER], "<|call|><|Paris|>"),
        ("How is Oslo today?", [WEATHER], "<|call|><|Oslo|>"),
        ("Compare London and Rome", [WEATHER], "<|call|><|London|><|Rome|>"),
        (None, None, "<|chat|>"),
    ],
)
def test_the_template_finds_what_matters(content: Any, tools: list[dict[str, Any]] | None, told: str) -> None:
    assert asked(content, tools) == f"{told}<|assistant|>"


def test_a_result_is_reported_with_its_sky_and_the_city_that_was_asked_for() -> None:
    conversation: list[dict[str, Any]] = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "And in Berlin?"},
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": CALL["id"], "content": '{"sky": "Rainy"}'},
    ]
    assert prompt(conversation, [WEATHER]).endswith("<|report|><|rainy|><|Berlin|><|assistant|>")


@pytest.mark.parametrize(
    ("results", "told"),
    [
        (['{"city": "Paris", "sky": "foggy"}', '{"city": "Tokyo", "sky": "snowy"}'], "foggy Paris snowy Tokyo"),
        (['{"city": "Tokyo", "sky": "snowy"}', '{"city": "Paris", "sky": "foggy"}'], "snowy Tokyo foggy Paris"),
        (["foggy", [{"type": "text", "text": "Snowy"}]], "foggy Paris snowy Tokyo"),
        (["no such city", "snowy"], "snowy Tokyo"),
        (["foggy in Paris", "snowy in Tokyo", "sunny in Rome"], "foggy Paris snowy Tokyo"),
        (["", None], ""),
    ],
)
def test_each_result_is_reported_with_its_own_city(results: list[Any], told: str) -> None:
    conversation: list[dict[str, Any]] = [
        {"role": "user", "content": "Paris and Tokyo"},
        {"role": "assistant", "content": None, "tool_calls": [CALL, CALL]},
        *({"role": "tool", "tool_call_id": CALL["id"], "content": result} for result in results),
    ]
    tokens = "".join(f"<|{word}|>" for word in told.split())

    assert prompt(conversation, [WEATHER]).endswith(f"<|report|>{tokens}<|assistant|>")


def test_only_the_last_results_are_reported() -> None:
    conversation: list[dict[str, Any]] = [
        {"role": "user", "content": "Paris"},
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": CALL["id"], "content": "foggy in Paris"},
        {"role": "assistant", "content": "It is foggy in Paris. And in Oslo?", "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": CALL["id"], "content": "rainy in Oslo"},
    ]

    assert prompt(conversation, [WEATHER]).endswith("<|report|><|rainy|><|Oslo|><|assistant|>")


def test_two_user_messages_in_a_row_are_one_request() -> None:
    messages: list[dict[str, Any]] = [
        {"role": "user", "content": "Here is a file."},
        {"role": "user", "content": "Now Tokyo and Rome"},
    ]

    assert prompt(messages, [WEATHER]).endswith("<|call|><|Rome|><|Tokyo|><|assistant|>")
