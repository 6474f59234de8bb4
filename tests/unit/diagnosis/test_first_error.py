"""The lines that a person should read first when an engine did not start."""

from pmpctl.diagnosis.first_error import first_error_lines

KV_TOO_SMALL = """\
(APIServer pid=12) INFO 11-23 02:10:11 [api_server.py:1971] vLLM API server version 0.32.0
(EngineCore pid=50) INFO 11-23 02:10:31 [core.py:93] Initializing a V1 LLM engine (v0.32.0)
(EngineCore pid=50) ERROR 11-23 02:11:02 [core.py:708] EngineCore failed to start.
(EngineCore pid=50) ERROR 11-23 02:11:02 [core.py:708] Traceback (most recent call last):
(EngineCore pid=50) ERROR 11-23 02:11:02 [core.py:708]   File "/x/core.py", line 699, in run_engine_core
(EngineCore pid=50) ERROR 11-23 02:11:02 [core.py:708]     engine_core = EngineCoreProc(*args, **kwargs)
(EngineCore pid=50) ERROR 11-23 02:11:02 [core.py:708] ValueError: To serve at least one request with the model's max \
seq len (32768), (0.06 GiB KV cache is needed, which is larger than the available KV cache memory (0.01 GiB).
(EngineCore pid=50) Process EngineCore:
(EngineCore pid=50) Traceback (most recent call last):
(EngineCore pid=50) ValueError: To serve at least one request with the model's max seq len (32768)
(APIServer pid=12) Traceback (most recent call last):
(APIServer pid=12) RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}
"""


def test_the_root_cause_is_shown_and_not_the_echo_at_the_end() -> None:
    lines = first_error_lines(KV_TOO_SMALL.splitlines())

    assert lines[0].startswith("ValueError: To serve at least one request with the model's max seq len (32768)")
    assert not any("Engine core initialization failed" in line for line in lines)


def test_a_refused_argument_is_shown_without_the_usage_text() -> None:
    log = "usage: vllm serve [model_tag] [options]\n\nvllm: error: unrecognized arguments: --no-such-flag\n"

    assert first_error_lines(log.splitlines()) == ("vllm: error: unrecognized arguments: --no-such-flag",)


def test_the_reason_of_a_configuration_error_follows_its_headline() -> None:
    log = """\
(APIServer pid=9) Traceback (most recent call last):
(APIServer pid=9) pydantic_core._pydantic_core.ValidationError: 1 validation error for ModelConfig
(APIServer pid=9)   Value error, User-specified max_model_len (999999) is greater than the derived max_model_len
(APIServer pid=9)     For further information visit the docs
"""
    lines = first_error_lines(log.splitlines())

    assert lines[0].endswith("1 validation error for ModelConfig")
    assert "max_model_len (999999) is greater" in lines[1]


def test_a_log_without_an_exception_shows_its_last_lines() -> None:
    assert first_error_lines(["one", "", "two"]) == ("one", "two")


def test_an_empty_log_shows_nothing() -> None:
    assert first_error_lines([]) == ()


def test_colours_and_redrawn_progress_do_not_hide_an_error() -> None:
    log = ["Loading shards: 10%\rLoading shards: 20%\r\x1b[31mtorch.OutOfMemoryError: CUDA out of memory.\x1b[0m"]

    assert first_error_lines(log) == ("torch.OutOfMemoryError: CUDA out of memory.",)
