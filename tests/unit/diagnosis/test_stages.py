"""How far the engine's start has come, from what vLLM prints on CPU and on CUDA."""

import pytest

from pmpctl.diagnosis.stages import read_stage


@pytest.mark.parametrize(
    ("line", "phase", "percent"),
    [
        ("(APIServer pid=1) INFO 11-23 02:10:11 [api_server.py:9] vLLM API server version 0.32.0", "boot", None),
        ("(EngineCore pid=5) INFO 11-23 02:10:31 [gpu_model_runner.py:2602] Starting to load model x...", "load", None),
        ("Loading safetensors checkpoint shards:  25% Completed | 1/4 [00:01<00:03,  1.0s/it]", "load", 25),
        ("(EngineCore pid=5) Loading safetensors checkpoint shards: 100% Completed | 4/4", "load", 100),
        ("INFO 11-23 02:10:40 [gpu_model_runner.py:2653] Model loading took 18.14 GiB and 12 seconds", "profile", None),
        ("INFO 11-23 02:10:40 [default_loader.py:267] Loading weights took 0.01 seconds", "profile", None),
        ("INFO 11-23 02:10:50 [gpu_worker.py:298] Available KV cache memory: 2.73 GiB", "warm-up", None),
        ("INFO 11-23 02:10:51 [kv_cache_utils.py:1087] CPU KV cache size: 1,048,576 tokens", "warm-up", None),
        ("Capturing CUDA graphs (mixed prefill-decode, PIECEWISE):  50%|█████     | 3/6", "graphs", 50),
        ("INFO 11-23 02:10:55 [core.py:210] init engine (profile, create kv cache) took 42.07 s", "warm-up", None),
        ("(APIServer pid=1) INFO:     Application startup complete.", "ready", None),
    ],
)  # fmt: skip
def test_a_line_tells_the_phase(line: str, phase: str, percent: int | None) -> None:
    stage = read_stage(line)

    assert stage is not None
    assert (stage.phase, stage.percent) == (phase, percent)


def test_other_lines_tell_nothing() -> None:
    assert read_stage("INFO 11-23 02:10:11 [loggers.py:4] Engine 000: Avg prompt throughput: 0.0 tokens/s") is None
