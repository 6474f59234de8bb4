"""`pmpctl smoke` by the real console script: its options, its files, and what Ctrl-C leaves."""

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from tests.cli import PMPCTL, pmpctl
from tests.support import eventually
from tests.unit.smoke.small_server import Reply, serving
from tests.unit.smoke.zoo.api import TOKEN, WellBehaved
from tests.unit.smoke.zoo.exchange import Exchange
from tests.unit.smoke.zoo.faults_of_service import NeverAnswers
from tests.unit.smoke.zoo.serving import served

WRONG_USE = 2
SMOKE_FAILED = 7
INTERRUPTED = 130

PROFILES = """\
[profiles.thinker]
model = "example/thinker"
reasoning_parser = "qwen3"
tool_call_parser = "hermes"
"""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with served(WellBehaved()) as url:
        yield url


def _answer(reply: Reply) -> None:
    reply.json({})


def data_of(done: "subprocess.CompletedProcess[str]") -> dict[str, Any]:
    data = json.loads(done.stdout.splitlines()[-1])["data"]
    assert isinstance(data, dict), done.stdout + done.stderr
    return data


def verdicts_of(done: "subprocess.CompletedProcess[str]") -> dict[str, str]:
    return {check["name"]: check["verdict"] for check in data_of(done)["checks"]}


def test_a_profile_says_which_parsers_the_api_at_an_address_has(url: str, tmp_path: Path) -> None:
    (tmp_path / "profiles.toml").write_text(PROFILES)
    options = ("--json", "--workspace", str(tmp_path), "--profile", "thinker", "--url", url)
    found = verdicts_of(pmpctl("smoke", *options, timeout_seconds=200, PMPCTL_TOKEN=TOKEN))
    assert found["tool-call"] == "pass"
    assert found["reasoning"] != "skipped"


def test_a_profile_that_is_not_there_is_named_before_anything_is_asked(tmp_path: Path) -> None:
    (tmp_path / "profiles.toml").write_text(PROFILES)
    with serving(_answer) as server:
        done = pmpctl("smoke", "--workspace", str(tmp_path), "--url", server.url, "--profile", "dreamer")
    assert done.returncode == WRONG_USE
    assert "dreamer" in done.stderr
    assert server.asked == []


def test_a_profile_without_an_address_has_to_be_there(tmp_path: Path) -> None:
    (tmp_path / "profiles.toml").write_text(PROFILES)
    for profile, words in (("thinker", "no API runs in"), ("dreamer", 'no profile "dreamer"')):
        done = pmpctl("smoke", "--workspace", str(tmp_path), "--profile", profile)
        assert done.returncode == WRONG_USE
        assert words in done.stderr


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("no/such/folder/smoke.xml", "cannot be written"),
        (".", "cannot be written"),
        ("/proc/smoke.xml", "cannot be written"),
        ("-", "stdout is taken"),
    ],
)
def test_a_junit_file_that_cannot_be_written_is_refused_before_anything_is_asked(
    where: str, words: str, tmp_path: Path
) -> None:
    with serving(_answer) as server:
        done = pmpctl("smoke", "--url", server.url, "--junit", where, cwd=tmp_path)
    assert done.returncode == WRONG_USE
    assert words in done.stderr
    assert server.asked == []
    assert list(tmp_path.iterdir()) == []


def test_a_junit_file_has_a_case_for_each_check(url: str, tmp_path: Path) -> None:
    done = pmpctl("smoke", "--json", "--url", url, "--junit", "smoke.xml", cwd=tmp_path, PMPCTL_TOKEN=TOKEN)
    suite = ET.parse(tmp_path / "smoke.xml").getroot()  # noqa: S314 - our own
    cases = {case.get("name"): [child.tag for child in case] for case in suite}
    for name, verdict in verdicts_of(done).items():
        assert cases.pop(name) == (["skipped"] if verdict == "skipped" else [])
    assert cases == {}


def test_an_api_that_hangs_is_given_up_after_one_request_s_time() -> None:
    with served(NeverAnswers()) as url:
        done = pmpctl("smoke", "--json", "--tools", "--timeout", "2", "--url", url, PMPCTL_TOKEN=TOKEN)
    assert done.returncode == SMOKE_FAILED
    verdicts = verdicts_of(done)
    assert [name for name, verdict in verdicts.items() if verdict == "fail"] == ["answer"]
    assert list(verdicts.values()).count("skipped") > len(verdicts) / 2
    assert data_of(done)["checks"][-1]["detail"] == "since answer failed"


class _Counts(WellBehaved):
    asked = 0

    async def chat(self, exchange: Exchange) -> None:
        self.asked += 1
        await super().chat(exchange)


@pytest.mark.parametrize("how", [[], ["--json"]], ids=["table", "json"])
def test_ctrl_c_in_a_soak_shows_what_was_measured_until_then(how: list[str], tmp_path: Path) -> None:
    server = _Counts()
    junit = tmp_path / "smoke.xml"
    with served(server) as url, (tmp_path / "token").open("w+") as token:
        token.write(TOKEN)
        token.flush()
        running = subprocess.Popen(
            [PMPCTL, "smoke", *how, "--url", url, "--token-file", token.name, "--soak", "60", "--junit", junit],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        # Far beyond what the checks before the soak ask.
        eventually(lambda: server.asked > 100, timeout=120)
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=120)
    assert running.returncode == INTERRUPTED, out + err
    assert "soak-errors" in junit.read_text()
    if how:
        document = json.loads(out.splitlines()[-1])
        assert document["data"]["interrupted"]
        assert [error["code"] for error in document["errors"]] == ["interrupted"]
        soaked = next(check for check in document["data"]["checks"] if check["name"] == "soak-errors")
        assert (soaked["verdict"], soaked["figures"]["errors"]) == ("pass", 0)
    else:
        assert "No request fails" in out
        assert "interrupted" in err
