"""A streamed chat, chunk by chunk: when each arrived, and what they amount to."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

import httpx

from pmpctl.smoke.answer import ToolCall, excerpt, parse_json, reason_of, require_content, text_of, usage_of
from pmpctl.smoke.check import Failed
from pmpctl.smoke.faults import API_CURE, BROKEN_STREAM_CURE

_LONGEST_LINE_BYTES = 1 << 20
_LARGEST_STREAM_BYTES = 16 << 20
# A stream may go on for longer than one may keep us waiting, but not for ever.
LONGEST_STREAM_IN_TIMEOUTS = 10


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
        self,
        asked: str,
        response: httpx.Response,
        began: float,
        timeout_seconds: float,
        failed: Callable[[Exception], Failed],
    ) -> None:
        self._asked = asked
        self._response = response
        self._began = began
        self._timeout_seconds = timeout_seconds
        self._heard = began
        self._failed = failed
        self._calls: dict[int, _CallParts] = {}
        self.text = ""
        self.reasoning = ""
        self.finish_reason: str | None = None
        self.usage: Mapping[str, int] | None = None
        self.done = False
        """Whether the stream ended with `[DONE]`."""
        self.arrivals: list[float] = []
        """When each chunk with something generated in it arrived, in seconds since the request began."""

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
            if line.startswith("data:"):
                self._heard = time.monotonic()
                data.append(line.removeprefix("data:").removeprefix(" "))
            elif not line and data:
                yield "\n".join(data)
                data = []
        if data:
            yield "\n".join(data)

    def _lines(self) -> Iterator[str]:
        rest = b""
        total_bytes = 0
        try:
            for received in self._response.iter_bytes():
                total_bytes += len(received)
                self._require_end_in_sight(total_bytes)
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

    def _require_end_in_sight(self, total_bytes: int) -> None:
        now = time.monotonic()
        # Comments keep a connection alive, and are no answer.
        if now - self._heard > self._timeout_seconds:
            raise httpx.ReadTimeout("only comments came")
        too_long = now - self._began > LONGEST_STREAM_IN_TIMEOUTS * self._timeout_seconds
        if too_long or total_bytes > _LARGEST_STREAM_BYTES:
            raise Failed(
                f"{self._asked}: the stream does not end: {len(self.arrivals)} chunks, {total_bytes >> 20} MiB",
                "See whether the server takes notice of max_tokens; clients would wait for ever.",
            )

    def _parse(self, data: str) -> dict[str, Any]:
        try:
            chunk = parse_json(data)
        except ValueError as error:
            raise Failed(
                f"{self._asked}: an event of the stream is not JSON: {excerpt(data.encode())!r}", API_CURE
            ) from error
        if not isinstance(chunk, dict):
            raise Failed(f"{self._asked}: an event of the stream is no chunk: {excerpt(data.encode())!r}", API_CURE)
        if "error" in chunk:
            fault = chunk["error"]
            said = fault.get("message") if isinstance(fault, dict) else fault
            shown = excerpt(str(said).encode(), 400)
            raise Failed(f"{self._asked}: the stream broke off with an error: {shown}", BROKEN_STREAM_CURE)
        return chunk

    def _take(self, chunk: Chunk) -> None:
        self.usage = usage_of(chunk.data) or self.usage
        try:
            for choice in chunk.data.get("choices") or ():
                self.finish_reason = reason_of(choice) or self.finish_reason
                if self._take_delta(choice.get("delta") or {}):
                    self.arrivals.append(chunk.seconds)
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
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
            parts.id = parts.id or text_of(call.get("id"))
            function = call.get("function") or {}
            parts.name += text_of(function.get("name"))
            parts.arguments += text_of(function.get("arguments"))
        return bool(text or reasoning or calls)
