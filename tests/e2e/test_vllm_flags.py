"""The lists of allowed and refused arguments, held against the parser of the vLLM that the default images hold."""

from pathlib import Path
from typing import Any, get_args

import pytest

from pmpctl.profiles.model import Dtype, KvCacheDtype
from pmpctl.profiles.vllm_flags import LISTS, REFUSED, REFUSED_FAMILIES, SWITCHES, VALUES
from tests.e2e.ask_vllm import ask_vllm

pytestmark = pytest.mark.vllm

# Arguments of older releases, which old profile files may still hold.
GONE = {
    "--disable-log-requests",
    "--guided-decoding-backend",
    "--max-seq-len-to-capture",
    "--rope-scaling",
    "--rope-theta",
    "--swap-space",
    "--task",
}


@pytest.fixture(scope="module")
def vllm(vllm_program: Path) -> Any:
    return ask_vllm(vllm_program, "vllm_flags.py")


def test_vllm_has_every_allowed_argument_and_reads_as_many_values(vllm: dict[str, Any]) -> None:
    ours = dict.fromkeys(SWITCHES, "switch") | dict.fromkeys(VALUES, "value") | dict.fromkeys(LISTS, "list")
    assert {flag: vllm["flags"].get(flag) for flag in ours} == ours


def test_what_is_refused_exists_but_for_what_older_releases_had(vllm: dict[str, Any]) -> None:
    assert REFUSED.keys() - vllm["flags"].keys() == GONE
    for start in REFUSED_FAMILIES:
        assert any(flag.startswith(start) for flag in vllm["flags"]), start


def test_the_fixed_words_of_a_profile_are_vllms_own(vllm: dict[str, Any]) -> None:
    assert set(get_args(KvCacheDtype)) == set(vllm["choices"]["--kv-cache-dtype"])
    assert set(get_args(Dtype)) == set(vllm["choices"]["--dtype"])
