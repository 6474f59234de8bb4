"""A streamed chat, chunk by chunk: when each arrived, and what they amount to."""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Self

import httpx

from pmpctl.smoke.answer import ToolCall, excerpt, require_content, text_of
from pmpctl.smoke.check import Failed
from pmpctl.smoke.faults import API_CURE

_LONGEST_LINE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Chunk:
    """`seconds` since the request began."""

    seconds: float
    data: dict[str, Any]


@dataclass(slots=True)
class _CallParts:
    id: str = ""
    name: str = ""
    arguments: str = ""


class ChatStream:
    """Iterate over it once; what it amounts to grows meanwhile and is whole at the end.

    Raises Failed for an error event, for what is no chunk, and at the end for an answer that is empty or given up.
    """

    def __init__(
        self, asked: str, response: httpx.Response, began: float, failed: Callable[[Exception], Failed]
    ) -> None:
        self._asked = asked
        self._response = response
        self._began = began
        self._failed = failed
        self._calls: dict[int, _CallParts] = {}
        self.text = ""
        self.reasoning = ""
        self.finish_reason: str | None = None
        self.usage: dict[str, Any] | None = None
        self.done = False
        """Whether the stream ended with `[DONE]`."""
        self.arrivals: list[float] = []
        """When each chunk with something generated in it arrived, in seconds since the request began."""
        self.comments = 0

    @property
    def first_token_seconds(self) -> float | None:
        return self.arrivals[0] if self.arrivals else None

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        return tuple(ToolCall(parts.id, parts.name, parts.arguments) for _, parts in sorted(self._calls.items()))

    def read_all(self) -> Self:
        for _ in self:
            pass
        return self

    def __iter__(self) -> Iterator[Chunk]:
        for data in self._events():
            if data == "[DONE]":
                self.done = True
                continue
            chunk = Chunk(time.monotonic() - self._began, self._parse(data))
            self._take(chunk)
            yield chunk
        require_content(self._asked, self.text or self.reasoning or self._calls, self.finish_reason)

    def _events(self) -> Iterator[str]:
        """The data of each event; several lines of it are one."""
        data: list[str] = []
        for line in self._lines():
            if line.startswith(":"):
                self.comments += 1
            elif line.startswith("data:"):
                data.append(line.removeprefix("data:").removeprefix(" "))
            elif not line and data:
                yield "\n".join(data)
                data = []
        if data:
            yield "\n".join(data)

    def _lines(self) -> Iterator[str]:
        rest = b""
        try:
            for received in self._response.iter_bytes():
                *lines, rest = (rest + received).split(b"\n")
                for line in lines:
                    yield line.removesuffix(b"\r").decode(errors="replace")
                if len(rest) > _LONGEST_LINE_BYTES:
                    raise Failed(f"{self._asked}: an event of the stream has no end", API_CURE)
        except (httpx.HTTPError, httpx.StreamError) as error:
            if not self.arrivals:
                raise self._failed(error) from error
            failed = self._failed(error)
            raise Failed(f"{failed.what}, after {len(self.arrivals)} chunks", failed.cure) from error
        if rest:
            yield rest.decode(errors="replace")

    def _parse(self, data: str) -> dict[str, Any]:
        try:
            chunk = json.loads(data)
        except ValueError as error:
            raise Failed(
                f"{self._asked}: an event of the stream is not JSON: {excerpt(data.encode())!r}", API_CURE
            ) from error
        if not isinstance(chunk, dict):
            raise Failed(f"{self._asked}: an event of the stream is no chunk: {excerpt(data.encode())!r}", API_CURE)
        if "error" in chunk:
            fault = chunk["error"]
            said = fault.get("message") if isinstance(fault, dict) else fault
            raise Failed(
                f"{self._asked}: the stream broke off with an error: {excerpt(str(said).encode(), 400)}",
                "The engine failed in the middle of the answer: `pmpctl logs engine` shows its first error.",
            )
        return chunk

    def _take(self, chunk: Chunk) -> None:
        self.usage = chunk.data.get("usage") or self.usage
        try:
            for choice in chunk.data.get("choices") or ():
                self.finish_reason = choice.get("finish_reason") or self.finish_reason
                if self._take_delta(choice.get("delta") or {}):
                    self.arrivals.append(chunk.seconds)
        except (KeyError, TypeError, AttributeError) as error:
            came = excerpt(json.dumps(chunk.data).encode())
            raise Failed(f"{self._asked}: a chunk is none of a chat: {came!r}", API_CURE) from error

    def _take_delta(self, delta: dict[str, Any]) -> bool:
        """Whether anything generated was in it."""
        text = text_of(delta.get("content"))
        reasoning = text_of(delta.get("reasoning") or delta.get("reasoning_content"))
        self.text += text
        self.reasoning += reasoning
        calls = delta.get("tool_calls") or ()
        for call in calls:
            parts = self._calls.setdefault(int(call["index"]), _CallParts())
            parts.id = parts.id or call.get("id") or ""
            function = call.get("function") or {}
            parts.name += function.get("name") or ""
            parts.arguments += function.get("arguments") or ""
        return bool(text or reasoning or calls)
