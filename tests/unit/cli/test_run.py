import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import pmpctl as package
from tests.cli import PMPCTL, pmpctl
from tests.support import eventually


def test_the_version_is_told_on_its_own_and_among_other_options() -> None:
    for argv in (["--version"], ["--json", "--version"]):
        done = pmpctl(*argv)
        assert (done.returncode, done.stdout, done.stderr) == (0, f"pmpctl {package.__version__}\n", "")


@pytest.mark.parametrize("argv", [[], ["-h"], ["--help"]])
def test_without_a_command_it_shows_the_help(argv: list[str]) -> None:
    done = pmpctl(*argv)

    assert (done.returncode, done.stderr) == (0, "")
    assert "Usage: pmpctl [OPTIONS] COMMAND" in done.stdout


@pytest.mark.parametrize(
    "argv",
    [
        ("switch", "demo", "--drain", "nan"),
        ("down", "--drain", "nan"),
        ("smoke", "--soak", "nan"),
        ("smoke", "--timeout", "NaN"),
        ("bench", "--timeout", "nan"),
        ("bench", "--seconds", "-nan"),
    ],
    ids=" ".join,
)
def test_what_is_no_number_is_in_no_range(argv: tuple[str, ...], tmp_path: Path) -> None:
    done = pmpctl("--workspace", str(tmp_path), *argv)
    assert done.returncode == 2
    assert f"Invalid value for '{argv[-2]}': nan is no number." in done.stderr


def test_a_misspelt_command_is_a_usage_error_with_a_suggestion() -> None:
    done = pmpctl("statsu")

    assert done.returncode == 2
    assert done.stdout == ""
    assert "Did you mean 'status'?" in done.stderr
    assert "cure: See `pmpctl --help`." in done.stderr


@pytest.mark.parametrize(
    ("argv", "command"),
    [
        (["--json", "statsu"], ""),
        (["--json"], ""),
        (["status", "--no-such-option", "--json"], "status"),
        (["profiles", "show", "a", "b", "--json"], "profiles show"),
        (["status", "--runtime", "podman", "--json"], ""),
        (["profiles", "--json"], "profiles"),
    ],
)
def test_with_json_a_usage_error_is_an_envelope_that_names_the_command(argv: list[str], command: str) -> None:
    done = pmpctl(*argv)

    assert (done.returncode, done.stderr) == (2, "")
    document = json.loads(done.stdout)
    assert (document["command"], document["ok"], document["exit_status"]) == (command, False, 2)
    assert [each["code"] for each in document["errors"]] == ["usage"]


def test_what_follows_two_dashes_does_not_switch_json_on() -> None:
    done = pmpctl("statsu", "--", "--json")

    assert (done.returncode, done.stdout) == (2, "")


def test_a_command_can_be_asked_for_help() -> None:
    done = pmpctl("up", "--help")

    assert done.returncode == 0
    assert "Usage: pmpctl up" in done.stdout


def with_command(body: str) -> list[str]:
    """A command line that runs `pmpctl probe`, a command made of this body, through the real entry point."""
    program = f"""
import sys, types
import typer
from pmpctl.cli.app import COMMANDS
from pmpctl.operations.events import PhaseFinished, PhaseStarted
def probe(ctx: typer.Context) -> None:
    ui = ctx.obj.ui
{textwrap.indent(textwrap.dedent(body), "    ")}
sys.modules["probe_module"] = types.SimpleNamespace(probe=probe)
COMMANDS["probe"] = ("probe_module", "probe")
from pmpctl.__main__ import main
sys.exit(main())
"""
    return [sys.executable, "-c", program, "probe"]


SLOW_OPERATION = """
    import time
    def operation():
        try:
            yield PhaseStarted("wait", "Wait")
            time.sleep(60)
        finally:
            sys.stderr.write("cleaned up\\n")
    ui.run(operation())
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_being_stopped_cleans_up_and_ends_with_130(number: signal.Signals) -> None:
    with subprocess.Popen(
        [*with_command(SLOW_OPERATION), "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["event"] == "phase_started"
        process.send_signal(number)
        out, err = process.communicate(timeout=30)

    assert process.returncode == 130
    assert err == "cleaned up\n"
    assert json.loads(out)["errors"][0]["code"] == "interrupted"


def test_ctrl_c_ends_a_command_that_only_looks_on_without_a_word() -> None:
    body = """
        import time
        from pmpctl.cli.watching import until_interrupted
        with until_interrupted(ui):
            ui.item("log", {}, "first line")
            time.sleep(60)
    """
    with subprocess.Popen(with_command(body), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "first line\n"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)

    assert (process.returncode, out, err) == (130, "", "")


def test_libraries_log_nowhere_but_with_debug_and_then_without_secrets() -> None:
    body = """
        import logging, warnings
        from pmpctl.ui.library_logs import adopt_library_logs
        adopt_library_logs(ui.err, ui.debug)
        logging.getLogger("urllib3").warning("retrying %s", "https://user:pass@registry.example")
        warnings.warn("old habits", UserWarning)
    """
    silent = subprocess.run(with_command(body), capture_output=True, text=True, timeout=60, check=True)
    talking = subprocess.run([*with_command(body), "--debug"], capture_output=True, text=True, timeout=60, check=True)

    assert (silent.stdout, silent.stderr) == ("", "")
    assert "WARNING urllib3: retrying https://***@registry.example" in talking.stderr
    assert "old habits" in talking.stderr


def test_a_reader_that_leaves_ends_the_command_without_a_word() -> None:
    body = """
        for number in range(100_000):
            ui.item("log", {"line": number}, f"line {number}")
    """
    with subprocess.Popen(with_command(body), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "line 0\n"
        process.stdout.close()
        err = process.stderr.read()

    assert (process.returncode, err) == (130, "")


def test_a_broken_connection_elsewhere_is_not_taken_for_a_reader_that_left() -> None:
    done = subprocess.run(
        with_command("raise BrokenPipeError('the engine hung up')"),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 1
    assert "the engine hung up" in done.stderr


def test_an_unforeseen_exception_is_one_sentence_and_with_debug_a_traceback() -> None:
    command = with_command("raise ZeroDivisionError('by zero')")

    short = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    long = subprocess.run([*command, "--debug"], capture_output=True, text=True, timeout=60, check=False)

    assert short.returncode == long.returncode == 1
    assert "Traceback" not in short.stderr
    assert "--debug" in short.stderr
    assert "Traceback (most recent call last)" in long.stderr


def test_a_letter_that_the_terminal_lacks_is_escaped_and_does_not_end_the_command() -> None:
    command = with_command("ui.result('probe', None, 'caf\\u00e9 \\udcff')")

    done = subprocess.run(
        command, env=os.environ | {"PYTHONIOENCODING": "ascii"}, capture_output=True, text=True, timeout=60, check=False
    )

    assert (done.returncode, done.stdout) == (0, "caf\\xe9 \\udcff\n")


def test_a_reader_that_leaves_before_the_help_ends_it_without_a_word(tmp_path: Path) -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    with subprocess.Popen([PMPCTL, "--help"], stdout=write_end, stderr=subprocess.PIPE, text=True) as process:
        os.close(write_end)
        assert process.stderr is not None
        err = process.stderr.read()
        eventually(lambda: process.poll() is not None)

    assert "Traceback" not in err
