"""Where the facts of a model come from: the package, what is downloaded, a folder, and last the hub."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from pmpctl.errors import HubRateLimited, HubTokenRefused, HubUnreachable, ModelGated, ModelNotCached, ModelNotFound
from pmpctl.hub.cache import DEFAULT_REVISION, Snapshot, find_snapshot
from pmpctl.hub.checkpoint import CONFIG, read_checkpoint
from pmpctl.hub.files import Files, Folder, Layered
from pmpctl.hub.kept import KeptFacts
from pmpctl.hub.settings import HubSettings, read_settings
from pmpctl.planning.context import is_local
from pmpctl.vram.facts import ModelFacts
from pmpctl.vram.shipped import shipped_facts
from pmpctl.workspace import Workspace

PACKAGE = Path(__file__).resolve().parents[1]
DOWNLOADED = "the Hugging Face cache"
HUB_REFUSALS = (HubRateLimited, HubTokenRefused, HubUnreachable, ModelGated, ModelNotFound)


def find_facts(
    model: str,
    *,
    revision: str | None,
    models_dir: Path,
    workspace: Workspace,
    profile_folder: Path,
    offline: bool,
    environment: Mapping[str, str],
) -> ModelFacts:
    """The facts of a profile's `model`, from the nearest place that has them; raises what the user can mend.

    What is only partly downloaded is completed from the hub; where the hub cannot be asked, what is there is returned
    with a note. Facts from the hub are kept in the workspace, so that it is asked once.
    """
    if is_local(model):
        return _of_folder(model, profile_folder)
    revision = revision or DEFAULT_REVISION
    shipped = shipped_facts(model)
    if shipped is not None and revision in {DEFAULT_REVISION, shipped.revision}:
        return shipped
    settings = read_settings(environment, workspace, offline=offline)
    kept = KeptFacts(workspace.cache_dir / "facts")

    snapshot = find_snapshot(models_dir, model, revision)
    if snapshot is not None and CONFIG not in snapshot.files.names:
        snapshot = None
    downloaded = snapshot and _read(model, snapshot.commit, snapshot.files, DOWNLOADED, may_lack_weights=True)
    if downloaded and downloaded.tensors:
        return downloaded
    wanted = snapshot.commit if snapshot else kept.commit(model, revision, fresh=True)
    if known := kept.load(model, wanted):
        return known

    second_best = downloaded or kept.load(model, kept.commit(model, revision, fresh=False))
    if second_best is None and shipped is not None:
        second_best = _noted(shipped, f"nothing is known of its revision {revision!r}: these facts are of another")
    if settings.offline_because:
        if second_best is None:
            raise _not_cached(model, settings.offline_because)
        return second_best
    try:
        facts = _ask_hub(settings, model, wanted, snapshot)
    except HUB_REFUSALS as error:
        if second_best is None:
            raise
        return _noted(second_best, f"the hub could not be asked: {error.message}")
    try:
        kept.save(facts, wanted)
    except (OSError, ValueError) as error:
        return _noted(facts, f"they could not be kept for the next time: {error}")
    return facts


def _of_folder(model: str, profile_folder: Path) -> ModelFacts:
    path = (profile_folder / model).resolve()
    if model.startswith("builtin:"):
        path = PACKAGE / f"{model.removeprefix('builtin:')}_model"
    return _read(model, None, Folder(path), str(path))


def _ask_hub(settings: HubSettings, model: str, revision: str, snapshot: Snapshot | None) -> ModelFacts:
    # The HTTP client takes a quarter of a second to load, which those who need no network need not pay.
    from pmpctl.hub.client import HubClient

    with HubClient(settings) as client:
        on_hub = client.model(model, revision)
        files = Layered(snapshot.files, on_hub) if snapshot else on_hub
        return _read(model, on_hub.commit, files, f"the hub ({client.host})")


def _read(model: str, commit: str | None, files: Files, source: str, *, may_lack_weights: bool = False) -> ModelFacts:
    found = read_checkpoint(files, may_lack_weights=may_lack_weights)
    return ModelFacts(model, commit, found.config, found.tensors, found.weights_bytes, source, found.notes)


def _noted(facts: ModelFacts, note: str) -> ModelFacts:
    return replace(facts, notes=(*facts.notes, note))


def _not_cached(model: str, because: str) -> ModelNotCached:
    return ModelNotCached(
        f"nothing on this machine knows {model}, and {because} forbids asking the hub",
        cure=f"Run this once without {because}; pmpctl then remembers the model.",
    )
