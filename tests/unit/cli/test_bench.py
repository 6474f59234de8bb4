"""`pmpctl bench` by the real console script, against real servers whose pace is known."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import psutil
import pytest

from tests.cli import PMPCTL, pmpctl
from tests.support import eventually, find_free_port
from tests.unit.load.paced_server import MAX_MODEL_LEN, Pace, paced_server, words_of

CANARY = "bench-canary-0123456789-abcdef"
TOKENS = 24
SVG = "{http://www.w3.org/2000/svg}"


def bench(url: str, *argv: str, cwd: Path, token: str = "") -> "subprocess.CompletedProcess[str]":
    sizes = ("--prompt-tokens", "64", "--output-tokens", str(TOKENS))
    return pmpctl("bench", "--url", url, *sizes, *argv, cwd=cwd, PMPCTL_TOKEN=token)


def envelope(done: "subprocess.CompletedProcess[str]") -> dict[str, Any]:
    found = json.loads(done.stdout.splitlines()[-1])
    assert isinstance(found, dict)
    return found


@contextmanager
def interrupted_when(url: str, pace: Pace, requests: int, cwd: Path) -> Iterator["subprocess.Popen[str]"]:
    """A measurement that gets Ctrl-C when it has made so many requests."""
    argv = ("--prompt-tokens", "64", "--output-tokens", str(TOKENS), "--concurrency", "2", "--requests", "5000")
    process = subprocess.Popen(
        [PMPCTL, "bench", "--url", url, *argv, "--json"],
        cwd=cwd,
        env=os.environ | {"PMPCTL_TOKEN": CANARY},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        eventually(lambda: len(pace.measured) >= requests, timeout=30)
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.mark.parametrize("option", ["--svg", "--output"])
def test_a_file_that_cannot_be_written_is_refused_before_anything_is_asked(option: str, tmp_path: Path) -> None:
    pace = Pace()
    with paced_server(pace, TOKENS) as url:
        done = bench(url, option, "/proc/bench", cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert "/proc/bench cannot be written" in done.stderr
    assert pace.measured == []


def test_a_sweep_measures_each_level_at_the_pace_of_the_server(tmp_path: Path) -> None:
    pace = Pace()
    with paced_server(pace, TOKENS) as url:
        done = bench(url + "/v1", "--concurrency", "1,4", "--requests", "8", "--json", cwd=tmp_path)

    found = envelope(done)["data"]
    assert (done.returncode, done.stderr) == (0, "")
    assert len(pace.measured) == 16
    assert pace.most_at_a_time == 4
    one, four = found["levels"]
    for level in (one, four):
        assert (level["answered"], level["errors"], level["complete"]) == (8, {}, True)
        assert level["prompt_tokens"] == {"least": 64, "most": 64}
        assert level["output_tokens"] == {"least": TOKENS, "most": TOKENS}
        assert level["tokens_per_chunk"] == 1.0
        # A machine that is busy answers later, but never earlier.
        assert 60 <= level["first_token"]["p50_ms"] < 1000
        assert 9 <= level["inter_token"]["p50_ms"] < 250
        assert 285 <= level["whole"]["p50_ms"] < 3000
    assert four["output_tokens_per_second"] > 1.5 * one["output_tokens_per_second"]
    assert (found["model"], found["max_model_len"], found["exact_output"]) == ("llm", MAX_MODEL_LEN, True)
    assert found["began_at"].endswith("+00:00")


def test_prompts_differ_from_their_first_words_on_unless_told(tmp_path: Path) -> None:
    for argv, beginnings in (((), 6), (("--shared-prefix",), 1)):
        pace = Pace()
        with paced_server(pace, TOKENS) as url:
            assert bench(url, "--concurrency", "2", "--requests", "6", *argv, cwd=tmp_path).returncode == 0
        prompts = [words_of(asked) for asked in pace.measured]
        assert len({tuple(words[:16]) for words in prompts}) == beginnings
        assert len({tuple(words) for words in prompts}) == 6


def test_several_tokens_to_a_chunk_change_the_gaps_and_not_the_time_between_tokens(tmp_path: Path) -> None:
    with paced_server(Pace(tokens_per_chunk=4), TOKENS) as url:
        done = bench(url, "--concurrency", "1", "--requests", "4", "--json", cwd=tmp_path)

    (level,) = envelope(done)["data"]["levels"]
    assert level["tokens_per_chunk"] == 4.0
    assert 9 <= level["inter_token"]["p50_ms"] < 250
    assert 36 <= level["chunk_gap"]["p50_ms"] < 500


def test_the_table_says_what_was_measured_and_that_it_is_a_load(tmp_path: Path) -> None:
    with paced_server(Pace(), TOKENS) as url:
        done = bench(url, "--concurrency", "1,2", "--requests", "3", cwd=tmp_path)

    assert "its other users wait longer meanwhile" in done.stderr
    for words in ("OUTPUT TOK/S", "time to first token", "time between tokens", "gap between chunks", "P99"):
        assert words in done.stdout
    assert "p99 of less than 100 requests" in done.stdout


def test_requests_that_fail_are_counted_and_the_others_measured(tmp_path: Path) -> None:
    pace = Pace(fails=lambda number: {2: 503, 4: 503, 6: 429}.get(number, 0))
    with paced_server(pace, TOKENS) as url:
        done = bench(url, "--concurrency", "2", "--requests", "10", "--json", cwd=tmp_path)
        again = bench(url, "--concurrency", "2", "--requests", "4", cwd=tmp_path)

    (level,) = envelope(done)["data"]["levels"]
    assert done.returncode == 0
    assert (level["answered"], level["errors"]) == (7, {"HTTP 503": 2, "HTTP 429": 1})
    assert "out of luck" in level["error_examples"]["HTTP 503"]
    assert "Failures" not in again.stdout


def test_a_level_without_any_answer_ends_the_sweep_with_what_was_measured(tmp_path: Path) -> None:
    pace = Pace(fails=lambda number: 500 if number > 3 else 0)
    with paced_server(pace, TOKENS) as url:
        done = bench(url, "--concurrency", "1,2,4", "--requests", "3", "--json", cwd=tmp_path)

    found = envelope(done)
    assert done.returncode == 10
    assert found["errors"][0]["code"] == "api_failed"
    assert "HTTP 500" in found["errors"][0]["message"]
    assert [level["answered"] for level in found["data"]["levels"]] == [3, 0]


def test_seconds_end_a_level_after_what_is_under_way(tmp_path: Path) -> None:
    with paced_server(Pace(), TOKENS) as url:
        done = bench(url, "--concurrency", "2", "--seconds", "1", "--json", cwd=tmp_path)

    (level,) = envelope(done)["data"]["levels"]
    assert level["answered"] >= 4
    assert level["seconds"] >= 1
    assert level["output_tokens"] == {"least": TOKENS, "most": TOKENS}


def test_ctrl_c_reports_what_was_measured_so_far_and_leaves_no_load(tmp_path: Path) -> None:
    pace = Pace(token=CANARY)
    with paced_server(pace, TOKENS) as url, interrupted_when(url, pace, 6, tmp_path) as process:
        helpers = psutil.Process(process.pid).children(recursive=True)
        shown = [" ".join(each.cmdline()) + str(each.environ()) for each in helpers]
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=30)

    found = json.loads(out.splitlines()[-1])
    (level,) = found["data"]["levels"]
    assert (process.returncode, found["errors"][0]["code"]) == (130, "interrupted")
    assert found["data"]["interrupted"]
    assert level["answered"] >= 2
    assert not level["complete"]
    assert helpers
    assert not any(each.is_running() for each in helpers)
    assert not any(CANARY in text for text in (*shown, out, err))


def test_the_plot_has_a_point_for_each_level_and_says_what_its_axes_are(tmp_path: Path) -> None:
    svg, output = tmp_path / "curves.svg", tmp_path / "result.json"
    argv = ("--concurrency", "1,2,3", "--requests", "3", "--svg", str(svg), "--output", str(output), "--json")
    with paced_server(Pace(), TOKENS) as url:
        done = bench(url, *argv, cwd=tmp_path)

    assert json.loads(output.read_text()) == envelope(done)["data"]
    root = ElementTree.parse(svg).getroot()  # noqa: S314 (our own)
    titles = [each.text or "" for each in root.findall(f".//{SVG}circle/{SVG}title")]
    for unit, per_level in (("tokens/s", 1), (" ms", 4)):
        for concurrency in (1, 2, 3):
            here = [title for title in titles if f", {concurrency} at a time: " in title and unit in title]
            assert len(here) == per_level
    words = [each.text for each in root.findall(f"{SVG}text")]
    assert {"Output tokens in all (tokens/s)", "Time to first token (ms)", "Time between tokens (ms)"} <= {*words}
    assert words.count("requests at a time") == 3
    assert f"prompt 64 + answer {TOKENS} tokens" in words
    for circle in root.findall(f".//{SVG}circle"):
        assert 92 <= float(circle.attrib["cx"]) <= 760
        assert 0 <= float(circle.attrib["cy"]) <= float(root.attrib["height"])
    assert root.findall(f"{SVG}image") == root.findall(f"{SVG}script") == []


def test_lengths_beyond_the_context_are_refused_before_any_load(tmp_path: Path) -> None:
    pace = Pace()
    with paced_server(pace, TOKENS) as url:
        done = bench(url, "--prompt-tokens", f"64,{MAX_MODEL_LEN}", cwd=tmp_path)

    assert done.returncode == 2
    assert str(MAX_MODEL_LEN) in done.stderr
    assert pace.measured == []


def test_an_api_without_ignore_eos_is_measured_and_told_of(tmp_path: Path) -> None:
    pace = Pace(takes_ignore_eos=False)
    with paced_server(pace, TOKENS) as url:
        done = bench(url, "--concurrency", "1", "--requests", "2", "--json", cwd=tmp_path)

    found = envelope(done)["data"]
    assert not found["exact_output"]
    assert "ignore_eos" in found["notes"][0]
    assert all("ignore_eos" not in asked.body for asked in pace.measured)


def test_an_api_that_counts_nothing_is_measured_by_words_and_chunks(tmp_path: Path) -> None:
    pace = Pace(counts_prompts=False, tells_usage=False)
    with paced_server(pace, TOKENS) as url:
        done = bench(url, "--concurrency", "1", "--requests", "2", "--json", cwd=tmp_path)

    found = envelope(done)["data"]
    (level,) = found["levels"]
    assert (level["prompt_tokens"], level["output_tokens_per_second"]) == (None, None)
    assert 9 <= level["inter_token"]["p50_ms"] < 250
    assert "have that many words" in found["notes"][0]
    assert [len(words_of(asked)) for asked in pace.measured] == [64, 64]


@pytest.mark.parametrize("way", ["environment", "file", "stdin", "option"])
def test_a_token_is_taken_from_anywhere_and_shown_nowhere(way: str, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(f"{CANARY}\n")
    argv = {"file": ["--token-file", str(file)], "stdin": ["--token-file", "-"], "option": ["--token", CANARY]}
    environment = {"PMPCTL_TOKEN": CANARY if way == "environment" else ""}
    result = tmp_path / "result.json"
    with paced_server(Pace(token=CANARY, fails=lambda number: 500 * (number == 1)), TOKENS) as url:
        sizes = ["--prompt-tokens", "64", "--output-tokens", str(TOKENS), "--concurrency", "1", "--requests", "2"]
        done = subprocess.run(
            [PMPCTL, "bench", "--url", url, *sizes, "--output", result, "--debug", *argv.get(way, [])],
            cwd=tmp_path,
            env=os.environ | environment,
            input=CANARY,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    assert done.returncode == 0, done.stderr
    assert CANARY not in done.stdout + done.stderr + result.read_text()


def test_a_wrong_token_is_said_before_any_load(tmp_path: Path) -> None:
    pace = Pace(token=CANARY)
    with paced_server(pace, TOKENS) as url:
        done = bench(url, "--json", cwd=tmp_path, token="another-token")

    (error,) = envelope(done)["errors"]
    assert (done.returncode, error["code"]) == (10, "api_failed")
    assert "401" in error["message"]
    assert "--token-file" in error["cure"]
    assert pace.measured == []


def test_of_several_models_one_must_be_named(tmp_path: Path) -> None:
    with paced_server(Pace(models=("small", "large")), TOKENS) as url:
        refused = bench(url, cwd=tmp_path)
        named = bench(url, "--model", "large", "--concurrency", "1", "--requests", "2", "--json", cwd=tmp_path)

    assert refused.returncode == 2
    assert "small, large" in refused.stderr
    assert envelope(named)["data"]["model"] == "large"


def test_nobody_at_the_address_is_said_as_such(tmp_path: Path) -> None:
    done = bench(f"http://127.0.0.1:{find_free_port()}", cwd=tmp_path)

    assert done.returncode == 10
    assert done.stderr.count("error:") == 1


def test_without_url_and_without_anything_that_runs_the_cure_names_both(tmp_path: Path) -> None:
    (tmp_path / "profiles.toml").write_text('[profiles.coding]\nmodel = "a/b"\n')
    done = pmpctl("--runtime", "process", "bench", cwd=tmp_path)

    assert done.returncode == 2
    assert "pmpctl up" in done.stderr
    assert "--url" in done.stderr


def test_a_dry_run_lists_the_levels_and_asks_nothing(tmp_path: Path) -> None:
    pace = Pace()
    with paced_server(pace, TOKENS) as url:
        done = bench(url, "--concurrency", "1,32", "--dry-run", "--json", cwd=tmp_path)

    found = envelope(done)["data"]
    assert [(level["concurrency"], level["requests"]) for level in found["levels"]] == [(1, 16), (32, 128)]
    assert pace.measured == []


@pytest.mark.parametrize(
    ("argv", "named"),
    [
        (("--concurrency", "0"), "--concurrency"),
        (("--concurrency", "1000"), "--concurrency"),
        (("--prompt-tokens", "many"), "--prompt-tokens"),
        (("--output-tokens", ""), "--output-tokens"),
        (("--requests", "3", "--seconds", "3"), "--seconds"),
        (("--token", "a", "--token-file", "b"), "--token-file"),
        (("--url", "ftp://host"), "--url"),
        (("--url", "http://user:canary-secret@host/v1"), "--url"),
        (("--token-file", "no-such-file"), "no-such-file"),
        (("--svg", "no-such-folder/curves.svg"), "no-such-folder"),
    ],
)
def test_options_that_make_no_sense_are_refused_by_name(argv: tuple[str, ...], named: str, tmp_path: Path) -> None:
    done = pmpctl("bench", "--url", "http://127.0.0.1:1", *argv, cwd=tmp_path)

    assert done.returncode == 2
    assert named in done.stderr
    assert "canary-secret" not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
