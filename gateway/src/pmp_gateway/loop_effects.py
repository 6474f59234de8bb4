"""What the state needs of the world, on the running event loop."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from pmp_gateway.effects import Timer
from pmp_gateway.state_file import SavedState, StateFile

log = logging.getLogger(__name__)

# Asks the engine which models it serves; None if it does not answer.
AskEngine = Callable[[], Awaitable[frozenset[str] | None]]


class LoopEffects:
    def __init__(self, ask: AskEngine, file: StateFile | None) -> None:
        self._ask = ask
        self._file = file
        # The loop itself keeps no task alive.
        self._questions: set[asyncio.Task[None]] = set()

    def monotonic(self) -> float:
        return time.monotonic()

    def now(self) -> float:
        return time.time()

    def call_later(self, delay_seconds: float, callback: Callable[[], None]) -> Timer:
        return asyncio.get_running_loop().call_later(delay_seconds, callback)

    def ask_engine(self, answered: Callable[[frozenset[str] | None], None]) -> None:
        async def ask() -> None:
            try:
                models = await self._ask()
            except Exception:
                log.exception("asking the engine failed")
                models = None
            answered(models)

        task = asyncio.get_running_loop().create_task(ask())
        self._questions.add(task)
        task.add_done_callback(self._questions.discard)

    def save(self, state: SavedState) -> None:
        if self._file is not None:
            self._file.save(state)
