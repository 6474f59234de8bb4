"""Downloads files of a model into the Hugging Face cache; a helper process, because huggingface_hub is slow to load.

The order: `model`, `revision` (a commit), `patterns`, `cache`, `endpoint`, `token` (or null), and `spare_bytes`, which
are to stay free on the disk. It tells `total_bytes` once, and at the end `done`, or one of `refused` (an answer of the
hub), `full` (bytes needed and free) and `failed` (words).
"""

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pmpctl.helper import Tell, serve

WORKERS = 2
"""Files at a time: a serving engine shares the network and the disk, and what is begun when it ends is lost."""


def download(order: dict[str, Any], tell: Tell) -> None:
    # Read when it is imported.
    os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    wanted: dict[str, Any] = {
        "repo_id": order["model"],
        "revision": order["revision"],
        "cache_dir": Path(order["cache"], "hub"),
        "allow_patterns": order["patterns"],
        "endpoint": order["endpoint"],
        "token": order["token"] or False,
        "max_workers": WORKERS,
    }
    try:
        files = snapshot_download(**wanted, dry_run=True)
        total_bytes = sum(file.file_size or 0 for file in files if file.will_download)
        free_bytes = shutil.disk_usage(order["cache"]).free
        if total_bytes + order["spare_bytes"] > free_bytes:
            tell(full={"needed_bytes": total_bytes, "free_bytes": free_bytes})
            return
        tell(total_bytes=total_bytes)
        snapshot_download(**wanted)
        tell(done=True)
    except Exception as error:  # noqa: BLE001 (whoever gave the order words it)
        refusals = [each for each in _causes(error) if isinstance(each, HfHubHTTPError)]
        if refusals:
            answer = refusals[0].response
            tell(refused={"status": answer.status_code, "headers": dict(answer.headers), "host": answer.url.host})
        elif any(isinstance(each, OSError) and each.errno == errno.ENOSPC for each in _causes(error)):
            tell(full={"needed_bytes": None, "free_bytes": shutil.disk_usage(order["cache"]).free})
        else:
            tell(failed=f"{type(error).__name__}: {error}")


def remove_what_is_begun() -> None:
    """huggingface_hub never goes on with a file that another process began."""
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            if (target := link.readlink()).suffix == ".incomplete":
                target.unlink()


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


if __name__ == "__main__":
    serve(download, remove_what_is_begun)
