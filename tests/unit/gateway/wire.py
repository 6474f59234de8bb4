"""Bytes on a socket, for what an HTTP client would not send or would not show."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


class Wire:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def post(self, path: str, body: bytes, *headers: str) -> None:
        lines = [f"POST {path} HTTP/1.1", "Host: gateway", "Content-Type: application/json", *headers]
        head = "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""])
        await self.send(head.encode() + body)

    async def until(self, mark: bytes) -> bytes:
        async with asyncio.timeout(30):
            return await self.reader.readuntil(mark)

    async def exactly(self, count: int) -> bytes:
        async with asyncio.timeout(30):
            return await self.reader.readexactly(count)

    async def rest(self) -> bytes:
        """Everything up to the end of the connection."""
        async with asyncio.timeout(30):
            return await self.reader.read()

    async def head(self, timeout_seconds: float = 30) -> tuple[int, list[tuple[str, str]]]:
        """The status and the headers of the answer, their names in lower case."""
        async with asyncio.timeout(timeout_seconds):
            lines = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = [(name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines[1:-2])]
        return int(lines[0].split(" ")[1]), headers

    async def answer(self) -> tuple[int, bytes]:
        """The status and the body of an answer that says how long it is."""
        status, headers = await self.head()
        return status, await self.exactly(int(dict(headers)["content-length"]))

    async def leave(self) -> None:
        self.writer.transport.abort()
        with suppress(ConnectionError):
            await self.writer.wait_closed()


@asynccontextmanager
async def wire(port: int, *, source: str = "127.0.0.1", receive_buffer_bytes: int | None = None) -> AsyncIterator[Wire]:
    """A small buffer makes that the kernel takes little of what the client does not read."""
    end = socket.socket()
    if receive_buffer_bytes is not None:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
    end.bind((source, 0))
    end.setblocking(False)
    await asyncio.get_running_loop().sock_connect(end, ("127.0.0.1", port))
    connection = Wire(*await asyncio.open_connection(sock=end))
    try:
        yield connection
    finally:
        await connection.leave()
