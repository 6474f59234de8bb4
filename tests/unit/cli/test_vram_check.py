"""`vram-check` as a user's shell runs it: verdicts, what-ifs, and every way to show them."""

import json
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.cli import PMPCTL, pmpctl
from tests.terminal import on_a_terminal

COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def check(*argv: str, cwd: Path, profile: str = "") -> "subprocess.CompletedProcess[str]":
    return pmpctl("vram-check", *argv, cwd=cwd, MODEL_PROFILE=profile)


def data(*argv: str, cwd: Path) -> dict[str, Any]:
    found = json.loads(check(*argv, "--json", cwd=cwd).stdout)["data"]
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize(
    ("argv", "verdict", "status"),
    [
        ("coding", "fits", 0),
        ("coding-40k", "fits", 0),
        ("coding-legacy", "fits", 0),
        ("coding-v2", "fits", 0),
        ("coding-v2 --context 32768", "does not fit", 3),
        ("instruct", "tight", 0),
        ("instruct --context 8192", "does not fit", 3),
    ],
)
def test_the_shipped_profiles_on_an_a30_are_judged_as_production_found_them(
    argv: str, verdict: str, status: int, tmp_path: Path
) -> None:
    done = check(*shlex.split(argv), "--gpu", "A30", "--json", cwd=tmp_path)

    envelope = json.loads(done.stdout)
    assert (envelope["data"]["verdict"], done.returncode) == (verdict, status)
    assert (envelope["ok"], envelope["exit_status"]) == (status == 0, status)


def test_coding_v2_goes_to_about_22_thousand_tokens(tmp_path: Path) -> None:
    found = data("coding-v2", "--gpu", "A30", cwd=tmp_path)

    assert 21_500 <= found["largest_context"] <= 22_500
    assert 20_480 <= found["safe_context"] < found["largest_context"]


def test_what_does_not_fit_is_shown_in_full_and_named_as_an_error_with_its_cure(tmp_path: Path) -> None:
    done = check("coding-v2", "--gpu", "A30", "--context", "32768", cwd=tmp_path)

    assert done.returncode == 3
    for row in ("usable memory", "budget", "weights", "activation peak", "KV cache available", "KV cache needed"):
        assert re.search(rf"{row} +\d+\.\d\d", done.stdout)
    assert re.search(r"missing +1\.2\d", done.stdout)
    assert "It does not fit" in done.stdout
    assert re.search(r"max_model_len = 20480 +\+1\.\d\d +fits", done.stdout)
    assert done.stderr.startswith("error: coding-v2 does not fit A30: 32,768 tokens need 4.00 GiB")
    assert "cure: Set max_model_len = 20480" in done.stderr


def test_tight_says_so_and_by_how_much_the_figures_may_be_off(tmp_path: Path) -> None:
    done = check("instruct", "--gpu", "A30", cwd=tmp_path)

    assert done.returncode == 0
    assert "It is tight: it may start or not, as the figures can be off by 0.30 GiB" in done.stdout
    assert "What would help" in done.stdout
    assert done.stderr == ""


def test_the_json_of_what_does_not_fit_has_the_data_and_the_error(tmp_path: Path) -> None:
    envelope = json.loads(check("coding-v2", "--gpu", "A30", "--context", "32768", "--json", cwd=tmp_path).stdout)

    (error,) = envelope["errors"]
    assert error["code"] == "does_not_fit"
    assert error["message"]
    assert error["cure"]
    found = envelope["data"]
    assert found["settings"]["max_model_len"] == 32768
    assert found["kv_needed_gib"] == pytest.approx(4.0, abs=0.01)
    assert found["kv_available_gib"] == pytest.approx(2.73)
    assert all(each["change"] and each["gained_gib"] > 0 for each in found["advice"])


def test_the_shares_of_the_table_make_up_the_budget(tmp_path: Path) -> None:
    for profile in ("coding", "coding-v2", "instruct", "devstral"):
        found = data(profile, "--gpu", "A30", cwd=tmp_path)
        shares = sum(line["gib"] for line in found["lines"] if line["kind"] == "share")
        assert shares + found["kv_available_gib"] == pytest.approx(found["budget_gib"])


def test_measured_and_estimated_stand_side_by_side(tmp_path: Path) -> None:
    out = check("coding-v2", "--gpu", "A30", cwd=tmp_path).stdout

    assert "measured by production's log of coding-v2 on an A30" in out
    assert "alone: weights 18." in out
    assert "estimated by formulas alone" in check("coding", "--gpu", "A30", cwd=tmp_path).stdout


def test_concurrency_is_told_at_the_context_and_at_usual_lengths_below_it(tmp_path: Path) -> None:
    found = data("coding", "--gpu", "A30", cwd=tmp_path)["concurrency"]

    by_tokens = {each["tokens"]: each["requests"] for each in found}
    assert list(by_tokens) == [32768, 4096, 8192, 16384]
    assert by_tokens[4096] == pytest.approx(8 * by_tokens[32768], rel=0.01)


@pytest.mark.parametrize(
    ("option", "value", "setting"),
    [
        ("--context", "12345", "max_model_len"),
        ("--utilization", "0.8", "gpu_memory_utilization"),
        ("--max-num-seqs", "7", "max_num_seqs"),
        ("--kv-cache-dtype", "fp8_e5m2", "kv_cache_dtype"),
    ],
)
def test_a_what_if_counts_and_is_shown(option: str, value: str, setting: str, tmp_path: Path) -> None:
    argv = ("chat", "--gpu", "4090", option, value)

    assert str(data(*argv, cwd=tmp_path)["settings"][setting]) == value
    assert f"What if: {setting} = {value}" in check(*argv, cwd=tmp_path).stdout


def test_what_ifs_change_the_figures_the_way_the_engine_would(tmp_path: Path) -> None:
    plain = data("chat", "--gpu", "A30", cwd=tmp_path)
    eight_bit = data("chat", "--gpu", "A30", "--kv-cache-dtype", "fp8", cwd=tmp_path)
    longer = data("chat", "--gpu", "A30", "--context", "16384", cwd=tmp_path)
    larger = data("chat", "--gpu", "A30", "--utilization", "0.95", cwd=tmp_path)

    assert eight_bit["kv_needed_gib"] == pytest.approx(plain["kv_needed_gib"] / 2, rel=0.01)
    assert longer["kv_needed_gib"] == pytest.approx(plain["kv_needed_gib"] * 2, rel=0.01)
    assert larger["kv_available_gib"] - plain["kv_available_gib"] == pytest.approx(0.1 * 23.5)


@pytest.mark.parametrize(
    ("argv", "name", "why"),
    [
        (("--gpu", "rtx-4090"), "RTX 4090", "--gpu rtx-4090"),
        (("--gpu", "A100-40"), "A100-40", "--gpu A100-40"),
        (("--budget-gib", "16"), "a 16 GiB card", "--budget-gib 16"),
        ((), "a 24 GiB card", "vram_budget_gib of [host]"),
    ],
)
def test_the_card_is_named_with_why_it_is_that_one(argv: tuple[str, ...], name: str, why: str, tmp_path: Path) -> None:
    found = data("chat", *argv, cwd=tmp_path)

    assert found["card"]["name"] == name
    assert why in found["card_why"]


def test_explain_gives_every_row_a_formula_and_a_source(tmp_path: Path) -> None:
    out = check("coding", "--gpu", "A30", "--explain", cwd=tmp_path).stdout

    assert "0.9 x 23.50 GiB (vLLM: request_memory)" in out
    assert "2048 tokens x (4 x 2048 + experts" in out
    for line in data("coding", "--gpu", "A30", cwd=tmp_path)["lines"]:
        assert line["formula"]
        assert line["source"]


def test_all_shows_one_line_for_each_profile(tmp_path: Path) -> None:
    done = check("--all", "--gpu", "A30", "--context", "32768", cwd=tmp_path)

    lines = {line.split()[0]: line for line in done.stdout.splitlines() if line}
    assert done.returncode == 0
    assert re.search(r"^coding +32,768 +\d+\.\d\d +1\.50 +\d\.\d\d +fits +\d+,\d\d\d +A30$", lines["coding"])
    assert "does not fit" in lines["coding-v2"]
    assert {"coding-40k", "coding-48k", "coding-legacy", "instruct", "chat", "devstral", "demo"} <= set(lines)


def test_a_profile_that_nobody_knows_stops_no_other(tmp_path: Path) -> None:
    (tmp_path / "profiles.toml").write_text('[profiles.a]\nmodel = "x/y"\n[profiles.b]\nmodel = "./missing"\n')

    done = check("--all", "--gpu", "A30", "--offline", cwd=tmp_path)
    envelope = json.loads(check("--all", "--gpu", "A30", "--offline", "--json", cwd=tmp_path).stdout)

    assert done.returncode == 0
    assert "a: nothing on this machine knows x/y" in done.stdout
    assert [each["problem"]["code"] for each in envelope["data"]["profiles"]] == ["model_not_cached", "model_not_found"]


def test_fit_prints_a_profile_that_fits(tmp_path: Path) -> None:
    done = check("coding-v2", "--gpu", "A30", "--context", "32768", "--fit", cwd=tmp_path)
    (tmp_path / "profiles.toml").write_text(done.stdout)

    profile = tomllib.loads(done.stdout)["profiles"]["coding-v2"]
    assert done.returncode == 0
    assert 20_480 <= profile["max_model_len"] <= 22_500
    assert (profile["quantization"], profile["kv_cache_dtype"]) == ("awq", "fp8")
    assert data("coding-v2", "--gpu", "A30", cwd=tmp_path)["verdict"] == "fits"
    longer = str(profile["max_model_len"] + 64)
    assert data("coding-v2", "--gpu", "A30", "--context", longer, cwd=tmp_path)["verdict"] == "tight"


def test_fit_goes_no_further_than_the_model_itself(tmp_path: Path) -> None:
    out = check("chat", "--gpu", "H100", "--fit", cwd=tmp_path).stdout

    assert tomllib.loads(out)["profiles"]["chat"]["max_model_len"] == 32768


def test_fit_refuses_where_no_context_fits(tmp_path: Path) -> None:
    done = check("coding-v2", "--gpu", "T4", "--fit", cwd=tmp_path)

    assert done.returncode == 3
    assert done.stdout == ""
    assert done.stderr.startswith("error: no context of coding-v2 fits T4")


def test_the_svg_draws_every_share_to_scale_and_says_it_in_words(tmp_path: Path) -> None:
    done = check("coding-v2", "--gpu", "A30", "--context", "32768", "--svg", "out.svg", cwd=tmp_path)

    root = ElementTree.fromstring((tmp_path / "out.svg").read_text())  # noqa: S314 (our own)
    space = {"svg": "http://www.w3.org/2000/svg"}
    assert done.returncode == 3
    assert [path.name for path in tmp_path.iterdir()] == ["out.svg"]
    assert root.findtext("svg:title", namespaces=space) == "coding-v2 on A30: does not fit"
    assert "weights 18.14 GiB" in (root.findtext("svg:desc", namespaces=space) or "")
    boxes = [box for box in root.findall("svg:rect", space) if box.get("height") == "44.0"]
    widths = {box.findtext("svg:title", namespaces=space): float(box.get("width", 0)) for box in boxes}
    assert widths["weights 18.14 GiB"] / widths["KV cache missing 1.27 GiB"] == pytest.approx(18.14 / 1.27, rel=0.01)
    assert sum(widths.values()) == pytest.approx(712, abs=1)
    texts = [text.text or "" for text in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"does not fit", "budget 22.32 GiB", "weights  18.14 GiB", "KV cache missing  1.27 GiB"} <= set(texts)


def test_a_chart_that_cannot_be_written_is_a_named_error(tmp_path: Path) -> None:
    done = check("chat", "--gpu", "A30", "--svg", "missing/out.svg", cwd=tmp_path)

    assert done.returncode == 8
    assert "missing/out.svg cannot be written" in done.stderr


@pytest.mark.parametrize("columns", [72, 80, 140])
@pytest.mark.parametrize("argv", ["coding-v2 --explain", "instruct --context 8192", "coding-v2 --no-color"])
def test_nothing_is_wider_than_the_terminal(columns: int, argv: str, tmp_path: Path) -> None:
    printed = shown(*shlex.split(argv), cwd=tmp_path, COLUMNS=str(columns))

    lines = [COLOUR.sub("", line) for line in printed.splitlines()]
    (bar,) = [line for line in lines if line.startswith("[")]
    assert not [line for line in lines if len(line) > columns and not line.startswith(("error: ", "cure: "))]
    assert len(bar) in (min(columns, 100), min(columns, 100) - 1)


def test_a_terminal_gets_blocks_and_colours_and_a_pipe_gets_letters(tmp_path: Path) -> None:
    coloured = shown("coding-v2", cwd=tmp_path)
    plain = shown("coding-v2", "--no-color", cwd=tmp_path)
    ascii_only = shown("coding-v2", cwd=tmp_path, PYTHONUTF8="0", LC_ALL="C", PYTHONCOERCECLOCALE="0")
    piped = check("coding-v2", "--gpu", "A30", cwd=tmp_path).stdout

    assert "\x1b[34m█" in coloured
    assert "\x1b" not in plain
    assert "█" in plain
    assert "░" in plain
    assert "[WWWW" in COLOUR.sub("", ascii_only)
    assert "[WWWW" in piped
    assert piped.isascii()


def shown(*argv: str, cwd: Path, **environment: str) -> str:
    """What a terminal shows."""
    words = ["vram-check", *argv, "--gpu", "A30"]
    return on_a_terminal(
        f"""
        import os
        from pmpctl.cli.run import run
        os.chdir({str(cwd)!r})
        run({words!r})
        """,
        **environment,
    )


def test_without_a_name_the_profile_is_one_that_runs_on_the_card_that_was_asked_about(tmp_path: Path) -> None:
    out = check("--gpu", "A30", cwd=tmp_path).stdout

    assert out.startswith("coding: ")
    assert "the first of the profile file that runs on a GPU" in out
    assert check("--gpu", "A30", cwd=tmp_path, profile="chat").stdout.startswith("chat: ")


def test_a_check_of_shipped_profiles_opens_no_socket(tmp_path: Path) -> None:
    for argv in (["coding-v2", "--gpu", "A30", "--offline"], ["--all", "--gpu", "A30", "--offline"], ["coding"]):
        assert sockets_opened("vram-check", *argv, cwd=tmp_path) == []


def test_offline_opens_no_socket_for_a_model_that_nobody_knows(tmp_path: Path) -> None:
    (tmp_path / "profiles.toml").write_text('[profiles.a]\nmodel = "x/y"\n')

    assert sockets_opened("vram-check", "a", "--gpu", "A30", "--offline", cwd=tmp_path) == []
    assert sockets_opened("vram-check", "a", "--gpu", "A30", cwd=tmp_path, HF_ENDPOINT="http://localhost:9") != []


def sockets_opened(*argv: str, cwd: Path, **environment: str) -> list[str]:
    """What the console script did with sockets, as the interpreter itself reports it."""
    program = f"""
import atexit, runpy, sys
found = []
sys.addaudithook(lambda event, _: found.append(event) if event.startswith("socket.") else None)
atexit.register(lambda: print("sockets:", *found, file=sys.stderr))
sys.argv = {[str(PMPCTL), *argv]!r}
runpy.run_path(sys.argv[0], run_name="__main__")
"""
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode in (0, 10), done.stderr
    return done.stderr.splitlines()[-1].split()[1:]


def test_a_model_that_is_larger_than_the_budget_is_drawn_across_the_mark_of_the_budget(tmp_path: Path) -> None:
    done = check("coding", "--gpu", "T4", cwd=tmp_path)

    bar = next(line for line in done.stdout.splitlines() if line.startswith("["))
    assert re.fullmatch(r"\[W+\|W+AN+!+\]", bar)
    assert bar.index("|") / len(bar) == pytest.approx(13.1 / (16.13 + 1.5), abs=0.02)
    assert "context       none fits" in done.stdout
    assert "cure: No change of its settings is enough" in done.stderr
