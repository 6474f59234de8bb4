"""One request to a server of the zoo, and the means to answer it."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class Exchange:
    json_type = "application/json"

    def __init__(self, method: str, path: str, headers: Mapping[str, str], receive: Receive, send: Send) -> None:
        self.method = method
        self.path = path
        self.headers = headers
        self._receive = receive
        self._send = send

    @property
    def presented_token(self) -> str | None:
        kind, _, token = self.headers.get("authorization", "").partition(" ")
        return token if kind.lower() == "bearer" else self.headers.get("x-api-key")

    async def json(self) -> dict[str, Any]:
        body = b""
        more = True
        while more:
            part = await self._receive()
            body += part.get("body", b"")
            more = part.get("more_body", False)
        data: dict[str, Any] = json.loads(body)
        return data

    async def answer(self, status: int, data: object) -> None:
        await self.answer_bytes(status, json.dumps(data).encode(), {"content-type": self.json_type})

    async def answer_bytes(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        await self.start(status, {**headers, "content-length": str(len(body))})
        await self._send({"type": "http.response.body", "body": body})

    async def start(self, status: int, headers: Mapping[str, str]) -> None:
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        await self._send({"type": "http.response.start", "status": status, "headers": raw})

    async def send_part(self, body: bytes) -> None:
        await self._send({"type": "http.response.body", "body": body, "more_body": True})

    async def end(self) -> None:
        await self._send({"type": "http.response.body", "body": b""})

    @contextlib.asynccontextmanager
    async def until_gone(self) -> AsyncIterator[None]:
        """What is done inside ends when the client leaves."""
        inside = asyncio.current_task()
        assert inside is not None
        left = False

        async def watch() -> None:
            nonlocal left
            while (await self._receive())["type"] != "http.disconnect":
                pass
            left = True
            inside.cancel()

        watching = asyncio.create_task(watch())
        try:
            yield
        except asyncio.CancelledError:
            if not left:
                raise
            inside.uncancel()
        finally:
            watching.cancel()
