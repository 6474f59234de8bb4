"""Images made here: built once for each content, with the failing step's own words when a build fails."""

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pmpctl.errors import ImageBuildFailed, ImagePullFailed
from pmpctl.planning.plan import ImageBuild
from pmpctl.runtime.docker import DockerRuntime
from pmpctl.runtime.docker_connect import EngineClient
from pmpctl.runtime.docker_images import inspect_image
from tests.docker.conftest import UnitMaker
from tests.support import eventually

pytestmark = pytest.mark.docker

MakeBuild = Callable[..., ImageBuild]


@pytest.fixture
def tag(runtime: DockerRuntime, client: EngineClient) -> Iterator[str]:
    name = f"pmpctl-test-build:{uuid.uuid4().hex[:12]}"
    yield name
    for state in runtime.units():
        runtime.remove(state)
    if inspect_image(client, name) is not None:
        client.remove_image(name)


@pytest.fixture
def recipe(tmp_path: Path, base_image: str) -> MakeBuild:
    """A build of a Dockerfile's lines and other files by name."""

    def make(*lines: str, base: str = base_image, **files: str) -> ImageBuild:
        (tmp_path / "Dockerfile").write_text("\n".join(["ARG BASE_IMAGE", "FROM ${BASE_IMAGE}", *lines]))
        for name, content in files.items():
            (tmp_path / name).write_text(content)
        names = ("Dockerfile", *files)
        return ImageBuild(tuple((name, tmp_path / name) for name in names), {"BASE_IMAGE": base})

    return make


def containers_running(client: EngineClient, word: str) -> list[str]:
    """Of a build; they carry no label and no name of ours."""
    return [one["Id"] for one in client.containers(all=True) if word in one["Command"]]


def test_an_image_is_built_from_its_files_once(
    runtime: DockerRuntime, make_unit: UnitMaker, recipe: MakeBuild, tag: str
) -> None:
    build = recipe("COPY greeting /greeting", "RUN echo built >> /greeting", greeting="hello\n")
    unit = make_unit(image=tag, build=build)
    seen = list(runtime.prepare(unit))
    assert [(one.done, one.total, one.unit) for one in seen if one.total] == [(step, 4, "steps") for step in range(4)]
    assert runtime.execute(runtime.start(unit), ["cat", "/greeting"]) == (0, "hello\nbuilt\n")
    assert list(runtime.prepare(unit)) == []


def test_files_keep_neither_owner_nor_secrets_of_this_machine(
    runtime: DockerRuntime, make_unit: UnitMaker, recipe: MakeBuild, tag: str, tmp_path: Path
) -> None:
    (tmp_path / "auth.json").write_text("a secret beside the Dockerfile")
    unit = make_unit(image=tag, build=recipe("COPY . /context", listed="x"))
    list(runtime.prepare(unit))
    status, listing = runtime.execute(runtime.start(unit), ["ls", "-ln", "/context"])
    assert status == 0
    entries = [line.split() for line in listing.splitlines()[1:]]
    assert sorted(entry[-1] for entry in entries) == ["Dockerfile", "listed"]
    assert {(entry[2], entry[3]) for entry in entries} == {("0", "0")}


def test_a_failed_build_shows_the_failing_step_s_words_and_leaves_nothing_behind(
    runtime: DockerRuntime, client: EngineClient, make_unit: UnitMaker, recipe: MakeBuild, tag: str
) -> None:
    word = uuid.uuid4().hex
    build = recipe("RUN echo before", f"RUN echo {word}; echo no such header >&2; exit 3")
    with pytest.raises(ImageBuildFailed, match="returned a non-zero code: 3") as caught:
        list(runtime.prepare(make_unit(image=tag, build=build)))
    assert caught.value.details == ("no such header",)
    assert inspect_image(client, tag) is None
    assert containers_running(client, word) == []


def test_an_interrupted_build_leaves_no_container_behind(
    runtime: DockerRuntime, client: EngineClient, make_unit: UnitMaker, recipe: MakeBuild, tag: str
) -> None:
    word = uuid.uuid4().hex
    building = runtime.prepare(make_unit(image=tag, build=recipe(f"RUN sleep 600; echo {word}", "RUN true")))
    assert next(state for state in building if state.done == 2).message == f"Building {tag}"
    eventually(lambda: containers_running(client, word))
    close = getattr(building, "close", None)
    assert close is not None
    close()
    eventually(lambda: not containers_running(client, word), 30)


def test_a_base_image_that_does_not_exist_is_named(
    runtime: DockerRuntime, make_unit: UnitMaker, recipe: MakeBuild, tag: str, registry: str
) -> None:
    base = f"{registry}/pmpctl-test/no-such-base:1"
    with pytest.raises(ImagePullFailed, match=f"there is no image {base}"):
        list(runtime.prepare(make_unit(image=tag, build=recipe("RUN true", base=base))))


def test_a_recipe_that_makes_no_sense_is_told(
    runtime: DockerRuntime, make_unit: UnitMaker, recipe: MakeBuild, tag: str
) -> None:
    with pytest.raises(ImageBuildFailed, match="unknown instruction"):
        list(runtime.prepare(make_unit(image=tag, build=recipe("RUNN true"))))


def test_a_file_that_went_missing_is_named(
    runtime: DockerRuntime, make_unit: UnitMaker, recipe: MakeBuild, tag: str, tmp_path: Path
) -> None:
    build = recipe("RUN true")
    (tmp_path / "Dockerfile").unlink()
    with pytest.raises(ImageBuildFailed, match=f"{tmp_path}/Dockerfile cannot be read") as caught:
        list(runtime.prepare(make_unit(image=tag, build=build)))
    assert caught.value.cure == "Install pmpctl anew; a file of it is missing or not readable."


@pytest.mark.parametrize("engine", ["docker_host"], indirect=True)
def test_packages_that_cannot_be_downloaded_are_told(
    runtime: DockerRuntime, make_unit: UnitMaker, recipe: MakeBuild, tag: str
) -> None:
    install = "RUN python3 -m venv /v && /v/bin/pip install --retries 0 --index-url http://127.0.0.1:1/ fastapi"
    with pytest.raises(ImageBuildFailed, match="packages cannot be downloaded") as caught:
        list(runtime.prepare(make_unit(image=tag, build=recipe(install))))
    assert any("ERROR" in line for line in caught.value.details)
