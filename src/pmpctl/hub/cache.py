"""The Hugging Face cache on disk, in the hub's own layout: `hub/models--NAMESPACE--NAME/{blobs,snapshots,refs}`."""

from pathlib import Path


def repository_folder(cache: Path, model: str) -> Path:
    return cache / "hub" / f"models--{model.replace('/', '--')}"


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
