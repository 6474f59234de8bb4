from pathlib import Path

import pytest

from pmpctl.errors import ImageBuildFailed
from pmpctl.runtime.gateway_image import GatewaySource, gateway_source, source_of

BASE = "python:3.12-slim"
RECIPE = ("Dockerfile", "compile.py", "requirements-build.lock", "requirements.lock")


def lay_out(context: Path) -> Path:
    """A build context with a package in it; returns the package."""
    package = context / "src/pmp_gateway"
    (package / "sub").mkdir(parents=True)
    for name in ("__init__.py", "sub/__init__.py", "py.typed", "README", "sub/cache.pyc"):
        (package / name).write_text(name)
    for name in RECIPE:
        (context / name).write_text(name)
    return package


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    return lay_out(tmp_path / "gateway")


def names(source: GatewaySource) -> list[str]:
    return [name for name, _ in source.files]


def test_a_checkout_gives_the_recipe_and_the_sources_and_nothing_else(checkout: Path) -> None:
    assert names(source_of(checkout, BASE)) == [
        *RECIPE,
        "src/pmp_gateway/__init__.py",
        "src/pmp_gateway/py.typed",
        "src/pmp_gateway/sub/__init__.py",
    ]


def test_the_files_lie_in_one_folder_as_the_build_names_them(checkout: Path) -> None:
    context = checkout.parent.parent
    assert all(path == context / name for name, path in source_of(checkout, BASE).files)


def test_an_installed_package_gives_the_same_image_as_its_checkout(checkout: Path, tmp_path: Path) -> None:
    package = tmp_path / "site-packages/pmp_gateway"
    lay_out(package / "_image")
    assert source_of(package, BASE).image == source_of(checkout, BASE).image


def test_the_image_s_tag_follows_every_file_and_the_base_image(checkout: Path) -> None:
    before = source_of(checkout, BASE)
    assert source_of(checkout, BASE).digest == before.digest
    digests = {before.digest, source_of(checkout, "python:3.13-slim").digest}
    for path in (dict(before.files)[name] for name in names(before)):
        path.write_text("changed")
        digests.add(source_of(checkout, BASE).digest)
    assert len(digests) == 2 + len(before.files)


def test_the_build_is_told_its_base_image(checkout: Path) -> None:
    assert source_of(checkout, BASE).build.args == {"BASE_IMAGE": BASE}


def test_the_gateway_that_is_installed_here_is_found() -> None:
    assert {*RECIPE, "src/pmp_gateway/__init__.py"} <= set(names(gateway_source(BASE)))


@pytest.mark.parametrize("part", RECIPE)
def test_an_installation_that_lacks_a_part_says_which(checkout: Path, part: str) -> None:
    (checkout.parent.parent / part).unlink()
    with pytest.raises(ImageBuildFailed, match=part) as caught:
        source_of(checkout, BASE)
    assert caught.value.cure == "Install pmpctl anew."
