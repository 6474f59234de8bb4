"""The token of a smoke run: taken from where it is safe, and shown nowhere."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.cli import PMPCTL, pmpctl
from tests.support import eventually, find_free_port
from tests.unit.smoke.zoo.api import TOKEN, WellBehaved
from tests.unit.smoke.zoo.faults_of_service import EchoesToken, NeverAnswers
from tests.unit.smoke.zoo.serving import served

SMOKE_FAILED = 7
WRONG_USE = 2


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text(f"{TOKEN}\n")
    path.chmod(0o600)
    return path


@pytest.fixture(scope="module")
def good_url() -> Iterator[str]:
    with served(WellBehaved()) as url:
        yield url


@pytest.fixture(scope="module")
def echoing_url() -> Iterator[str]:
    """Its errors quote the headers of the request, with the token in them."""
    with served(EchoesToken()) as url:
        yield url


def test_a_token_from_a_file_is_taken(good_url: str, token_file: Path) -> None:
    done = pmpctl("smoke", "--url", good_url, "--token-file", str(token_file))
    assert done.returncode == 0, done.stdout + done.stderr
    assert TOKEN not in done.stdout + done.stderr


def test_a_token_from_standard_input_is_taken(good_url: str) -> None:
    done = subprocess.run(
        [PMPCTL, "smoke", "--url", good_url, "--token-file", "-"],
        input=f"{TOKEN}\n",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert TOKEN not in done.stdout + done.stderr


def test_a_token_from_the_environment_is_taken(good_url: str) -> None:
    done = pmpctl("smoke", "--url", good_url, PMPCTL_TOKEN=TOKEN)
    assert done.returncode == 0, done.stdout + done.stderr
    assert TOKEN not in done.stdout + done.stderr


@pytest.mark.parametrize("how", [[], ["--json"], ["--debug"], ["--quiet"]], ids=["table", "json", "debug", "quiet"])
def test_a_server_that_quotes_the_token_does_not_make_us_show_it(
    echoing_url: str, how: list[str], tmp_path: Path
) -> None:
    junit = tmp_path / "smoke.xml"
    done = pmpctl("smoke", "--url", echoing_url, "--junit", str(junit), *how, PMPCTL_TOKEN=TOKEN)
    assert done.returncode == SMOKE_FAILED, done.stdout + done.stderr
    assert TOKEN not in done.stdout + done.stderr + junit.read_text()
    assert "Invalid header" in junit.read_text()


def test_a_traceback_does_not_show_the_token(good_url: str, tmp_path: Path) -> None:
    """The crash is put in from outside, where a request is under way."""
    (tmp_path / "sitecustomize.py").write_text(
        "import httpx\n"
        "def crash(self, *args, **kwargs):\n"
        "    raise RuntimeError(f'crashed with {kwargs}')\n"
        "httpx.Client.stream = crash\n"
    )
    done = pmpctl("--debug", "smoke", "--url", good_url, PMPCTL_TOKEN=TOKEN, PYTHONPATH=str(tmp_path))
    assert done.returncode == 1
    assert "crashed with" in done.stderr
    assert TOKEN not in done.stdout + done.stderr


def test_the_official_clients_log_no_token_whatever_the_environment_wants_logged(good_url: str) -> None:
    how = ("--debug", "smoke", "--clients", "--url", good_url)
    done = pmpctl(*how, PMPCTL_TOKEN=TOKEN, OPENAI_LOG="debug", ANTHROPIC_LOG="debug")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Client openai: an answer" in done.stdout
    assert TOKEN not in done.stdout + done.stderr


def test_no_process_carries_the_token_in_its_arguments(token_file: Path) -> None:
    with served(NeverAnswers()) as url:
        running = subprocess.Popen(
            [PMPCTL, "smoke", "--url", url, "--token-file", token_file],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            process = psutil.Process(running.pid)
            eventually(lambda: process.net_connections())
            for each in (process, *process.children(recursive=True)):
                assert TOKEN not in " ".join(each.cmdline())
        finally:
            running.kill()
            running.wait()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"\n\n", "empty"),
        (b"first-token\nsecond-token\n", "line"),
        (b"zoo token with spaces", "space"),
        ("schlüssel-zum-zoo".encode(), "characters"),
        (b"\xff\xfe\x00binary", "text"),
        (b"x" * 1_000_000, "long"),
    ],
    ids=["empty", "blank", "two lines", "spaces", "letters of its own", "binary", "very long"],
)
def test_a_malformed_token_file_is_refused_with_what_is_wrong(
    good_url: str, tmp_path: Path, content: bytes, words: str
) -> None:
    path = tmp_path / "token"
    path.write_bytes(content)
    done = pmpctl("smoke", "--json", "--url", good_url, "--token-file", str(path))
    assert done.returncode == WRONG_USE, done.stdout + done.stderr
    (error,) = json.loads(done.stdout)["errors"]
    assert words in error["message"].lower() + error["cure"].lower()
    assert str(path) in error["message"]
    shown = done.stdout + done.stderr
    assert not content.strip() or content.decode(errors="replace").strip()[:20] not in shown


@pytest.mark.parametrize("how", ["option", "environment"])
@pytest.mark.parametrize(
    ("token", "words"),
    [
        ("first-token\r\nX-Header: second-token", "has more than one line"),
        ("zoo token with spaces", "has a space"),
        ("schl\u00fcssel-zum-zoo", "has characters that no token has"),
        # A byte that is no character.
        ("zoo-token-\udcff", "has characters that no token has"),
        (" \n", "is empty"),
    ],
    ids=["two lines", "spaces", "letters of its own", "bytes", "blank"],
)
def test_a_malformed_token_is_refused_without_being_shown(how: str, token: str, words: str) -> None:
    address = ("--url", f"http://127.0.0.1:{find_free_port()}")
    if how == "option":
        done, named = pmpctl("smoke", *address, "--token", token), "the token on the command line"
    else:
        done, named = pmpctl("smoke", *address, PMPCTL_TOKEN=token), "PMPCTL_TOKEN"
    assert done.returncode == WRONG_USE, done.stdout + done.stderr
    assert f"error: {named} {words}" in done.stderr
    assert not token.strip() or token[:9] not in done.stdout + done.stderr


def test_a_token_with_a_line_s_end_in_the_environment_is_taken(good_url: str) -> None:
    assert pmpctl("smoke", "--url", good_url, PMPCTL_TOKEN=f"{TOKEN}\r\n").returncode == 0


def test_the_option_goes_before_the_environment_and_the_file_too(good_url: str, token_file: Path) -> None:
    for how in (("--token", TOKEN), ("--token-file", str(token_file))):
        assert pmpctl("smoke", "--url", good_url, *how, PMPCTL_TOKEN="nobodys-token").returncode == 0
    both = pmpctl("smoke", "--url", good_url, "--token", TOKEN, "--token-file", str(token_file))
    assert both.returncode == WRONG_USE
    assert TOKEN not in both.stdout + both.stderr


def test_a_token_file_that_is_missing_is_named(good_url: str, tmp_path: Path) -> None:
    done = pmpctl("smoke", "--url", good_url, "--token-file", str(tmp_path / "nowhere"))
    assert done.returncode == WRONG_USE
    assert "nowhere" in done.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_a_token_file_that_may_not_be_read_is_named(good_url: str, token_file: Path) -> None:
    token_file.chmod(0)
    done = pmpctl("smoke", "--url", good_url, "--token-file", str(token_file))
    assert done.returncode == WRONG_USE
    assert str(token_file) in done.stderr
