"""The engine's answer on its way to the client: event streams as they come, plain answers once they are whole."""

import time
from enum import Enum, auto
from typing import Protocol

from pmp_gateway.client_answer import ClientAnswer
from pmp_gateway.engine_answer import good_events, has_cut_off_event, is_cut_off, tokens_in
from pmp_gateway.exchange import Exchange
from pmp_gateway.failures import BackendBroken, BackendFailure, BackendStopping, Headers
from pmp_gateway.headers import is_event_stream, is_json, length_of, returned
from pmp_gateway.metrics import Metrics

# A plain answer up to this size is sent once it is whole, so that one that breaks or is cut off can still be an error.
_COLLECTED_BYTES = 1024 * 1024
# Of a larger one, this much is looked at twice, so that no mark is missed that came in two parts.
_MARK_BYTES = 32
# The first part of an event waits for the rest of it, unless it is as large as this.
_EVENT_PART_BYTES = 1024 * 1024
_NO_CONTENT = 204
_EVENT_ENDS = (b"\n\n", b"\r\n\r\n")
EVENT_STREAM = (b"content-type", b"text/event-stream; charset=utf-8")
# Proxies in front would collect the events otherwise.
UNBUFFERED: Headers = [(b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no")]


class Asker(Protocol):
    """Whoever sent the request; exactly one of the calls below comes, and it comes last."""

    def answer_begun(self) -> None:
        """Comes before it where the client gets the answer in parts: the request will not be sent again."""

    def answered(self, status: int, headers: Headers, body: bytes) -> None:
        """A whole answer, of which nothing has been sent to the client."""

    def passed_on(self) -> None:
        """All of the answer has been sent."""

    def engine_failed(self, error: BackendFailure) -> None: ...


class _Mode(Enum):
    COLLECT = auto()
    EVENTS = auto()
    PASS = auto()


class Passing:
    """Listens to the connection to the engine for one request."""

    def __init__(
        self, asker: Asker, exchange: Exchange, answer: ClientAnswer, metrics: Metrics, *, keep_alive: bool
    ) -> None:
        self._asker = asker
        self._exchange = exchange
        self._answer = answer
        self._metrics = metrics
        self._keep_alive = keep_alive
        self._mode = _Mode.COLLECT
        self._status = 0
        self._headers: Headers = []
        self._kept = b""
        self._seen = b""
        self._parts: list[bytes] = []
        self._collected_bytes = 0
        self._last_chunk_at = 0.0

    def answer_started(self, status: int, headers: Headers) -> None:
        if 300 <= status < 400:
            self._asker.engine_failed(BackendBroken())
            return
        length = 0 if status == _NO_CONTENT else length_of(headers)
        self._status, self._headers = status, returned(headers)
        if is_event_stream(headers) and length is None and status == 200:
            self._mode = _Mode.EVENTS
            if not self._answer.started:
                self._answer.start(status, self._headers + UNBUFFERED, keep_alive=self._keep_alive)
            self._asker.answer_begun()
        elif not self._answer.started and (not is_json(headers) if length is None else length > _COLLECTED_BYTES):
            self._pass(length)

    def answer_part(self, data: bytes) -> None:
        if self._mode is _Mode.EVENTS:
            self._pass_events(data)
            return
        if self._exchange.first_byte_seconds is None:
            self._exchange.first_byte_seconds = self._exchange.duration_seconds
        if self._mode is _Mode.PASS:
            self._pass_part(data)
        else:
            self._parts.append(data)
            self._collected_bytes += len(data)
            if self._collected_bytes > _COLLECTED_BYTES:
                self._give_up_collecting()

    def answer_ended(self) -> None:
        if self._mode is _Mode.COLLECT:
            self._end_collected()
            return
        if self._kept:
            if has_cut_off_event(self._kept, self._exchange.raw_path):
                self._asker.engine_failed(BackendStopping())
                return
            self._answer.send(self._kept)
        self._asker.passed_on()

    def answer_failed(self, error: BackendFailure) -> None:
        self._asker.engine_failed(error)

    def _pass(self, length: int | None) -> None:
        self._mode = _Mode.PASS
        self._answer.start(self._status, self._headers, keep_alive=self._keep_alive, length=length)
        self._asker.answer_begun()

    def _give_up_collecting(self) -> None:
        if self._answer.started:
            self._asker.engine_failed(BackendBroken())
        else:
            self._pass(None)
            self._pass_part(b"".join(self._parts))
            self._parts.clear()

    def _pass_part(self, data: bytes) -> None:
        self._seen += data
        if has_cut_off_event(self._seen, self._exchange.raw_path):
            self._asker.engine_failed(BackendStopping())
            return
        self._seen = self._seen[-_MARK_BYTES:]
        self._answer.send(data)

    def _pass_events(self, data: bytes) -> None:
        now = time.perf_counter()
        if self._last_chunk_at:
            self._metrics.chunk_gap(now - self._last_chunk_at)
        else:
            self._exchange.first_byte_seconds = self._exchange.duration_seconds
        self._last_chunk_at = now
        if self._kept:
            data = self._kept + data
            self._kept = b""
        if not data.endswith(_EVENT_ENDS):
            data, self._kept = _whole_events(data)
            if not data:
                return
        if has_cut_off_event(data, self._exchange.raw_path):
            if good := good_events(data, self._exchange.raw_path):
                self._answer.send(good)
            self._asker.engine_failed(BackendStopping())
            return
        self._note_tokens(data)
        self._answer.send(data)

    def _end_collected(self) -> None:
        body = b"".join(self._parts)
        if self._status == 200 and is_cut_off(body, self._exchange.raw_path):
            self._asker.engine_failed(BackendStopping())
            return
        self._note_tokens(body)
        self._asker.answered(self._status, self._headers, body)

    def _note_tokens(self, data: bytes) -> None:
        prompt, completion = tokens_in(data)
        if prompt is not None:
            self._exchange.prompt_tokens = prompt
        if completion is not None:
            self._exchange.completion_tokens = completion


def _whole_events(data: bytes) -> tuple[bytes, bytes]:
    """The events that are complete, and the beginning of the next one."""
    end = max(at + len(mark) if (at := data.rfind(mark)) >= 0 else 0 for mark in _EVENT_ENDS)
    return (data[:end], data[end:]) if len(data) - end < _EVENT_PART_BYTES else (data, b"")
