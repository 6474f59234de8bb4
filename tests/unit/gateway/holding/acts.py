"""What the tests have a gateway and its clients do."""

from collections.abc import Callable
from typing import Any

import httpx

from tests.unit.gateway.control import Control
from tests.unit.gateway.gateway_process import GatewayProcess

PATH = "/v1/chat/completions"
STREAM = b'{"stream":true}'

StartHere = Callable[..., GatewayProcess]


async def hold(control: Control, **body: Any) -> None:
    answer = await control.tell("hold", hold_id="mine", reason="switch", **body)
    assert answer.ok, answer.message


async def until_held(control: Control, count: int) -> None:
    await control.until(lambda status: status.held == count)


async def ask(gateway: GatewayProcess, body: dict[str, Any] | None = None, path: str = PATH) -> httpx.Response:
    async with httpx.AsyncClient(base_url=gateway.url, timeout=30) as client:
        return await client.post(path, json=body or {})
