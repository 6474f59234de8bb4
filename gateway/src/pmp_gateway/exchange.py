"""One request of the public listener and the answer to it: what is read, sent and counted goes through here."""

import asyncio
import re
import time
import uuid
from types import TracebackType

from starlette.types import Message, Receive, Scope, Send

from pmp_gateway.failures import Answer, BodyTooLarge, Headers, answer_to

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:-]{1,128}")


class ClientLeft(Exception):
    """The client closed its connection before the answer was complete."""


class Exchange:
    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = scope
        self.receive = receive
        self._send = send
        self.method: str = scope["method"]
        self.raw_path: bytes = scope["raw_path"]
        self.headers: Headers = scope["headers"]
        self.request_id = _request_id(self.headers)
        self.started_at = time.time()
        self._started = time.perf_counter()
        self.status: int | None = None
        self.bytes_sent = 0
        self.complete = False
        self.error_code: str | None = None
        self._is_event_stream = False
        self._event_open = False

    @property
    def duration_seconds(self) -> float:
        return time.perf_counter() - self._started

    async def read_body(self, limit_bytes: int) -> bytes:
        declared = next((value for name, value in self.headers if name == b"content-length"), b"0")
        if int(declared) > limit_bytes:
            raise BodyTooLarge(f"The request body is larger than {limit_bytes} bytes.")
        chunks: list[bytes] = []
        size_bytes = 0
        more = True
        while more:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise ClientLeft
            chunk: bytes = message.get("body", b"")
            chunks.append(chunk)
            size_bytes += len(chunk)
            if size_bytes > limit_bytes:
                raise BodyTooLarge(f"The request body is larger than {limit_bytes} bytes.")
            more = message.get("more_body", False)
        return b"".join(chunks)

    async def send(self, message: Message) -> None:
        """What an ASGI application calls; adds the request's id and keeps count."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers: Headers = [*message.get("headers", ()), (b"x-request-id", self.request_id)]
            self._is_event_stream = _is_event_stream(headers)
            await self._send({"type": "http.response.start", "status": self.status, "headers": headers})
            return
        body: bytes = message.get("body", b"")
        self.bytes_sent += len(body)
        if body:
            self._event_open = not body.endswith((b"\n\n", b"\r\n\r\n"))
        # Before the last message goes out: it wakes whoever watches for the client leaving.
        self.complete = not message.get("more_body", False)
        await self._send(message)

    async def fail(self, error: Exception) -> None:
        """Answer with an error; inside an event stream as an event; inside any other answer by breaking off."""
        answer = answer_to(error)
        self.error_code = answer.code
        if self.status is None:
            await self.send({"type": "http.response.start", "status": answer.status, "headers": answer.headers})
            await self.send({"type": "http.response.body", "body": answer.body})
        elif self._is_event_stream and not self.complete:
            await self.send({"type": "http.response.body", "body": self._error_event(answer)})

    def _error_event(self, answer: Answer) -> bytes:
        end_of_broken_event = b"\n\n" if self._event_open else b""
        # Anthropic's clients heed only events that have a name.
        name = b"event: error\n" if self.raw_path == b"/v1/messages" else b""
        return end_of_broken_event + name + b"data: " + answer.body + b"\n\n"


class ClientWatch:
    """Ends the block with ClientLeft as soon as the client leaves. Enter it once the body is read."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._client_left = False

    async def __aenter__(self) -> None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a watch needs a task to cancel")
        self._task = task
        self._cancels_before = task.cancelling()
        self._watcher = asyncio.create_task(self._watch())

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._watcher.cancel()
        if self._client_left and self._task.uncancel() <= self._cancels_before and kind is asyncio.CancelledError:
            raise ClientLeft from error

    async def _watch(self) -> None:
        while (await self._exchange.receive())["type"] != "http.disconnect":
            pass
        if not self._exchange.complete:
            self._client_left = True
            self._task.cancel()


def _request_id(headers: Headers) -> bytes:
    given = [value for name, value in headers if name == b"x-request-id"]
    if len(given) == 1 and _REQUEST_ID.fullmatch(given[0]):
        return given[0]
    return uuid.uuid4().hex.encode()


def _is_event_stream(headers: Headers) -> bool:
    """Whether events can be added: a stream of a length that was announced takes no more."""
    names = dict(headers)
    return names.get(b"content-type", b"").lower().startswith(b"text/event-stream") and b"content-length" not in names
