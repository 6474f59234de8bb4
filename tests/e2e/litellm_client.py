"""LiteLLM's client as a process of its own: its many pins would not go with ours."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

WORKER = Path(__file__).with_name("litellm_worker.py")


class LiteLLMError(Exception):
    """What LiteLLM raised: the names of its class and of those above it, the nearest first."""

    def __init__(self, event: dict[str, Any]) -> None:
        super().__init__(event["message"])
        self.classes: list[str] = event["classes"]
        self.status: int | None = event["status"]
        self.retry_after: str | None = event["retry_after"]

    @property
    def name(self) -> str:
        return self.classes[0]


class LiteLLM:
    def __init__(self, python: str, folder: Path) -> None:
        self._log = folder / "litellm.log"
        with self._log.open("w") as stderr:
            self._process = subprocess.Popen(
                [python, WORKER],
                # Its list of models and prices comes with the package; else it asks the network for a newer one.
                env=os.environ | {"LITELLM_LOCAL_MODEL_COST_MAP": "True"},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
            )

    def call(self, function: str, **arguments: Any) -> Any:
        """The answer to a call that is not streamed; raises LiteLLMError."""
        (answer,) = self._events(function, None, arguments)
        return answer

    def stream(self, function: str, *, leave_after: int | None = None, **arguments: Any) -> Iterator[Any]:
        """The chunks as they come; raises LiteLLMError. Read it to its end: the worker has one call at a time."""
        return self._events(function, leave_after, {**arguments, "stream": True})

    def close(self) -> None:
        self._process.communicate(timeout=30)

    def _events(self, function: str, leave_after: int | None, arguments: dict[str, Any]) -> Iterator[Any]:
        assert self._process.stdin and self._process.stdout
        call = {"function": function, "leave_after": leave_after, "arguments": {"max_retries": 0, **arguments}}
        self._process.stdin.write(json.dumps(call) + "\n")
        self._process.stdin.flush()
        for line in self._process.stdout:
            event = json.loads(line)
            kind = event.pop("event")
            if kind == "error":
                raise LiteLLMError(event)
            if kind == "end":
                return
            yield event["data"]
            if kind == "answer":
                return
        raise AssertionError(f"LiteLLM's process ended: {self._log.read_text()[-2000:]}")
