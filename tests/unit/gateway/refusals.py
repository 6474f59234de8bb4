"""Refusals as they come over the wire: whatever is refused, and wherever, they all have one form."""

import json
import re

from tests.unit.gateway.gateway_process import GatewayProcess
from tests.unit.gateway.wire import Wire, wire

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")


async def refusal(connection: Wire, path: str = "") -> tuple[int, str]:
    """The status and the code of the refusal that comes next."""
    status, headers = await connection.head()
    fields = dict(headers)
    assert len(fields) == len(headers)
    assert fields["content-type"] == "application/json"
    assert _REQUEST_ID.fullmatch(fields["x-request-id"])
    body = json.loads(await connection.exactly(int(fields["content-length"])))
    assert body.keys() == ({"type", "error"} if path.startswith(("/v1/messages", "/v1/responses")) else {"error"})
    error = body["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"]
    assert error["type"]
    return status, error["code"]


async def last_refusal(connection: Wire) -> tuple[int, str]:
    """The same of one after which the gateway has no more to say and closes."""
    answer = await refusal(connection)
    assert await connection.rest() == b""
    return answer


async def settle(gateway: GatewayProcess) -> None:
    """Returns when the gateway has read all that was sent to it before: its loop has turned since."""
    async with wire(gateway.port) as connection:
        for _ in range(2):
            await connection.send(b"GET /health HTTP/1.1\r\nHost: gateway\r\n\r\n")
            assert (await connection.answer())[0] == 200
