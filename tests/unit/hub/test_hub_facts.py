"""Facts over HTTP, from a real server."""

import json
import logging
import os
from pathlib import Path

import pytest

from pmpctl.vram.facts import ModelFacts
from tests.unit.hub.checkpoints import COMMIT, CONFIG, SHARDS, index, one_file, safetensors, two_shards
from tests.unit.hub.conftest import Find
from tests.unit.hub.stub_hub import Fault, StubHub

MODEL = "some-owner/Some.Model-8B"
TOKEN = "hf_0123456789abcdefghij"


def sizes(facts: ModelFacts) -> dict[str, int]:
    assert facts.tensors is not None
    return {tensor.name: tensor.size_bytes for tensor in facts.tensors.tensors}


def test_a_sharded_model_is_known_from_its_configuration_and_the_headers_of_its_files(hub: StubHub, find: Find) -> None:
    hub.add(MODEL, two_shards())

    facts = find(MODEL)

    assert facts.config == CONFIG
    assert sizes(facts) == {
        "embed.weight": 2 << 20,
        "layers.0.weight": 1 << 20,
        "layers.1.weight": 1 << 20,
        "lm_head.weight": 2 << 20,
    }
    assert facts.weights_bytes == 6 << 20
    assert facts.revision == COMMIT
    assert facts.source == f"the hub ({hub.host})"
    assert facts.notes == ()


def test_only_the_beginnings_of_files_are_transferred(hub: StubHub, find: Find) -> None:
    hub.add(MODEL, two_shards())

    find(MODEL)

    assert hub.sent_bytes < 150_000
    assert sorted(hub.files_asked()) == ["config.json", *SHARDS, "model.safetensors.index.json"]


def test_a_server_that_knows_no_ranges_is_hung_up_on(hub: StubHub, find: Find) -> None:
    hub.knows_ranges = False
    hub.add(MODEL, {**one_file(), "model.safetensors": safetensors({"embed.weight": ("F32", [4096, 4096])})})

    assert find(MODEL).weights_bytes == 64 << 20
    assert hub.sent_bytes < 32 << 20


def test_a_header_longer_than_the_first_request_is_asked_for_as_a_whole(hub: StubHub, find: Find) -> None:
    tensors = {f"layers.{number}.some.long.name.of.a.weight": ("BF16", [8, 8]) for number in range(2000)}
    hub.add(MODEL, {**one_file(), "model.safetensors": safetensors(tensors)})

    facts = find(MODEL)

    assert len(sizes(facts)) == 2000
    assert len(hub.asked_of_store) == 2


def test_every_file_is_read_at_the_commit_that_the_branch_was_first(hub: StubHub, find: Find) -> None:
    hub.add(MODEL, two_shards()).branch = "quantized"

    assert find(MODEL, "quantized").revision == COMMIT
    assert all(f"/resolve/{COMMIT}/" in asked.path for asked in hub.asked[1:])


def test_the_second_time_needs_no_network(hub: StubHub, find: Find) -> None:
    hub.add(MODEL, two_shards())
    first = find(MODEL)
    asked = len(hub.asked)

    assert find(MODEL) == first
    assert len(hub.asked) == asked
    assert find(MODEL, COMMIT) == first


def test_a_branch_is_looked_up_again_after_a_day(hub: StubHub, find: Find, tmp_path: Path) -> None:
    repository = hub.add(MODEL, one_file())
    find(MODEL)
    make_old(tmp_path)
    repository.commit = "f" * 40

    assert find(MODEL).revision == "f" * 40


def test_what_was_known_of_a_branch_serves_where_the_hub_is_gone(hub: StubHub, find: Find, tmp_path: Path) -> None:
    hub.add(MODEL, one_file())
    first = find(MODEL)
    make_old(tmp_path)
    hub.faults = [Fault(502, {"Retry-After": "0"})] * 4

    again = find(MODEL)

    assert again.config == first.config
    assert again.notes == (f"the hub could not be asked: {hub.host} answers with HTTP 502",)


def test_a_damaged_file_of_kept_facts_is_read_from_the_hub_again(hub: StubHub, find: Find, tmp_path: Path) -> None:
    hub.add(MODEL, one_file())
    first = find(MODEL)
    kept = tmp_path / f".pmpctl/cache/facts/some-owner--Some.Model-8B@{COMMIT}.json"
    kept.write_text(kept.read_text()[:-20])

    assert find(MODEL) == first
    assert json.loads(kept.read_text())["revision"] == COMMIT


def test_facts_that_cannot_be_kept_are_used_and_the_reason_is_said(hub: StubHub, find: Find, tmp_path: Path) -> None:
    hub.add(MODEL, one_file())
    (tmp_path / ".pmpctl").mkdir()
    (tmp_path / ".pmpctl/cache").write_text("in the way")

    facts = find(MODEL)

    assert facts.weights_bytes == 4096
    assert "could not be kept" in facts.notes[0]


def test_facts_that_no_file_can_hold_are_used_all_the_same(hub: StubHub, find: Find) -> None:
    hub.add(MODEL, {**one_file(), "config.json": rb'{"half": "\ud800"}'})

    facts = find(MODEL)

    assert facts.config == {"half": "\ud800"}
    assert "could not be kept" in facts.notes[0]


def test_a_model_that_was_renamed_is_found_by_its_old_name(hub: StubHub, find: Find) -> None:
    hub.add("new-owner/Model", one_file())
    hub.add(MODEL, one_file()).renamed_to = "new-owner/Model"

    assert find(MODEL).weights_bytes == 4096


def test_the_token_opens_a_gated_model_and_reaches_the_hub_alone(hub: StubHub, find: Find) -> None:
    hub.known_tokens = {TOKEN}
    hub.add(MODEL, two_shards()).gate = TOKEN

    assert find(MODEL, HF_TOKEN=TOKEN).weights_bytes == 6 << 20
    assert {asked.authorization for asked in hub.asked} == {f"Bearer {TOKEN}"}
    assert {asked.authorization for asked in hub.asked_of_store} == {None}


def test_the_token_is_never_logged(hub: StubHub, find: Find, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    hub.known_tokens = {TOKEN}
    hub.add(MODEL, one_file())

    find(MODEL, HF_TOKEN=TOKEN)

    assert "HTTP Request" in caplog.text
    assert TOKEN not in caplog.text


def test_a_proxy_of_the_environment_is_used(hub: StubHub, find: Find, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", hub.url)
    monkeypatch.setenv("NO_PROXY", "localhost")
    hub.add(MODEL, one_file())

    assert find(MODEL, HF_ENDPOINT="http://hub.invalid").source == "the hub (hub.invalid)"


def test_weights_without_an_index_are_counted_together(hub: StubHub, find: Find) -> None:
    files = two_shards()
    del files["model.safetensors.index.json"]
    hub.add(MODEL, {**files, "other/extra.safetensors": b"not at the top"})

    assert find(MODEL).weights_bytes == 6 << 20


def test_a_tensor_that_two_files_hold_counts_once(hub: StubHub, find: Find) -> None:
    hub.add(MODEL, {**one_file(), "copy.safetensors": one_file()["model.safetensors"]})

    assert find(MODEL).weights_bytes == 4096


def test_of_two_copies_of_the_weights_one_is_counted(hub: StubHub, find: Find) -> None:
    mistral = safetensors({"tok_embeddings.weight": ("BF16", [64, 32]), "output.weight": ("BF16", [64, 32])})
    hub.add(MODEL, {**one_file(), "consolidated.safetensors": mistral})

    assert sizes(find(MODEL)) == {"tok_embeddings.weight": 4096, "output.weight": 4096}


def test_files_that_the_index_does_not_name_are_left_out(hub: StubHub, find: Find) -> None:
    hub.add(MODEL, {**two_shards(), "extra.safetensors": one_file()["model.safetensors"]})

    assert find(MODEL).weights_bytes == 6 << 20


def test_shards_that_are_not_in_the_repository_are_noted_and_the_total_taken_from_the_index(
    hub: StubHub, find: Find
) -> None:
    files = two_shards()
    del files[SHARDS[1]]
    hub.add(MODEL, files)

    facts = find(MODEL)

    assert (facts.tensors, facts.weights_bytes) == (None, 6 << 20)
    assert facts.notes == (f"1 of 2 weight files are not in {MODEL} on the hub",)


def test_tensors_that_are_in_no_file_are_noted(hub: StubHub, find: Find) -> None:
    hub.add(
        MODEL, {**one_file(), "model.safetensors.index.json": index({"model.safetensors": ["embed.weight", "gone"]})}
    )

    assert find(MODEL).notes == ("1 tensors that its index names are in no file",)


def test_a_quantization_that_has_a_file_of_its_own_is_part_of_the_configuration(hub: StubHub, find: Find) -> None:
    quantization = {"quantization": {"quant_algo": "FP8", "kv_cache_quant_algo": "FP8"}}
    hub.add(MODEL, {**one_file(), "hf_quant_config.json": json.dumps(quantization).encode()})

    assert find(MODEL).config == {**CONFIG, "quantization_config": quantization}


def make_old(workspace: Path) -> None:
    (kept,) = (workspace / ".pmpctl/cache/facts").glob("*.commit")
    two_days_ago = kept.stat().st_mtime - 2 * 24 * 3600
    os.utime(kept, (two_days_ago, two_days_ago))
