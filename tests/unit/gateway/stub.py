"""A real HTTP server in the place of the engine; each test says what it answers and sees what it was asked.

It keeps connections after a list of models, and closes them after every other answer.
"""

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

MODEL = "engine-model"


@dataclass
class Call:
    """One request to the engine, and the means to answer it."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes
    writer: asyncio.StreamWriter
    gone: asyncio.Event = field(default_factory=asyncio.Event)

    def all_of(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key == name]

    def json(self) -> Any:
        return json.loads(self.body)

    async def respond(self, status: int, data: object, headers: str = "") -> None:
        body = json.dumps(data).encode()
        self._head(status, f"content-type: application/json\r\ncontent-length: {len(body)}\r\n{headers}")
        await self._write(body)

    async def start(self, content_type: str = "text/event-stream; charset=utf-8", headers: str = "") -> None:
        self._head(200, f"content-type: {content_type}\r\ntransfer-encoding: chunked\r\n{headers}")
        await self.writer.drain()

    async def chunk(self, data: bytes) -> None:
        await self._write(b"%x\r\n%b\r\n" % (len(data), data))

    async def finish(self) -> None:
        await self._write(b"0\r\n\r\n")

    async def raw(self, data: bytes) -> None:
        await self._write(data)

    def break_off(self) -> None:
        self.writer.transport.abort()

    def _head(self, status: int, headers: str) -> None:
        self.writer.write(f"HTTP/1.1 {status} X\r\nserver: stub\r\n{headers}\r\n".encode())

    async def _write(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()


Handler = Callable[[Call], Awaitable[None]]


async def answer_ok(call: Call) -> None:
    await call.respond(200, {"ok": True})


class Backend:
    def __init__(self) -> None:
        self.models: list[str] = [MODEL]
        self.handler: Handler = answer_ok
        self.models_handler: Handler = self._list_models
        self.calls: list[Call] = []
        self.models_asked = 0
        self.port = 0
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._came = asyncio.Condition()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def call(self) -> Call:
        """The only inference request so far."""
        (call,) = self.calls
        return call

    async def start(self, port: int = 0) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port, backlog=1024)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        await self._server.wait_closed()

    async def next_call(self, number: int = 1) -> Call:
        """The inference request with that number, waiting until it comes."""
        async with asyncio.timeout(30), self._came:
            await self._came.wait_for(lambda: len(self.calls) >= number)
        return self.calls[number - 1]

    async def _list_models(self, call: Call) -> None:
        data = [{"id": name, "object": "model", "max_model_len": 4096} for name in self.models]
        await call.respond(200, {"object": "list", "data": data})

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            while await self._serve_one(reader, writer):
                pass
        except (asyncio.CancelledError, ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self._connections.discard(task)
            writer.close()

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, target, _ = head[0].split(" ")
        headers = [(name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in head[1:-2])]
        length = next((int(value) for name, value in headers if name == "content-length"), 0)
        call = Call(method, target, headers, await reader.readexactly(length), writer)
        if target == "/v1/models":
            self.models_asked += 1
            await self.models_handler(call)
            return True
        async with self._came:
            self.calls.append(call)
            self._came.notify_all()
        hearing = asyncio.create_task(self._hear(reader, call))
        try:
            await self.handler(call)
            await writer.drain()
        finally:
            hearing.cancel()
        return False

    async def _hear(self, reader: asyncio.StreamReader, call: Call) -> None:
        """Notice that the gateway closes the connection, whatever the handler does meanwhile."""
        with contextlib.suppress(ConnectionError):
            await reader.read()
        call.gone.set()
