"""Facts from what lies on this machine: the Hugging Face cache and folders, with the network forbidden."""

import json
from pathlib import Path

import pytest

from pmpctl.errors import ModelNotCached, ModelNotFound, ModelWithoutSafetensors, WeightsDamaged, WeightsNotFetched
from tests.support import find_free_port
from tests.unit.hub.checkpoints import (
    COMMIT,
    CONFIG,
    SHARDS,
    one_file,
    safetensors,
    two_shards,
    write_cache,
    write_folder,
)
from tests.unit.hub.conftest import Find
from tests.unit.hub.stub_hub import StubHub

MODEL = "owner/model"
SHIPPED = "Qwen/Qwen2.5-32B-Instruct-AWQ"
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 4976698672\n"


@pytest.fixture
def models_dir(tmp_path: Path) -> Path:
    return tmp_path / "models"


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("revision", [None, "main"])
def test_a_model_that_the_package_knows_needs_nothing_else(find: Find, revision: str | None) -> None:
    facts = find(SHIPPED, revision)

    assert facts.config["model_type"] == "qwen2"
    assert facts.tensors is not None
    assert facts.weights_bytes == facts.tensors.total_bytes > 19e9


def test_another_revision_of_a_shipped_model_is_looked_up(hub: StubHub, find: Find) -> None:
    hub.add(SHIPPED, one_file())

    assert find(SHIPPED, COMMIT).weights_bytes == 4096


@pytest.mark.usefixtures("no_network")
def test_offline_the_facts_of_another_revision_serve_and_that_is_said(find: Find) -> None:
    facts = find(SHIPPED, COMMIT, offline=True)

    assert facts.config["model_type"] == "qwen2"
    assert facts.notes == (f"nothing is known of its revision '{COMMIT}': these facts are of another",)


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("revision", [None, "main", COMMIT])
def test_a_downloaded_model_needs_no_network(find: Find, models_dir: Path, revision: str | None) -> None:
    write_cache(models_dir, MODEL, two_shards())

    facts = find(MODEL, revision)

    assert (facts.config, facts.weights_bytes, facts.revision) == (CONFIG, 6 << 20, COMMIT)
    assert (facts.source, facts.notes) == ("the Hugging Face cache", ())


@pytest.mark.usefixtures("no_network")
def test_the_revision_decides_between_snapshots(find: Find, models_dir: Path) -> None:
    write_cache(models_dir, MODEL, two_shards())
    write_cache(models_dir, MODEL, one_file(), commit="b" * 40, revision="refs/pr/1")

    assert find(MODEL, "refs/pr/1").weights_bytes == 4096
    assert find(MODEL, "b" * 40).weights_bytes == 4096


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("revision", ["elsewhere", "../../..", "../snapshots"])
def test_a_revision_that_is_not_downloaded_is_not_mistaken_for_another(
    find: Find, models_dir: Path, revision: str
) -> None:
    write_cache(models_dir, MODEL, two_shards())

    with pytest.raises(ModelNotCached):
        find(MODEL, revision, offline=True)


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize(
    ("offline", "environment", "named"),
    [
        (True, {}, "--offline"),
        (False, {"HF_HUB_OFFLINE": "1"}, "HF_HUB_OFFLINE"),
        (False, {"TRANSFORMERS_OFFLINE": "yes"}, "TRANSFORMERS_OFFLINE"),
    ],
)
def test_offline_an_unknown_model_is_an_error_that_names_what_forbids_the_network(
    find: Find, offline: bool, environment: dict[str, str], named: str
) -> None:
    with pytest.raises(ModelNotCached) as caught:
        find(MODEL, offline=offline, **environment)
    assert f"{named} forbids" in caught.value.message
    assert f"once without {named}" in caught.value.cure


def test_offline_what_the_hub_once_said_is_enough(hub: StubHub, find: Find, request: pytest.FixtureRequest) -> None:
    hub.add(MODEL, two_shards())
    first = find(MODEL)
    request.getfixturevalue("no_network")

    assert find(MODEL, offline=True) == first


@pytest.mark.usefixtures("no_network")
def test_a_download_in_progress_is_used_for_what_it_has(find: Find, models_dir: Path) -> None:
    files = two_shards()
    unfinished = files.pop(SHARDS[0])
    snapshot = write_cache(models_dir, MODEL, files)
    (snapshot.parents[1] / "blobs/e5f6.incomplete").write_bytes(unfinished[:1000])

    facts = find(MODEL, offline=True)

    assert (facts.config, facts.tensors, facts.weights_bytes) == (CONFIG, None, 6 << 20)
    assert facts.notes == (f"1 of 2 weight files are not in {snapshot}",)


@pytest.mark.usefixtures("no_network")
def test_a_download_that_has_no_weights_yet_still_has_a_configuration(find: Find, models_dir: Path) -> None:
    snapshot = write_cache(models_dir, MODEL, {"config.json": json.dumps(CONFIG).encode()})

    facts = find(MODEL, offline=True)

    assert (facts.config, facts.tensors, facts.weights_bytes) == (CONFIG, None, None)
    assert facts.notes == (f"no weights of it are in {snapshot}",)


def test_what_a_download_lacks_is_read_from_the_hub_at_the_same_commit(
    hub: StubHub, find: Find, models_dir: Path
) -> None:
    files = two_shards()
    hub.add(MODEL, dict(files))
    del files[SHARDS[1]]
    write_cache(models_dir, MODEL, files)

    facts = find(MODEL)

    assert (facts.weights_bytes, facts.revision, facts.notes) == (6 << 20, COMMIT, ())
    assert hub.asked[0].path.endswith(COMMIT)
    assert hub.files_asked() == [SHARDS[1]]
    assert find(MODEL, offline=True) == facts


def test_a_download_that_the_hub_cannot_complete_is_used_and_the_reason_is_said(find: Find, models_dir: Path) -> None:
    files = two_shards()
    del files[SHARDS[1]]
    write_cache(models_dir, MODEL, files)
    port = find_free_port()

    facts = find(MODEL, HF_ENDPOINT=f"http://localhost:{port}")

    assert facts.weights_bytes == 6 << 20
    assert facts.notes[1].startswith(f"the hub could not be asked: localhost:{port} cannot be reached")


@pytest.mark.usefixtures("no_network")
def test_a_downloaded_file_that_is_cut_short_is_named(find: Find, models_dir: Path) -> None:
    files = two_shards()
    files[SHARDS[1]] = files[SHARDS[1]][:-4096]
    snapshot = write_cache(models_dir, MODEL, files)

    with pytest.raises(WeightsDamaged) as caught:
        find(MODEL)
    assert f"{SHARDS[1]} of {snapshot} has" in caught.value.message
    assert "Delete that file" in caught.value.cure


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("name", ["./mine", "../{folder}/mine", "{path}/mine"])
def test_a_folder_counts_from_the_profile_file(find: Find, tmp_path: Path, name: str) -> None:
    write_folder(tmp_path / "mine", two_shards())

    facts = find(name.format(folder=tmp_path.name, path=tmp_path))

    assert (facts.config, facts.weights_bytes, facts.revision) == (CONFIG, 6 << 20, None)
    assert facts.source == str(tmp_path / "mine")


@pytest.mark.usefixtures("no_network")
def test_a_folder_that_is_not_there_is_named(find: Find, tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match=str(tmp_path / "mine")):
        find("./mine")


@pytest.mark.usefixtures("no_network")
def test_a_folder_without_safetensors_is_refused(find: Find, tmp_path: Path) -> None:
    write_folder(tmp_path / "mine", {"config.json": b"{}", "pytorch_model.bin": b"?"})

    with pytest.raises(ModelWithoutSafetensors, match=r"only \.bin files"):
        find("./mine")


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_clone_without_its_large_files_is_told_to_fetch_them(find: Find, tmp_path: Path, name: str) -> None:
    write_folder(tmp_path / "mine", {**one_file(), name: POINTER})

    with pytest.raises(WeightsNotFetched) as caught:
        find("./mine")
    assert f"{name} of {tmp_path}/mine is a Git LFS pointer" in caught.value.message
    assert "git lfs pull" in caught.value.cure


@pytest.mark.usefixtures("no_network")
def test_a_large_file_on_disk_is_read_no_further_than_its_header(find: Find, tmp_path: Path) -> None:
    """A sparse file of a terabyte would take hours to read."""
    header = safetensors({"a": ("BF16", [0])}).replace(b'"shape": [0], "data_offsets": [0, 0]', b"%s")
    shape = b'"shape": [549755813888], "data_offsets": [0, 1099511627776]'
    content = header[8:].replace(b"%s", shape)
    folder = write_folder(
        tmp_path / "mine", {**one_file(), "model.safetensors": len(content).to_bytes(8, "little") + content}
    )
    with (folder / "model.safetensors").open("ab") as file:
        file.truncate(8 + len(content) + 1099511627776)

    assert find("./mine").weights_bytes == 1 << 40
