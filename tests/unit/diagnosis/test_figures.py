"""Lines as releases of vLLM print them; numbers from starts that were logged."""

from pmpctl.diagnosis.figures import EngineFigures, read_figures

V0 = """\
INFO 11-20 23:12:01 api_server.py:585] vLLM API server version 0.6.4
INFO 11-20 23:12:31 model_runner.py:1077] Loading model weights took 14.9888 GB
INFO 11-20 23:12:41 worker.py:232] Memory profiling results: total_gpu_memory=23.58GiB initial_memory_usage=15.35GiB \
peak_torch_memory=17.06GiB memory_usage_post_profile=15.38GiB non_torch_memory=0.35GiB kv_cache_size=3.81GiB \
gpu_memory_utilization=0.90
INFO 11-20 23:12:41 gpu_executor.py:113] # GPU blocks: 1952, # CPU blocks: 2048
INFO 11-20 23:12:41 gpu_executor.py:117] Maximum concurrency for 20000 tokens per request: 1.56x
INFO 11-20 23:13:05 model_runner.py:1518] Graph capturing finished in 24 secs, took 0.61 GiB
""".splitlines()

V0_LATE = """\
INFO 04-10 10:00:00 [api_server.py:1034] vLLM API server version 0.8.3
INFO 04-10 10:00:21 [model_runner.py:1146] Model loading took 14.9888 GB and 5.120931 seconds
INFO 04-10 10:00:26 [worker.py:267] Memory profiling takes 3.86 seconds
INFO 04-10 10:00:26 [worker.py:267] the current vLLM instance can use total_gpu_memory (23.58GiB) x \
gpu_memory_utilization (0.90) = 21.22GiB
INFO 04-10 10:00:26 [worker.py:267] model weights take 14.99GiB; non_torch_memory takes 0.35GiB; PyTorch activation \
peak memory takes 2.07GiB; the rest of the memory reserved for KV Cache is 3.81GiB.
INFO 04-10 10:00:26 [executor_base.py:112] # cuda blocks: 1952, # CPU blocks: 2048
""".splitlines()

V1_TWO_RANKS = """\
(APIServer pid=1) INFO 09-02 08:00:00 [api_server.py:1896] vLLM API server version 0.10.2
(EngineCore_DP0 pid=80) INFO 09-02 08:00:09 [core.py:76] Initializing a V1 LLM engine (v0.10.2) with config: model='m'
(Worker_TP0 pid=90) INFO 09-02 08:01:00 [gpu_model_runner.py:2392] Model loading took 9.1200 GiB and 21.5 seconds
(Worker_TP1 pid=91) INFO 09-02 08:01:00 [gpu_model_runner.py:2392] Model loading took 9.1300 GiB and 21.6 seconds
(Worker_TP0 pid=90) INFO 09-02 08:01:30 [gpu_worker.py:298] Available KV cache memory: 8.11 GiB
(Worker_TP1 pid=91) INFO 09-02 08:01:30 [gpu_worker.py:298] Available KV cache memory: 8.05 GiB
(EngineCore_DP0 pid=80) INFO 09-02 08:01:31 [kv_cache_utils.py:864] GPU KV cache size: 178,880 tokens
(EngineCore_DP0 pid=80) INFO 09-02 08:01:31 [kv_cache_utils.py:868] Maximum concurrency for 32,768 tokens per request: \
5.46x
(EngineCore_DP0 pid=80) INFO 09-02 08:01:31 [kv_cache_utils.py:864] GPU KV cache size: 178,560 tokens
(EngineCore_DP0 pid=80) INFO 09-02 08:01:31 [kv_cache_utils.py:868] Maximum concurrency for 32,768 tokens per request: \
5.45x
(Worker_TP0 pid=90) INFO 09-02 08:01:50 [gpu_model_runner.py:3118] Graph capturing finished in 19 secs, took 0.53 GiB
""".splitlines()

NOW_ON_CUDA = """\
(APIServer pid=1) INFO 05-01 08:00:00 [api_utils.py:347]   ▄▄ ▄█ █     █     █ ▀▄▀ █  version 0.32.0
(EngineCore pid=80) INFO 05-01 08:01:00 [model_runner.py:424] Model loading took 18.14 GiB memory and 21.504321 seconds
(EngineCore pid=80) INFO 05-01 08:01:20 [gpu_model_runner.py:6474] Estimated CUDA graph memory: 0.62 GiB total
(EngineCore pid=80) INFO 05-01 08:01:30 [gpu_worker.py:760] Available KV cache memory: 2.73 GiB
(EngineCore pid=80) INFO 05-01 08:01:31 [kv_cache_utils.py:2328] GPU KV cache size: 22,352 tokens, Maximum concurrency \
for 20,480 tokens per request: 1.09x
(EngineCore pid=80) INFO 05-01 08:01:50 [model_runner.py:1127] Graph capturing finished in 19 secs, took 0.47 GiB
""".splitlines()

NOW_ON_CPU = """\
(APIServer pid=1) INFO 05-01 08:00:00 [api_utils.py:327] vLLM server version 0.32.0+cpu, serving model tiny
(EngineCore pid=80) INFO 05-01 08:01:30 [cpu_worker.py:244] Explicitly set (1.0/8.84) GiB for KV cache on node 0.
(EngineCore pid=80) INFO 05-01 08:01:31 [kv_cache_utils.py:2328] CPU KV cache size: 1,048,576 tokens, Maximum \
concurrency for 32,768 tokens per request: 32.00x
""".splitlines()

TOO_SMALL = (
    "(EngineCore pid=80) ERROR 05-01 08:01:31 [core.py:1100] ValueError: To serve at least one request with the "
    "model's max seq len (32768), (0.06 GiB KV cache is needed, which is larger than the available KV cache memory "
    "(0.01 GiB). Based on the available memory, the estimated maximum model length is 3968. Try increasing "
    "`gpu_memory_utilization` or decreasing `max_model_len` when initializing the engine."
)


def test_the_first_engine_tells_blocks_and_what_it_profiled() -> None:
    assert read_figures(V0) == EngineFigures(
        version="0.6.4",
        weights_gib=14.9888,
        non_torch_gib=0.35,
        available_kv_gib=3.81,
        block_count=1952,
        concurrency_tokens=20000,
        max_concurrency=1.56,
        graphs_gib=0.61,
    )


def test_its_later_releases_tell_the_activation_peak() -> None:
    figures = read_figures(V0_LATE)

    assert (figures.version, figures.activation_peak_gib, figures.available_kv_gib) == ("0.8.3", 2.07, 3.81)
    assert (figures.weights_gib, figures.block_count) == (14.99, 1952)


def test_of_several_ranks_the_fullest_counts() -> None:
    figures = read_figures(V1_TWO_RANKS)

    assert (figures.version, figures.weights_gib, figures.graphs_gib) == ("0.10.2", 9.13, 0.53)
    assert (figures.available_kv_gib, figures.kv_cache_tokens, figures.max_concurrency) == (8.05, 178560, 5.45)


def test_todays_engine_on_a_gpu() -> None:
    assert read_figures(NOW_ON_CUDA) == EngineFigures(
        version="0.32.0",
        weights_gib=18.14,
        available_kv_gib=2.73,
        kv_cache_tokens=22352,
        concurrency_tokens=20480,
        max_concurrency=1.09,
        graphs_gib=0.47,
        graphs_estimated_gib=0.62,
    )


def test_todays_engine_on_a_cpu_has_what_it_was_given() -> None:
    assert read_figures(NOW_ON_CPU) == EngineFigures(
        version="0.32.0+cpu",
        reserved_kv_gib=1.0,
        kv_cache_tokens=1048576,
        concurrency_tokens=32768,
        max_concurrency=32.0,
    )


def test_a_size_given_on_a_gpu_is_told_apart_from_one_that_was_measured() -> None:
    line = "Initial free memory 78.60 GiB, reserved 4.00 GiB memory for KV Cache as specified by kv_cache_memory_bytes"

    assert read_figures([line]) == EngineFigures(reserved_kv_gib=4.0)


def test_what_was_missing_and_how_much_would_have_fitted() -> None:
    figures = read_figures([TOO_SMALL])

    assert (figures.needed_kv_gib, figures.available_kv_gib, figures.estimated_max_model_len) == (0.06, 0.01, 3968)


def test_the_first_engines_words_for_a_context_that_is_too_long() -> None:
    line = (
        "ValueError: The model's max seq len (29000) is larger than the maximum number of tokens that can be stored in "
        "KV cache (23648). Try increasing `gpu_memory_utilization`"
    )

    assert read_figures([line]).estimated_max_model_len == 23648


def test_a_context_that_the_engine_fitted_itself() -> None:
    line = "Auto-fit max_model_len: reduced from 262144 to 3968 to fit in available KV cache memory (0.01 GiB CPU)"

    assert read_figures([line]).estimated_max_model_len == 3968


def test_of_a_log_with_several_starts_only_the_last_is_read() -> None:
    assert read_figures([*NOW_ON_CUDA, *NOW_ON_CPU]) == read_figures(NOW_ON_CPU)


def test_other_lines_say_nothing() -> None:
    assert (
        read_figures(["", "INFO:     127.0.0.1 - GET /health", "Traceback (most recent call last):"]) == EngineFigures()
    )
