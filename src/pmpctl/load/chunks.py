"""Takes a streamed chat apart as it arrives, at a cost of microseconds: what is measured must not wait for it."""

from typing import Any

import msgspec

from pmpctl.smoke.answer import excerpt

_LONGEST_LINE_BYTES = 1 << 20


class BrokenStream(Exception):
    """`kind` is one of a few words that failures are counted by."""

    def __init__(self, kind: str, said: str) -> None:
        super().__init__(said)
        self.kind = kind
        self.said = said


class _Delta(msgspec.Struct):
    content: str | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[Any] | None = None

    @property
    def is_something(self) -> bool:
        return bool(self.content or self.reasoning or self.reasoning_content or self.tool_calls)

    @property
    def is_a_step(self) -> bool:
        """Also without text: a token may have none, such as the end of the answer."""
        return self.content is not None or self.is_something


class _Choice(msgspec.Struct):
    delta: _Delta | None = None
    finish_reason: str | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class _Chunk(msgspec.Struct):
    choices: list[_Choice] = []
    usage: _Usage | None = None
    error: Any = None


class ChunkReader:
    """`take` what arrives with its moment, `finish` at the end; both raise BrokenStream."""

    _decode = msgspec.json.Decoder(_Chunk).decode

    def __init__(self) -> None:
        self._rest = b""
        self._done = False
        self._finish_reason: str | None = None
        self.arrivals: list[float] = []
        self.last_token_at: float | None = None
        self.prompt_tokens: int | None = None
        self.output_tokens: int | None = None

    def take(self, moment: float, received: bytes) -> None:
        *lines, self._rest = (self._rest + received).split(b"\n")
        if len(self._rest) > _LONGEST_LINE_BYTES:
            raise BrokenStream("broken stream", "an event of the stream has no end")
        for line in lines:
            if line.startswith(b"data:"):
                self._event(moment, line[5:].strip())

    def finish(self) -> None:
        if self._finish_reason == "abort":
            raise BrokenStream("aborted", "the engine gave the answer up (finish_reason abort)")
        if not self.arrivals and (self._done or self._finish_reason):
            raise BrokenStream("empty answer", "the stream ended without a token")
        if not self._done and not self._finish_reason:
            raise BrokenStream("broken stream", f"the stream ended in the middle, after {len(self.arrivals)} chunks")

    def _event(self, moment: float, data: bytes) -> None:
        if data == b"[DONE]":
            self._done = True
            return
        try:
            chunk = self._decode(data)
        except msgspec.MsgspecError:
            raise BrokenStream("broken stream", f"an event of the stream is no chunk: {excerpt(data)!r}") from None
        if chunk.error is not None:
            raise BrokenStream("error in the stream", excerpt(msgspec.json.encode(chunk.error)))
        if chunk.usage is not None:
            self.prompt_tokens = chunk.usage.prompt_tokens
            self.output_tokens = chunk.usage.completion_tokens
        for choice in chunk.choices:
            delta = choice.delta or _Delta()
            if delta.is_something or (self.arrivals and delta.is_a_step):
                self.arrivals.append(moment)
                self.last_token_at = moment
            if choice.finish_reason is not None:
                self._finish_reason = choice.finish_reason
                self.last_token_at = moment
