import re
from typing import Any

import pytest

from pmpctl.vram.kv_cache import KvLayout
from tests.unit.vram.oracle import cases, described, model_and_layout

POOLS = {"1GiB": 1 << 30, "10GiB": 10 << 30}

every_row_and_mode = pytest.mark.parametrize(
    ("row", "mode", "said"), cases("vllm-oracle.jsonl", "vllm-oracle-more.jsonl")
)


@every_row_and_mode
def test_every_model_of_the_oracle_is_known(row: Any, mode: str, said: Any) -> None:
    model, _ = model_and_layout(row, mode, said)

    assert model.known, model.unknown_reason


@every_row_and_mode
def test_groups_are_those_vllm_forms(row: Any, mode: str, said: Any) -> None:
    _, layout = model_and_layout(row, mode, said)

    tokens, in_flight = said["max_model_len"], layout.settings.in_flight_tokens
    assert [described(group, tokens, in_flight) for group in layout.groups] == said["groups"]
    assert layout.bytes_per_block == said["pool_bytes_per_block"]


@every_row_and_mode
def test_bytes_of_a_token_and_of_a_request_of_each_length_are_vllms(row: Any, mode: str, said: Any) -> None:
    _, layout = model_and_layout(row, mode, said)

    if "kv_bytes_per_token" in said:
        assert layout.bytes_per_token == said["kv_bytes_per_token"]
    assert {length: layout.bytes_of_request(int(length)) for length in said["one_request_bytes_by_len"]} == said[
        "one_request_bytes_by_len"
    ]
    assert layout.bytes_of_request(said["max_model_len"]) == said["one_request_bytes"]
    assert layout.bytes_to_start(said["max_model_len"]) == said["one_request_bytes_incl_null_block"]


@every_row_and_mode
def test_pools_hold_what_vllm_says(row: Any, mode: str, said: Any) -> None:
    model, layout = model_and_layout(row, mode, said)

    for size, pool in said["pools"].items():
        check_pool(layout, POOLS[size], pool, said["max_model_len"])
        if "num_blocks_raw" in pool:
            assert layout.pool(POOLS[size]).blocks == pool["num_blocks_raw"]
            assert model.context_limit is not None
            assert layout.largest_context(POOLS[size], model.context_limit) == pool["est_max_len_cap_native"]
    for size, pool in said.get("pools_len8192", {}).items():
        check_pool(layout, POOLS[size], pool, min(8192, said["max_model_len"]))


def check_pool(layout: KvLayout, available_bytes: int, said: Any, tokens: int) -> None:
    if "error" in said:
        estimated = re.search(r"estimated maximum model length is (\d+)", said["error"])
        assert layout.largest_context(available_bytes, tokens) == (int(estimated[1]) if estimated else 0)
        assert layout.bytes_to_start(tokens) > available_bytes
        return
    pool = layout.pool(available_bytes)
    concurrency = layout.concurrency(pool.blocks, tokens)
    assert (pool.blocks, concurrency, int(concurrency * tokens)) == (
        said["num_blocks"],
        said["concurrency"],
        said["tokens"],
    )
    assert layout.bytes_to_start(tokens) <= available_bytes
    if tokens == layout.settings.max_model_len:
        assert (pool.concurrency, pool.printed_tokens) == (said["concurrency"], said["tokens"])
