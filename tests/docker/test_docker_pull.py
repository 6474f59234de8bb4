"""Images are pulled with progress, and what keeps one from arriving is told apart."""

import base64
import io
import json
import os
import tarfile
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from pmpctl.errors import DiskFull, ImagePullFailed, PlanInvalid, RuntimeFailed
from pmpctl.runtime import docker_connect
from pmpctl.runtime.docker import DockerRuntime
from pmpctl.runtime.docker_connect import EngineClient
from pmpctl.runtime.docker_images import inspect_image, pull_failed
from pmpctl.workspace import Workspace
from tests.docker.conftest import UnitMaker
from tests.docker.stub_registry import StubRegistry, serve_registry

pytestmark = pytest.mark.docker

PASSWORD = base64.b64encode(b"pmpctl:not-a-secret").decode()


@pytest.fixture
def stub_registry(client: EngineClient) -> Iterator[StubRegistry]:
    with serve_registry() as registry:
        yield registry
    for image in client.images():
        for tag in image["RepoTags"] or ():
            if tag.startswith(f"{registry.address}/"):
                client.remove_image(tag)


@pytest.fixture
def image_name() -> str:
    return f"pmpctl-test-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def pushed(client: EngineClient, registry: str, image_name: str) -> Iterator[str]:
    """An image that lies in a real registry, and no longer in the engine."""
    reference = f"{registry}/{image_name}"
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("empty"))
    client.import_image_from_data(archive.getvalue(), reference, "1")
    for event in client.push(reference, "1", stream=True, decode=True):
        assert "error" not in event
    client.remove_image(f"{reference}:1")
    yield f"{reference}:1"
    client.remove_image(f"{reference}:1")


def failure(runtime: DockerRuntime, make_unit: UnitMaker, image: str) -> ImagePullFailed:
    with pytest.raises(ImagePullFailed) as caught:
        list(runtime.prepare(make_unit(image=image)))
    assert image in caught.value.message
    return caught.value


def test_an_image_of_a_real_registry_is_pulled_once(
    runtime: DockerRuntime, client: EngineClient, make_unit: UnitMaker, pushed: str
) -> None:
    unit = make_unit(image=pushed)
    assert list(runtime.prepare(unit))
    assert inspect_image(client, pushed) is not None
    assert list(runtime.prepare(unit)) == []


def test_a_tag_that_the_registry_lacks_is_told(runtime: DockerRuntime, make_unit: UnitMaker, registry: str) -> None:
    error = failure(runtime, make_unit, f"{registry}/pmpctl-test/no-such-image:1")
    assert "there is no image" in error.message
    assert f"docker login {registry}" in error.cure


def test_a_digest_that_the_registry_lacks_is_told(runtime: DockerRuntime, make_unit: UnitMaker, registry: str) -> None:
    error = failure(runtime, make_unit, f"{registry}/pmpctl-test/no-such-image@sha256:{'0' * 64}")
    assert "there is no image" in error.message


def test_a_registry_that_wants_a_password_is_told(
    runtime: DockerRuntime, make_unit: UnitMaker, auth_registry: str
) -> None:
    error = failure(runtime, make_unit, f"{auth_registry}/private/engine:1")
    assert f"`docker login {auth_registry}`" in error.cure


def test_the_password_of_docker_s_config_file_is_used(
    engine: str,
    workspace: Workspace,
    make_unit: UnitMaker,
    auth_registry: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"auths": {auth_registry: {"auth": PASSWORD}}}))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    runtime = DockerRuntime.connect(workspace, engine, {})
    # Only who is let in learns that there is no such image.
    assert "there is no image" in failure(runtime, make_unit, f"{auth_registry}/private/engine:1").message
    runtime.close()


@pytest.mark.filterwarnings("ignore:docker-credential-no-such-helper not installed:UserWarning")
def test_a_broken_credential_helper_is_told(
    engine: str,
    workspace: Workspace,
    make_unit: UnitMaker,
    registry: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "config.json").write_text('{"credsStore": "no-such-helper"}')
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    runtime = DockerRuntime.connect(workspace, engine, {})
    with pytest.raises(RuntimeFailed, match="credential helper") as caught:
        list(runtime.prepare(make_unit(image=f"{registry}/pmpctl-test/x:1")))
    assert "credsStore" in caught.value.cure
    runtime.close()


def test_progress_counts_the_bytes_of_all_layers(
    runtime: DockerRuntime, make_unit: UnitMaker, stub_registry: StubRegistry, image_name: str
) -> None:
    layers = stub_registry.add_image(image_name, [os.urandom(3_000_000), os.urandom(2_000_000), b"small"])
    total = sum(len(stub_registry.blobs[layer]) for layer in layers)
    seen = list(runtime.prepare(make_unit(image=stub_registry.reference(image_name))))
    assert (seen[0].done, seen[0].total) == (0, None)
    pulling = [one for one in seen if one.message.startswith("Pulling")]
    assert [one.done for one in pulling] == sorted(one.done for one in pulling)
    # On a busy machine the engine tells of a layer's size only when it has it.
    assert all(one.total is None or one.done <= one.total <= total for one in pulling)
    assert (seen[-1].message.split()[0], seen[-1].done, seen[-1].total) == ("Unpacking", total, total)


def test_an_interrupted_pull_is_taken_up_again(
    runtime: DockerRuntime, client: EngineClient, make_unit: UnitMaker, stub_registry: StubRegistry, image_name: str
) -> None:
    (layer,) = stub_registry.add_image(image_name, [os.urandom(4_000_000)])
    stub_registry.held[layer] = threading.Event()
    unit = make_unit(image=stub_registry.reference(image_name))
    pull = runtime.prepare(unit)
    assert next(progress for progress in pull if progress.done).total == len(stub_registry.blobs[layer])
    close = getattr(pull, "close", None)
    assert close is not None
    close()
    assert inspect_image(client, unit.image) is None
    stub_registry.held.pop(layer).set()
    list(runtime.prepare(unit))
    assert inspect_image(client, unit.image) is not None


def test_a_layer_that_arrives_damaged_is_told_though_the_stream_began_well(
    runtime: DockerRuntime, client: EngineClient, make_unit: UnitMaker, stub_registry: StubRegistry, image_name: str
) -> None:
    (layer,) = stub_registry.add_image(image_name, [os.urandom(1_000_000)])
    stub_registry.damage(layer)
    error = failure(runtime, make_unit, stub_registry.reference(image_name))
    assert "arrived damaged" in error.message
    assert inspect_image(client, stub_registry.reference(image_name)) is None


@pytest.mark.parametrize(
    ("refusal", "words"),
    [
        ((429, "TOOMANYREQUESTS"), "too many pulls"),
        ((403, "DENIED"), "you may not see it"),
        ((503, "UNAVAILABLE"), "cannot be reached"),
        ((500, "UNKNOWN"), "cannot be reached"),
    ],
)
def test_a_registry_that_refuses_is_told_apart(
    runtime: DockerRuntime,
    make_unit: UnitMaker,
    stub_registry: StubRegistry,
    image_name: str,
    refusal: tuple[int, str],
    words: str,
) -> None:
    stub_registry.add_image(image_name, [b"x"])
    stub_registry.refusal = refusal
    assert words in failure(runtime, make_unit, stub_registry.reference(image_name)).message


def test_an_image_for_another_processor_is_refused(
    runtime: DockerRuntime, make_unit: UnitMaker, stub_registry: StubRegistry, image_name: str
) -> None:
    stub_registry.add_list_for_another_processor(image_name)
    error = failure(runtime, make_unit, stub_registry.reference(image_name))
    assert "not made for this machine's processor" in error.message


def test_an_image_for_another_processor_is_refused_also_when_the_registry_sent_it(
    runtime: DockerRuntime, make_unit: UnitMaker, stub_registry: StubRegistry, image_name: str
) -> None:
    stub_registry.add_image(image_name, [b"x"], architecture="s390x")
    for _ in range(2):
        error = failure(runtime, make_unit, stub_registry.reference(image_name))
        assert "made for s390x processors" in error.message


@pytest.mark.parametrize("image", ["127.0.0.1:1/engine:1", "registry.invalid/engine:1"])
def test_a_registry_that_nobody_reaches_is_told(runtime: DockerRuntime, make_unit: UnitMaker, image: str) -> None:
    error = failure(runtime, make_unit, image)
    assert "cannot be reached" in error.message
    assert "Check the network" in error.cure


def test_a_pull_that_goes_silent_ends_with_an_error(
    runtime: DockerRuntime,
    make_unit: UnitMaker,
    stub_registry: StubRegistry,
    image_name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (layer,) = stub_registry.add_image(image_name, [os.urandom(4_000_000)])
    stub_registry.held[layer] = threading.Event()
    monkeypatch.setattr(docker_connect, "SILENCE_TIMEOUT_SECONDS", 1)
    error = failure(runtime, make_unit, stub_registry.reference(image_name))
    assert "nothing arrived" in error.message


def test_a_name_that_is_no_name_is_the_profile_s_fault(runtime: DockerRuntime, make_unit: UnitMaker) -> None:
    with pytest.raises(PlanInvalid, match="not an image's name"):
        list(runtime.prepare(make_unit(image="127.0.0.1:5999/UPPER:1")))


def test_a_full_disk_is_told_as_such() -> None:
    reason = "write /var/lib/docker/tmp/GetImageBlob1: no space left on device"
    assert type(pull_failed("vllm/vllm-openai:v0.32.0", reason)) is DiskFull


def test_the_public_registry_is_logged_into_without_a_name() -> None:
    error = pull_failed("vllm/vllm-openai:v0.32.0", "toomanyrequests: You have reached your pull rate limit")
    assert "`docker login`" in error.cure
