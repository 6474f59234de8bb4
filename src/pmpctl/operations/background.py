"""A call that goes on beside the work; what is still under way when the command ends, ends with it."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


def in_background(call: Callable[[], T], name: str) -> Future[T]:
    future: Future[T] = Future()

    def work() -> None:
        try:
            future.set_result(call())
        except BaseException as error:  # noqa: BLE001 (raised by whoever asks for the result)
            future.set_exception(error)

    threading.Thread(target=work, name=name, daemon=True).start()
    return future
