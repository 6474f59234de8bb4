"""The Hugging Face cache on disk, in the hub's own layout: `hub/models--NAMESPACE--NAME/{blobs,snapshots,refs}`."""

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pmpctl.hub.files import Folder
from pmpctl.hub.weight_files import OTHER_FORMATS, SAFETENSORS, find_weight_files

DEFAULT_REVISION = "main"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One commit of a model as far as it is downloaded; unfinished files are not in it."""

    commit: str
    files: Folder

    def missing(self) -> tuple[str, ...]:
        """What vLLM needs of configuration and weights and is not there; names, or patterns where no name is known."""
        lost = () if self.files.names & {"config.json", "params.json"} else ("config.json",)
        weights = find_weight_files(self.files, (*SAFETENSORS, *OTHER_FORMATS))
        return lost + (weights.missing if weights else ("*.safetensors",))


def repository_folder(cache: Path, model: str) -> Path:
    return cache / "hub" / f"models--{model.replace('/', '--')}"


def find_snapshot(cache: Path, model: str, revision: str | None) -> Snapshot | None:
    """What is downloaded of a branch, tag or commit; None if nothing is, or nothing of that revision."""
    repository = repository_folder(cache, model)
    revision = revision or DEFAULT_REVISION
    if ".." in PurePosixPath(revision).parts:
        return None
    try:
        commit = (repository / "refs" / revision).read_text().strip()
    except (OSError, ValueError):
        commit = revision
    commit = PurePosixPath(commit).name
    files = Folder(repository / "snapshots" / commit)
    return Snapshot(commit, files) if commit and files.exists() else None


def is_complete(cache: Path, model: str, revision: str | None) -> bool:
    """Whether configuration and all weight files of that revision are downloaded."""
    snapshot = find_snapshot(cache, model, revision)
    return snapshot is not None and not snapshot.missing()


def downloaded_bytes(cache: Path, model: str) -> int:
    """What lies on disk of a hub model, unfinished files counted by what they hold; 0 for a local one."""
    blobs = repository_folder(cache, model) / "blobs"
    total = 0
    try:
        for blob in blobs.iterdir():
            # Unfinished files may be sparse: count what is really there.
            total += blob.stat().st_blocks * 512
    except OSError:
        # A file that was finished and renamed between the two calls is counted in the next round.
        pass
    return total
