"""What is installed without a checkout holds all that pmpctl reads beside its code."""

import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pmpctl.runtime.gateway_image import gateway_source, source_of

ROOT = Path(__file__).parents[2]
# What Python and compilers leave beside sources.
BUILT = {".pyc", ".so"}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, timeout=120)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "installed")
    return folder / "installed"


def files_of(sources: Path) -> Iterator[Path]:
    return (path for path in sources.rglob("*") if path.is_file() and path.suffix not in BUILT)


@pytest.mark.parametrize("sources", [ROOT / "src" / "pmpctl", ROOT / "gateway" / "src" / "pmp_gateway"])
def test_the_wheel_holds_every_file_of_the_packages(installed: Path, sources: Path) -> None:
    missing = [path for path in files_of(sources) if not (installed / path.relative_to(sources.parent)).is_file()]
    assert missing == []


@pytest.mark.parametrize(
    "name",
    [
        "pmpctl/smoke/client_shapes/cline.json",
        "pmpctl/chat_templates/devstral.jinja",
        "pmpctl/demo_model/model.safetensors",
        "pmpctl/profiles/shipped.toml",
    ],
)
def test_the_wheel_holds_what_is_no_code(installed: Path, name: str) -> None:
    assert (installed / name).stat().st_size > 0


def test_the_gateways_image_is_the_same_from_a_wheel_as_from_a_checkout(installed: Path) -> None:
    assert source_of(installed / "pmp_gateway", "base").digest == gateway_source("base").digest
