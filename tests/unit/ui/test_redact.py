import time
from io import StringIO

import pytest

from pmpctl.errors import DockerNotAvailable
from pmpctl.operations.events import Event, Notice, Operation, PhaseFinished, PhaseProgress, PhaseStarted
from pmpctl.ui.console import Ui
from pmpctl.ui.redact import Redactor, Revealed
from pmpctl.ui.terminal import Writer
from tests.terminal import on_a_terminal

CANARY = "canary-0f3a9c77-do-not-print"


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("token hf_AbCdEfGhIjKlMnOpQrStUvWx in use", "AbCdEfGhIjKl"),
        ("Authorization: Bearer abc", "abc"),
        ("authorization: Basic dXNlcjpwYXNz trailing", "dXNlcjpwYXNz"),
        ("{'Authorization': 'Bearer my secret words'}", "secret words"),
        ('{"x-api-key": "k1"}', "k1"),
        ("X-API-Key: k1-k2", "k1-k2"),
        ("sent Bearer opaque-token, got 401", "opaque-token"),
        ("key sk-proj-1234_abcd is wrong", "1234_abcd"),
        ('{"tokens": ["a", "b-c"], "enabled": true}', "b-c"),
        ("{'tokens': ['first',\n 'second']}", "second"),
        ("HF_TOKEN=abc vllm serve", "=abc"),
        ("""'MY_API_KEY': 'abc'""", "abc"),
        ("vllm serve m --api-key abc --port 1", " abc"),
        ("vllm serve m --hf-token=abc", "=abc"),
        ("pull from https://user:pass@registry.example/v2", "pass"),
        ("pull from https://onlytoken@registry.example/v2", "onlytoken"),
        ("pull from https://user:p@ss@registry.example/v2", "ss@"),
        ("proxy socks5://user:p@ss@proxy.example:1080", "p@ss"),
        ("GET https://cdn.example/file?X-Amz-Signature=abc123&x=1", "abc123"),
        ("GET https://cdn.example/file?a=1&access_token=abc123", "abc123"),
    ],
)
def test_what_looks_like_a_secret_is_masked(text: str, secret: str) -> None:
    redacted = Redactor().text(text)

    assert secret not in redacted
    assert "***" in redacted


@pytest.mark.parametrize(
    "text",
    [
        "the hf_transfer package and --hf-overrides",
        "create a Bearer token with `pmpctl token add`; Bearer tokens are shown once",
        "http://127.0.0.1:8000/v1/models",
        "DOCKER_HOST=ssh://alice@gpu-box",
        "max_tokens: [1, 2] and prompt_tokens=5",
        "the disk-usage-of-this-task-is-large",
        "mail me at alice@example.org or see https://example.org/?mail=alice@example.org",
        "Qwen/Qwen2.5-Coder-32B-Instruct-AWQ",
        """curl URL -H "Authorization: Bearer $TOKEN" -H 'x-api-key: ${KEY}' -d '{"model": "llm"}'""",
        "set HF_TOKEN=<your token>, or HF_TOKEN=$HF_TOKEN pmpctl up, or --api-key $KEY",
        "vllm/vllm-openai@sha256:0123456789abcdef",
    ],
)
def test_ordinary_text_stays_as_it_is(text: str) -> None:
    assert Redactor().text(text) == text


def test_a_registered_secret_is_masked_also_inside_words_and_urls() -> None:
    redactor = Redactor()
    redactor.register("pa/ss word")

    assert redactor.text("xpa/ss wordx and ?q=pa%2Fss%20word") == "x***x and ?q=***"


def test_colours_inside_a_secret_do_not_hide_it() -> None:
    stream = StringIO()

    Writer(stream, Redactor([CANARY])).line(f"is {CANARY[:9]}\x1b[1m{CANARY[9:]}\x1b[0m")

    assert stream.getvalue() == "is ***\n"


@pytest.mark.parametrize(
    "piece", ["a", "A", "hf_", "--token", "Bearer ", "authorization ", "http://", "x://a:", "?a-", "tokens: [", "\x1b]"]
)
def test_a_line_of_a_megabyte_is_redacted_at_once(piece: str) -> None:
    long_line = piece * (1_000_000 // len(piece))
    began = time.monotonic()

    Writer(StringIO(), Redactor()).line(long_line)

    assert time.monotonic() - began < 10


def test_of_two_registered_secrets_the_longer_is_masked_whole() -> None:
    assert Redactor(["secret-one", "secret-one-and-two"]).text("is secret-one-and-two") == "is ***"


def test_the_one_secret_that_a_command_is_there_to_show_passes_and_its_neighbours_do_not() -> None:
    redactor = Redactor([CANARY])
    assert redactor.data({"token": Revealed(CANARY), "old_token": "x", "said": f"made {CANARY}"}) == {
        "token": CANARY,
        "old_token": "***",
        "said": "made ***",
    }


def test_variables_named_like_secrets_are_registered_from_the_environment() -> None:
    redactor = Redactor.from_environment({"HF_TOKEN": "abcdefgh", "DB_PASSWORD": "12345678", "PATH": "/usr/bin"})

    assert redactor.text("abcdefgh 12345678 /usr/bin") == "*** *** /usr/bin"


def test_a_variable_that_is_no_text_is_masked_like_any_other() -> None:
    redactor = Redactor.from_environment({"DB_PASSWORD": "gr\udcfcn-wie-gras"})
    assert redactor.text("gr\udcfcn-wie-gras and gr%FCn-wie-gras") == "*** and ***"


def test_data_keeps_its_shape_and_numbers_and_loses_its_secrets() -> None:
    data = {
        "token": "abc",
        "api_key": None,
        "tokens": ["a", "b"],
        "usage": {"tokens": 5, "prompt_tokens": 7},
        "names": [{"tokens": [{"name": "alice"}]}],
        "argv": ["--x", "Bearer abcdef"],
    }

    assert Redactor().data(data) == {
        "token": "***",
        "api_key": None,
        "tokens": ["***", "***"],
        "usage": {"tokens": 5, "prompt_tokens": 7},
        "names": [{"tokens": [{"name": "alice"}]}],
        "argv": ["--x", "Bearer ***"],
    }


def leaky() -> Operation[None]:
    def event(kind: type[Event], *values: object) -> Event:
        return kind(*values)  # type: ignore[arg-type]

    yield event(PhaseStarted, "pull", f"Pull with {CANARY}")
    yield event(PhaseProgress, "pull", f"layer {CANARY}", 90, 100)
    yield event(Notice, "info", f"note {CANARY}")
    yield event(Notice, "warning", f"warning {CANARY}")
    yield event(PhaseFinished, "pull", 1.0, f"done {CANARY}")
    yield event(PhaseStarted, "start", f"Start with {CANARY}")
    raise RuntimeError(f"failed with {CANARY}")


@pytest.mark.parametrize("json_output", [False, True], ids=["words", "json"])
def test_no_way_of_printing_lets_a_registered_secret_through(
    json_output: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", CANARY)
    out, err = StringIO(), StringIO()
    ui = Ui(json_output, debug=True, stdout=out, stderr=err)

    try:
        ui.run(leaky())
    except RuntimeError as error:
        ui.fail("up", error)
    ui.fail("up", DockerNotAvailable(f"no {CANARY}", cure=f"use {CANARY}", details=[f"at {CANARY}"]))
    ui.item("log", {"text": CANARY, CANARY: 1}, f"line {CANARY}")
    ui.frame("status", {"text": CANARY}, lambda writer: writer.line(CANARY))
    ui.result("show", {"nested": [{"value": CANARY}]}, lambda writer: writer.table(["KEY"], [[CANARY]]))
    ui.table(["KEY"], [[CANARY]])

    printed = out.getvalue() + err.getvalue()
    assert CANARY not in printed
    assert printed.count("***") >= 13


def test_a_secret_does_not_reach_a_terminal_either() -> None:
    printed = on_a_terminal(_TERMINAL_PROGRAM, HF_TOKEN=CANARY)

    assert "Pull with ***" in printed
    assert "failed with ***" in printed
    assert CANARY not in printed


_TERMINAL_PROGRAM = """
import os
from pmpctl.operations.events import Notice, PhaseFinished, PhaseProgress, PhaseStarted
from pmpctl.ui.console import Ui
secret = os.environ["HF_TOKEN"]
def leaky():
    yield PhaseStarted("pull", f"Pull with {secret}")
    yield PhaseProgress("pull", f"layer {secret}", 90, 100)
    yield Notice("warning", f"warning {secret}")
    yield PhaseFinished("pull", 1.0, f"done {secret}")
    yield PhaseStarted("start", f"Start with {secret}")
    raise RuntimeError(f"failed with {secret}")
ui = Ui(debug=True)
try:
    ui.run(leaky())
except RuntimeError as error:
    ui.fail("up", error)
"""
