"""What a client sees of a body that asks for too much, and what the engine sees of one that hides something."""

import json

import httpx
import pytest

from tests.unit.gateway.stub import Backend

PATH = "/v1/chat/completions"


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        (b'{"prompt_embeds":"AAAA"}', "field_not_allowed", "prompt_embeds"),
        (b'{"chat_t\\u0065mplate":"{{ 1 }}"}', "field_not_allowed", "chat_template"),
        (b'{"messages":[{"content":[{"image_url":{"url":"http://10.0.0.1/"}}]}]}', "field_not_allowed", "url"),
        (b'{"n":1000}', "value_too_large", "n"),
        (b'{"a":' + b"[" * 100 + b"]" * 100 + b"}", "invalid_json", None),
    ],
)
async def test_a_body_that_asks_for_too_much_is_400_and_says_what(
    client: httpx.AsyncClient, backend: Backend, body: bytes, code: str, param: str | None
) -> None:
    response = await client.post(PATH, content=body, headers={"content-type": "application/json"})

    error = response.json()["error"]
    assert (response.status_code, error["type"]) == (400, "invalid_request_error")
    assert (error["code"], error["param"]) == (code, param)
    assert not backend.calls


async def test_the_engine_never_sees_the_key_that_lost(client: httpx.AsyncClient, backend: Backend) -> None:
    body = b'{"prompt_embeds":"AAAA","messages":[],"prompt_embeds":null,"model":"x","mod\\u0065l":"y"}'
    response = await client.post(PATH, content=body, headers={"content-type": "application/json"})

    assert response.status_code == 200
    (call,) = backend.calls
    assert b"AAAA" not in call.body
    assert json.loads(call.body)["prompt_embeds"] is None
    assert call.body.count(b'"model":') == 1
