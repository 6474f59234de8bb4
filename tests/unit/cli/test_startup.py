import json
import subprocess
import sys
from pathlib import Path

import pytest

from pmpctl.cli.app import COMMANDS
from pmpctl.cli.help import help_text
from tests.cli import PMPCTL

HEAVY = ("docker", "pydantic", "pydantic_core", "httpx", "requests", "rich", "fastapi", "pynvml", "tomlkit")

PROFILES = """
[defaults]
max_model_len = 8192
[profiles.coding]
model = "a/b"
[profiles.coding-40k]
extends = "coding"
[profiles.demo]
model = "c/d"
"""


def loaded_by(*argv: str, cwd: Path, **environment: str) -> tuple[set[str], str]:
    """The modules that the console script has loaded when it ends, and what it printed."""
    program = f"""
import atexit, json, runpy, sys
atexit.register(lambda: print(json.dumps([n for n, m in sys.modules.items() if m]), file=sys.stderr))
sys.argv = {[str(PMPCTL), *argv]!r}
runpy.run_path(sys.argv[0], run_name="__main__")
"""
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=60, check=False)
    return set(json.loads(done.stderr.splitlines()[-1])), done.stdout


def completions(words: list[str], cwd: Path, **environment: str) -> tuple[set[str], list[str]]:
    """What bash offers for the last word, and the modules loaded for it."""
    modules, printed = loaded_by(
        cwd=cwd,
        _PMPCTL_COMPLETE="complete_bash",
        COMP_WORDS=" ".join(["pmpctl", *words]),
        COMP_CWORD=str(len(words)),
        **environment,
    )
    return modules, printed.split()


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    (tmp_path / "profiles.toml").write_text(PROFILES)
    (tmp_path / "inner").mkdir()
    return tmp_path


@pytest.mark.parametrize("argv", [(), ("--help",), ("-h",), ("--version",)])
def test_help_and_version_load_nothing_but_the_standard_library(argv: tuple[str, ...], tmp_path: Path) -> None:
    modules, printed = loaded_by(*argv, cwd=tmp_path)

    assert printed
    assert not modules & {*HEAVY, "typer", "click", "dataclasses", "tomllib"}
    assert {name for name in modules if name.startswith("pmpctl.")} <= {"pmpctl.__main__"}


def test_the_committed_help_is_what_the_application_says() -> None:
    committed = Path(sys.modules["pmpctl.cli.help"].__file__ or "").with_name("help.txt").read_text()

    assert committed == help_text(), "regenerate it: python -m pmpctl.cli.help > src/pmpctl/cli/help.txt"


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_a_command_loads_no_heavy_module_and_no_other_command(name: str, tmp_path: Path) -> None:
    modules, printed = loaded_by(name, "--help", cwd=tmp_path)

    assert f"Usage: pmpctl {name}" in printed
    assert not modules & set(HEAVY)
    assert {module for module, _ in COMMANDS.values()} & modules == {COMMANDS[name][0]}


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["up", ""], ["coding", "coding-40k", "demo"]),
        (["up", "coding-"], ["coding-40k"]),
        (["profiles", "show", "d"], ["demo"]),
        (["--json", "up", "d"], ["demo"]),
        (["st"], ["status"]),
        (["logs", "g"], ["gateway"]),
        (["--runtime", "p"], ["process"]),
        (["up", "--dr"], ["--dry-run"]),
    ],
)
def test_completion_offers_names_without_loading_heavy_modules(
    words: list[str], offered: list[str], workspace: Path
) -> None:
    modules, printed = completions(words, workspace / "inner")

    assert printed == offered
    assert not modules & set(HEAVY)


def test_completion_offers_every_command(workspace: Path) -> None:
    modules, printed = completions([""], workspace)

    assert printed == list(COMMANDS)
    assert not modules & set(HEAVY)


def test_completion_reads_the_file_that_the_command_line_or_the_environment_names(
    workspace: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "models.json").write_text('{"models": {"chat": {"model": "a/b"}}}')

    for words in (["-c", str(elsewhere / "models.json"), "up", ""], ["up", "-c", str(elsewhere / "models.json"), ""]):
        assert completions(words, workspace)[1] == ["chat"]
    assert completions(["up", ""], workspace, CONFIG_PATH=str(elsewhere / "models.json"))[1] == ["chat"]
    assert completions(["--workspace", str(workspace), "up", "de"], elsewhere)[1] == ["demo"]


@pytest.mark.parametrize("content", ["[profiles", "profiles = 3", "\xff"])
def test_completion_is_silent_about_a_file_that_it_cannot_read(content: str, tmp_path: Path) -> None:
    (tmp_path / "profiles.toml").write_text(content, encoding="latin-1")

    assert completions(["up", ""], tmp_path)[1] == []


def test_completion_is_silent_about_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert completions(["-c", "missing.toml", "up", ""], tmp_path)[1] == []


def test_completion_offers_the_shipped_profiles_where_there_is_no_file(tmp_path: Path) -> None:
    modules, printed = completions(["up", ""], tmp_path)

    assert {"coding", "demo"} <= set(printed)
    assert not modules & set(HEAVY)


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_shells_that_show_help_beside_names_load_no_rich_for_it(shell: str, workspace: Path) -> None:
    modules, printed = loaded_by(
        cwd=workspace,
        _PMPCTL_COMPLETE=f"complete_{shell}",
        _TYPER_COMPLETE_ARGS="pmpctl sta",
        _TYPER_COMPLETE_FISH_ACTION="get-args",
    )

    assert "status" in printed
    assert "Show profile" in printed
    assert not modules & set(HEAVY)


def test_the_completion_script_is_shown(tmp_path: Path) -> None:
    done = subprocess.run(
        [PMPCTL],
        cwd=tmp_path,
        env={"_PMPCTL_COMPLETE": "source_bash"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0
    assert "complete -o default -F _pmpctl_completion pmpctl" in done.stdout
