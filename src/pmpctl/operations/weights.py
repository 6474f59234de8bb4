"""Sees that the weights which the engine will load are on this machine, and downloads what is missing."""

import time
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pmpctl.errors import (
    DiskFull,
    HubUnreachable,
    ModelNotCached,
    PmpctlError,
    WeightsMissing,
    WorkspaceNotWritable,
)
from pmpctl.files import write_atomically
from pmpctl.hub.cache import DEFAULT_REVISION, Snapshot, downloaded_bytes, find_snapshot, repository_folder
from pmpctl.hub.facts import HUB_REFUSALS
from pmpctl.hub.files import Folder
from pmpctl.hub.refusals import Asked, from_answer
from pmpctl.hub.settings import HubSettings, read_settings
from pmpctl.hub.weight_files import SMALL_FILES, weights_to_load
from pmpctl.operations.background import in_background
from pmpctl.operations.card_use import gib
from pmpctl.operations.environment import HUB_SETTINGS, Environment, local_files
from pmpctl.operations.events import Notice, Operation, PhaseFinished, PhaseProgress, PhaseStarted
from pmpctl.planning.context import is_local
from pmpctl.profiles.model import Profile, ProfileFile
from pmpctl.runtime.helpers import helper

PHASE = "weights"
PATIENCE_SECONDS = 5.0
"""For the hub, where what is on this machine would do."""
LISTEN_SECONDS = 0.5
SPARE_BYTES = 1 << 30
HELPER_VARIABLES = (
    *HUB_SETTINGS,
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"),
)


@dataclass(frozen=True, slots=True)
class OnHub:
    """What the hub has of a model now, as far as it concerns its weights."""

    commit: str
    patterns: tuple[str, ...]
    """Of the files to have."""
    asked: Asked


def weights_folder(environment: Environment, file: ProfileFile, profile: Profile) -> Folder | None:
    """Where the weights of a profile lie on this machine; None for a model of which nothing is downloaded."""
    if is_local(profile.model):
        return Folder(local_files(file, profile)[profile.model].path)
    snapshot = find_snapshot(_cache(environment, file), profile.model, profile.revision)
    return snapshot.files if snapshot else None


def find_weights(environment: Environment, file: ProfileFile, profile: Profile) -> str:
    """In words what `ensure_weights` would find or do, without asking the network."""
    missing = _missing(weights_folder(environment, file, profile))
    if not missing:
        return "on this machine"
    return (
        f"to be downloaded: {', '.join(missing)}" if not is_local(profile.model) else f"missing: {', '.join(missing)}"
    )


def ensure_weights(environment: Environment, file: ProfileFile, profile: Profile) -> Operation[str]:
    """Returns in words where the weights come from; the engine then finds all of them on this machine.

    Raises what the user can mend: a model that is gated, unknown or incomplete, a hub out of reach, a full disk.
    """
    folder = weights_folder(environment, file, profile)
    if is_local(profile.model):
        _require_local(profile, _missing(folder))
        return f"{folder.path if folder else ''}"
    is_complete = not _missing(folder)
    settings = read_settings(environment.variables, environment.workspace, offline=False)
    if settings.offline_because:
        if not is_complete:
            raise _not_cached(profile, _missing(folder), settings.offline_because)
        return "the Hugging Face cache"
    try:
        on_hub = _ask_hub(settings, profile, PATIENCE_SECONDS if is_complete else None)
    except HUB_REFUSALS as error:
        if not is_complete:
            raise
        yield Notice("warning", f"{error.message}; what is downloaded is used")
        return "the Hugging Face cache"
    except TimeoutError:
        yield Notice("warning", f"the hub did not answer within {PATIENCE_SECONDS:g} s; what is downloaded is used")
        return "the Hugging Face cache"
    cache = _cache(environment, file)
    newest = find_snapshot(cache, profile.model, on_hub.commit)
    if newest is None or newest.missing():
        yield from _download(environment, settings, profile, cache, on_hub)
    _note_revision(cache, profile, on_hub.commit)
    return "the Hugging Face cache"


def _cache(environment: Environment, file: ProfileFile) -> Path:
    return environment.workspace.root / file.host.models_dir


def _missing(folder: Folder | None) -> tuple[str, ...]:
    return ("all of it",) if folder is None else Snapshot("", folder).missing()


def _require_local(profile: Profile, missing: tuple[str, ...]) -> None:
    if missing:
        raise WeightsMissing(
            f"the folder of {profile.model} lacks {', '.join(missing)}",
            cure="Complete the folder, or correct `model` in the profile.",
        )


def _not_cached(profile: Profile, missing: tuple[str, ...], because: str) -> ModelNotCached:
    return ModelNotCached(
        f"of {profile.model} this machine lacks {', '.join(missing)}, and {because} forbids downloading",
        cure=f"Run this once without {because}, or copy the model's folder into the Hugging Face cache.",
    )


def _ask_hub(settings: HubSettings, profile: Profile, patience_seconds: float | None) -> OnHub:
    """Raises TimeoutError where it takes longer."""
    # The HTTP client takes a quarter of a second to load, which those who need no network need not pay.
    from pmpctl.hub.client import HubClient

    def ask() -> OnHub:
        with HubClient(settings) as client:
            found = client.model(profile.model, profile.revision or DEFAULT_REVISION)
            weights = weights_to_load(found.names, profile.load_format)
            if not weights:
                raise WeightsMissing(
                    f"{found.place} has no weights that vLLM loads with load_format = {profile.load_format!r}",
                    cure="Choose a repository with .safetensors files, or correct `load_format`.",
                )
            code = ("*.py",) if profile.trust_remote_code else ()
            return OnHub(
                found.commit, (*sorted(weights), *SMALL_FILES, *code), client.asked(profile.model, found.commit)
            )

    future: Future[OnHub] = in_background(ask, "hub")
    return future.result(patience_seconds)


def _download(
    environment: Environment, settings: HubSettings, profile: Profile, cache: Path, on_hub: OnHub
) -> Operation[None]:
    yield PhaseStarted(PHASE, f"Downloading {profile.model}")
    began = time.monotonic()
    order = {
        "model": profile.model,
        "revision": on_hub.commit,
        "patterns": on_hub.patterns,
        "cache": str(cache),
        "endpoint": settings.endpoint,
        "token": settings.token.value if settings.token else None,
        "spare_bytes": SPARE_BYTES,
    }
    variables = {name: environment.variables[name] for name in HELPER_VARIABLES if name in environment.variables}
    variables["HF_HOME"] = str(environment.workspace.cache_dir / "huggingface")
    before_bytes, total_bytes, done = downloaded_bytes(cache, profile.model), None, False
    with helper("pmpctl.hub.download", order, variables) as downloader:
        while not downloader.ended:
            for said in downloader.listen(LISTEN_SECONDS):
                if "total_bytes" in said:
                    total_bytes = said["total_bytes"]
                elif "done" in said:
                    done = True
                else:
                    raise _failure(said, profile, cache, on_hub.asked)
            if total_bytes:
                so_far = min(downloaded_bytes(cache, profile.model) - before_bytes, total_bytes)
                yield PhaseProgress(PHASE, profile.model, done=max(0, so_far), total=total_bytes)
        if not done:
            raise HubUnreachable(
                f"the download of {profile.model} ended without a word",
                cure="Run the command again; files that are complete are kept.",
                details=downloader.last_words(),
            )
    yield PhaseFinished(PHASE, time.monotonic() - began, profile.model)


def _failure(said: dict[str, Any], profile: Profile, cache: Path, asked: Asked) -> PmpctlError:
    if (refused := said.get("refused")) is not None:
        return from_answer(asked, refused["status"], refused["headers"], answered_by=refused["host"]).error
    if (full := said.get("full")) is not None:
        needed = (
            f"{gib(full['needed_bytes'])} of it are needed for {profile.model}, and " if full["needed_bytes"] else ""
        )
        return DiskFull(
            f"there is too little space on the disk of {cache}: {needed}{gib(full['free_bytes'])} are free",
            cure="Make room there, or set `models_dir` of [host] to a folder on a larger disk.",
        )
    words = str(said.get("failed", ""))
    if "Permission denied" in words:
        return WorkspaceNotWritable(
            f"the Hugging Face cache in {cache} cannot be written: {words}",
            cure="Files in it may belong to root, from an engine's own downloads: `sudo chown -R $USER` that folder.",
        )
    return HubUnreachable(
        f"the download of {profile.model} broke off: {words}",
        cure="Check the network and run the command again; files that are complete are kept.",
    )


def _note_revision(cache: Path, profile: Profile, commit: str) -> None:
    """Where the engine looks up a branch without asking the hub; only once all of its files are there."""
    revision = profile.revision or DEFAULT_REVISION
    reference = repository_folder(cache, profile.model) / "refs" / revision
    if revision == commit or (reference.exists() and reference.read_text().strip() == commit):
        return
    try:
        reference.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(reference, commit, 0o644)
    except OSError:
        # The engine asks the hub itself then.
        return
