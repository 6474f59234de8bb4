"""Reads files into the page cache, at the lowest priority and a bounded rate; a helper process.

The order: `paths`, and `limit_bytes` and `bytes_per_second`. It tells `done_bytes` now and then, and at the end
`read_bytes`, those of them that came from the disk.
"""

import contextlib
import os
import time
from pathlib import Path
from typing import Any

from pmpctl.helper import Tell, serve

CHUNK_BYTES = 16 << 20
TELL_SECONDS = 0.5


def warm(order: dict[str, Any], tell: Tell) -> None:
    _be_the_last_to_read()
    begun = told = time.monotonic()
    done_bytes = read_bytes = 0
    buffer = bytearray(CHUNK_BYTES)
    for path in order["paths"]:
        with Path(path).open("rb", buffering=0) as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_SEQUENTIAL)
            offset = 0
            while done_bytes < order["limit_bytes"]:
                size, was_cached = _read(file.fileno(), buffer, offset)
                if size == 0:
                    break
                offset += size
                done_bytes += size
                read_bytes += 0 if was_cached else size
                now = time.monotonic()
                time.sleep(max(0.0, begun + read_bytes / order["bytes_per_second"] - now))
                if now - told > TELL_SECONDS:
                    told = now
                    tell(done_bytes=done_bytes)
    tell(done_bytes=done_bytes)
    tell(read_bytes=read_bytes)


def _read(descriptor: int, buffer: bytearray, offset: int) -> tuple[int, bool]:
    """How much there was, and whether it was in the page cache already."""
    with contextlib.suppress(BlockingIOError, OSError):
        size = os.preadv(descriptor, [buffer], offset, os.RWF_NOWAIT)
        if size:
            return size, True
    return os.preadv(descriptor, [buffer], offset), False


def _be_the_last_to_read() -> None:
    import psutil

    with contextlib.suppress(psutil.Error, OSError):
        psutil.Process().ionice(psutil.IOPRIO_CLASS_IDLE)


if __name__ == "__main__":
    serve(warm)
