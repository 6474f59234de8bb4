from pathlib import Path

import pytest

from pmpctl.hub.cache import find_snapshot, is_complete
from tests.unit.hub.checkpoints import COMMIT, SHARDS, index, one_file, two_shards, write_cache

MODEL = "owner/model"


def missing(models_dir: Path) -> tuple[str, ...]:
    snapshot = find_snapshot(models_dir, MODEL, None)
    assert snapshot is not None
    return snapshot.missing()


def test_a_snapshot_with_all_that_its_index_names_is_complete(tmp_path: Path) -> None:
    write_cache(tmp_path, MODEL, two_shards())

    assert missing(tmp_path) == ()
    assert is_complete(tmp_path, MODEL, None)
    assert is_complete(tmp_path, MODEL, COMMIT)


def test_a_model_that_was_never_downloaded_is_not_complete(tmp_path: Path) -> None:
    write_cache(tmp_path, MODEL, two_shards())

    assert not is_complete(tmp_path, "owner/other", None)
    assert not is_complete(tmp_path, MODEL, "another-branch")
    assert not is_complete(tmp_path, MODEL, "x" * 300)


def test_a_branch_whose_ref_was_cut_short_counts_as_not_downloaded(tmp_path: Path) -> None:
    snapshot = write_cache(tmp_path, MODEL, two_shards())
    (snapshot.parents[1] / "refs/main").write_text("")

    assert find_snapshot(tmp_path, MODEL, None) is None


@pytest.mark.parametrize("lost", SHARDS)
def test_a_shard_that_is_not_downloaded_is_named(tmp_path: Path, lost: str) -> None:
    files = two_shards()
    del files[lost]
    write_cache(tmp_path, MODEL, files)

    assert missing(tmp_path) == (lost,)
    assert not is_complete(tmp_path, MODEL, None)


def test_a_link_to_a_blob_that_is_gone_is_a_missing_file(tmp_path: Path) -> None:
    snapshot = write_cache(tmp_path, MODEL, two_shards())
    (snapshot / SHARDS[0]).resolve().unlink()

    assert missing(tmp_path) == (SHARDS[0],)


def test_the_number_in_a_shards_name_tells_of_the_others_before_the_index_is_there(tmp_path: Path) -> None:
    files = two_shards()
    del files["model.safetensors.index.json"], files[SHARDS[0]]
    write_cache(tmp_path, MODEL, files)

    assert missing(tmp_path) == (SHARDS[0],)


def test_a_snapshot_with_a_configuration_alone_lacks_its_weights(tmp_path: Path) -> None:
    write_cache(tmp_path, MODEL, {"config.json": b"{}", "tokenizer.json": b"{}"})

    assert missing(tmp_path) == ("*.safetensors",)


def test_a_snapshot_with_weights_alone_lacks_its_configuration(tmp_path: Path) -> None:
    write_cache(tmp_path, MODEL, {"model.safetensors": one_file()["model.safetensors"]})

    assert missing(tmp_path) == ("config.json",)


def test_one_complete_copy_of_the_weights_is_enough(tmp_path: Path) -> None:
    files = two_shards()
    del files[SHARDS[0]]
    write_cache(tmp_path, MODEL, {**files, "consolidated.safetensors": b""})

    assert missing(tmp_path) == ()


def test_weights_in_an_older_format_count_too(tmp_path: Path) -> None:
    shards = {"pytorch_model-00001-of-00002.bin": ["a"], "pytorch_model-00002-of-00002.bin": ["b"]}
    files = {"config.json": b"{}", "pytorch_model.bin.index.json": index(shards)}
    write_cache(tmp_path, MODEL, {**files, "pytorch_model-00001-of-00002.bin": b""})

    assert missing(tmp_path) == ("pytorch_model-00002-of-00002.bin",)
