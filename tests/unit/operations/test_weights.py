"""Weights come onto this machine before anything is stopped: real downloads from a stub of the hub."""

from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from pmpctl.errors import (
    DiskFull,
    HubTokenRefused,
    HubUnreachable,
    ModelGated,
    ModelNotCached,
    ModelNotFound,
    WeightsMissing,
)
from pmpctl.hub.cache import find_snapshot, is_complete, repository_folder
from pmpctl.operations.environment import Environment
from pmpctl.operations.events import Event, Notice, PhaseProgress
from pmpctl.operations.weights import ensure_weights, find_weights
from pmpctl.workspace import Workspace
from tests.cards import run_operation
from tests.support import eventually
from tests.unit.hub.checkpoints import COMMIT, SHARDS, one_file, two_shards, write_cache, write_folder
from tests.unit.hub.stub_hub import Fault, StubHub, running_hub

MODEL = "owner/model"
SECRET = "hf_secret0123456789abcdefghij"
LATER = "fedcba9876543210fedcba9876543210fedcba98"

Ensure = Callable[..., tuple[str, list[Event]]]


@pytest.fixture
def hub() -> Iterator[StubHub]:
    with running_hub() as stub:
        yield stub


@pytest.fixture
def cache(workspace: Workspace) -> Path:
    return workspace.root / "models"


def environment(workspace: Workspace, hub: StubHub, **variables: str) -> Environment:
    told = {"HOME": str(workspace.root), "HF_ENDPOINT": hub.url, "HF_HUB_DISABLE_XET": "1"}
    return Environment(workspace, None, "process", told | variables)


@pytest.fixture
def ensure(workspace: Workspace, hub: StubHub, cache: Path) -> Ensure:
    """`ensure_weights` of a profile with these keys; what it says, and its events."""
    cache.mkdir()

    def ask(keys: str = f'model = "{MODEL}"', **variables: str) -> tuple[str, list[Event]]:
        (workspace.root / "profiles.toml").write_text(f"[profiles.mine]\n{keys}\n")
        here = environment(workspace, hub, **variables)
        file = here.profile_file()
        seen: list[Event] = []
        said = run_operation(ensure_weights(here, file, file.profile("mine")), seen.append)
        return said, seen

    return ask


def store_names(hub: StubHub) -> set[str]:
    """The weight files that were fetched."""
    return {each.path.rpartition("/")[2].partition("?")[0] for each in hub.asked_of_store}


def test_what_is_missing_is_downloaded_with_its_progress_told(ensure: Ensure, hub: StubHub, cache: Path) -> None:
    hub.add(MODEL, {**two_shards(), "tokenizer.json": b"{}", "chat_template.jinja": b"{{ x }}"})

    _, seen = ensure()

    assert is_complete(cache, MODEL, None)
    snapshot = find_snapshot(cache, MODEL, "main")
    assert snapshot is not None
    assert {"tokenizer.json", "chat_template.jinja"} <= snapshot.files.names
    progress = [event for event in seen if isinstance(event, PhaseProgress)]
    size = sum(map(len, hub.repositories[MODEL].files.values()))
    assert {event.total for event in progress} == {size}
    assert progress[-1].done == size


def test_what_is_complete_is_not_downloaded_again(ensure: Ensure, hub: StubHub) -> None:
    hub.add(MODEL, two_shards())
    ensure()
    fetched = len(hub.asked_of_store)

    _, seen = ensure()

    assert len(hub.asked_of_store) == fetched
    assert seen == []


def test_a_branch_that_moved_on_is_fetched_before_the_engine_would_do_so_in_the_gap(
    ensure: Ensure, hub: StubHub, cache: Path
) -> None:
    write_cache(cache, MODEL, two_shards())
    repository = hub.add(MODEL, one_file())
    repository.commit = LATER

    ensure()

    snapshot = find_snapshot(cache, MODEL, "main")
    assert snapshot is not None
    assert snapshot.commit == LATER
    assert snapshot.missing() == ()
    assert is_complete(cache, MODEL, COMMIT)


def test_a_pinned_commit_is_what_it_was(ensure: Ensure, hub: StubHub, cache: Path) -> None:
    write_cache(cache, MODEL, two_shards())
    hub.add(MODEL, two_shards())

    ensure(f'model = "{MODEL}"\nrevision = "{COMMIT}"')

    assert hub.asked_of_store == []


def test_one_copy_of_the_weights_is_enough_and_it_is_the_one_that_vllm_loads(ensure: Ensure, hub: StubHub) -> None:
    other = {"pytorch_model.bin": b"x" * 100, "model.gguf": b"x", "consolidated.safetensors": b"x", "a.py": b""}
    hub.add(MODEL, {**two_shards(), **other})

    ensure(f'model = "{MODEL}"\nload_format = "safetensors"')

    assert store_names(hub) == set(SHARDS)
    assert not {"pytorch_model.bin", "model.gguf", "a.py"} & set(hub.files_asked())


def test_a_repository_without_weights_is_named(ensure: Ensure, hub: StubHub) -> None:
    hub.add(MODEL, {"config.json": b"{}", "model.onnx": b"x"})

    with pytest.raises(WeightsMissing, match="has no weights that vLLM loads"):
        ensure()


def test_a_gated_model_is_told_apart_from_an_unknown_one(ensure: Ensure, hub: StubHub) -> None:
    hub.add(MODEL, two_shards()).gate = SECRET

    with pytest.raises(ModelGated, match="no token says who asks"):
        ensure()
    hub.known_tokens = {SECRET, "hf_other"}
    with pytest.raises(ModelGated, match="the token in HF_TOKEN has no access"):
        ensure(HF_TOKEN="hf_other")
    with pytest.raises(ModelNotFound):
        ensure('model = "owner/other"')
    with pytest.raises(HubTokenRefused):
        ensure(HF_TOKEN="hf_unknown")

    ensure(HF_TOKEN=SECRET)


def test_without_network_only_what_is_there_counts(ensure: Ensure, hub: StubHub, cache: Path) -> None:
    files = two_shards()
    lost = files.pop(SHARDS[1])
    folder = write_cache(cache, MODEL, files)

    with pytest.raises(ModelNotCached, match=SHARDS[1]):
        ensure(HF_HUB_OFFLINE="1")
    (folder / SHARDS[1]).write_bytes(lost)

    assert ensure(HF_HUB_OFFLINE="1") == ("the Hugging Face cache", [])
    assert hub.asked == []


def test_a_hub_out_of_reach_stops_only_what_needs_it(ensure: Ensure, hub: StubHub, cache: Path) -> None:
    nowhere = {"HF_ENDPOINT": "http://localhost:1"}
    with pytest.raises(HubUnreachable):
        ensure(**nowhere)
    write_cache(cache, MODEL, two_shards())

    _, seen = ensure(**nowhere)

    [notice] = seen
    assert isinstance(notice, Notice)
    assert "what is downloaded is used" in notice.message


def test_a_disk_that_is_too_small_is_named_before_anything_is_downloaded(
    ensure: Ensure, hub: StubHub, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pmpctl.operations.weights.SPARE_BYTES", 1 << 60)
    hub.add(MODEL, two_shards())

    with pytest.raises(DiskFull, match=f"disk of {cache}"):
        ensure()
    assert hub.asked_of_store == []


def test_a_hub_that_fails_is_told_and_the_next_try_completes(ensure: Ensure, hub: StubHub, cache: Path) -> None:
    hub.add(MODEL, two_shards())
    hub.faults_of_store = [Fault(503)]

    with pytest.raises(HubUnreachable):
        ensure()
    ensure()

    assert is_complete(cache, MODEL, None)


def test_an_end_in_the_middle_leaves_no_process_and_no_rubbish_and_keeps_what_is_complete(
    workspace: Workspace, ensure: Ensure, hub: StubHub, cache: Path
) -> None:
    hub.add(MODEL, two_shards())
    (workspace.root / "profiles.toml").write_text(f'[profiles.mine]\nmodel = "{MODEL}"\n')
    here = environment(workspace, hub, HF_TOKEN=SECRET)
    hub.known_tokens = {SECRET}
    hub.faults_of_store = [Fault(200, stalls=True)]
    file = here.profile_file()
    operation = ensure_weights(here, file, file.profile("mine"))
    blobs = repository_folder(cache, MODEL) / "blobs"

    def begun() -> list[Path]:
        next(operation)
        return list(blobs.glob("*.incomplete"))

    # One shard hangs, the other is complete.
    eventually(lambda: begun() and len(store_names(hub)) == 2 and len(list(blobs.glob("*"))) >= 4, 30)
    [helper] = [child for child in psutil.Process().children() if "pmpctl.hub.download" in child.cmdline()]
    assert SECRET not in " ".join([*helper.cmdline(), *helper.environ().values()])

    operation.close()

    assert not helper.is_running()
    assert list(blobs.glob("*.incomplete")) == []
    fetched = len(hub.asked_of_store)
    ensure(HF_TOKEN=SECRET)
    assert is_complete(cache, MODEL, None)
    assert len(hub.asked_of_store) == fetched + 1


def test_a_folder_that_lacks_weights_is_named_with_what_it_lacks(
    ensure: Ensure, workspace: Workspace, hub: StubHub
) -> None:
    files = two_shards()
    del files[SHARDS[0]]
    write_folder(workspace.root / "own", files)

    with pytest.raises(WeightsMissing, match=SHARDS[0]):
        ensure('model = "./own"')
    write_folder(workspace.root / "own", two_shards())

    assert ensure('model = "./own"')[0] == str(workspace.root / "own")
    assert ensure('model = "builtin:demo"')[1] == []
    assert hub.asked == []


def test_a_dry_run_says_what_would_be_downloaded_and_asks_nobody(
    workspace: Workspace, hub: StubHub, cache: Path
) -> None:
    (workspace.root / "profiles.toml").write_text(f'[profiles.mine]\nmodel = "{MODEL}"\n')
    here = environment(workspace, hub)
    file = here.profile_file()

    assert find_weights(here, file, file.profile("mine")).startswith("to be downloaded")
    write_cache(cache, MODEL, two_shards())
    assert find_weights(here, file, file.profile("mine")) == "on this machine"
    assert hub.asked == []
