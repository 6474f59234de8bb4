"""`pmpctl bench` against the real vLLM behind the real gateway."""

import json
from pathlib import Path

import pytest

from tests.cli import pmpctl
from tests.e2e.conftest import TOKEN
from tests.e2e.engine import CONTEXT_TOKENS, Engine
from tests.unit.gateway.gateway_process import GatewayProcess

pytestmark = [pytest.mark.vllm, pytest.mark.slow, pytest.mark.timeout(900)]


def test_prompts_and_answers_have_exactly_the_tokens_asked_for(
    guarded_gateway: GatewayProcess, engine: Engine, tmp_path: Path
) -> None:
    lengths = ("--prompt-tokens", "100,333", "--output-tokens", "40", "--concurrency", "1,4", "--requests", "4")
    done = pmpctl(
        "bench",
        "--url",
        f"{guarded_gateway.url}/v1",
        *lengths,
        "--json",
        cwd=tmp_path,
        timeout_seconds=300,
        PMPCTL_TOKEN=TOKEN,
    )

    found = json.loads(done.stdout.splitlines()[-1])["data"]
    assert done.returncode == 0, done.stdout
    assert (found["exact_output"], found["max_model_len"]) == (True, CONTEXT_TOKENS)
    for level in found["levels"]:
        wanted = level["level"]
        assert (level["answered"], level["errors"]) == (4, {})
        assert level["prompt_tokens"] == {"least": wanted["prompt_tokens"], "most": wanted["prompt_tokens"]}
        assert level["output_tokens"] == {"least": 40, "most": 40}
        assert 0 < level["first_token"]["p50_ms"] <= level["whole"]["p50_ms"]
        assert level["output_tokens_per_second"] > 0
    assert [each["level"]["prompt_tokens"] for each in found["levels"]] == [100, 100, 333, 333]
    assert TOKEN not in done.stdout + done.stderr
    assert not engine.is_at_work()
