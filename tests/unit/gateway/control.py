"""A gateway's control socket, as a controller uses it."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from pmp_gateway.control_schema import VERBS, GatewayStatus, PhaseAnswer


class Control:
    def __init__(self, socket_path: Path) -> None:
        self.socket_path = socket_path

    async def status(self) -> GatewayStatus:
        return GatewayStatus.from_data((await self.send("status")).json())

    async def until(self, predicate: Callable[[GatewayStatus], bool], timeout_seconds: float = 30) -> None:
        async with asyncio.timeout(timeout_seconds):
            while not predicate(await self.status()):  # noqa: ASYNC110 (it happens in another process)
                await asyncio.sleep(0.02)

    async def tell(self, verb: str, **body: Any) -> PhaseAnswer:
        return PhaseAnswer.from_data((await self.send(verb, **body)).json())

    async def send(self, verb: str, **body: Any) -> httpx.Response:
        # No TLS on a socket of this machine, and to read all certificates for each question takes its time.
        transport = httpx.AsyncHTTPTransport(uds=str(self.socket_path), verify=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway", timeout=30) as client:
            if VERBS[verb].method == "GET":
                return await client.get(VERBS[verb].path)
            return await client.post(VERBS[verb].path, json=body)
