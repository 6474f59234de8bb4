"""The inside of a helper process: an order comes on stdin, what it tells goes to stdout as a JSON object a line.

It imports little, and unless told otherwise works at a low priority: it runs while an engine serves.
"""

import json
import os
import sys
import threading
from collections.abc import Callable
from typing import Any, Protocol

NICENESS = 10


class Tell(Protocol):
    def __call__(self, **words: Any) -> None: ...


def serve(
    work: Callable[[dict[str, Any], Tell], None],
    clean_up: Callable[[], None] = lambda: None,
    niceness: int = NICENESS,
) -> None:
    """Work on the one order; cleans up and ends at once when whoever gave it is gone, or has had enough."""
    os.nice(niceness)
    order = json.loads(sys.stdin.readline())

    def end_with_parent() -> None:
        sys.stdin.read()
        clean_up()
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()
    # What a library prints must not get between the lines.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def tell(**words: Any) -> None:
        answers.write(json.dumps(words) + "\n")
        answers.flush()

    work(order, tell)
