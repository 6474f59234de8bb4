"""An OpenAI-compatible API that does all as it should; each fault of the zoo overrides one method of it."""

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator
from typing import Any

from tests.unit.smoke.zoo.exchange import Exchange, Receive, Send
from tests.unit.smoke.zoo.mind import Call, Mind, Reply, prompt_tokens

TOKEN = "zoo-token-for-the-keepers-only"
MODEL = "llm"
ROLES = ("system", "developer", "user", "assistant", "tool")
SECONDS_A_WORD = 0.001

Message = dict[str, Any]


class Refusal(Exception):
    def __init__(self, status: int, message: str, kind: str = "BadRequestError", code: str | int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.error: dict[str, Any] = {"message": message, "type": kind, "param": None, "code": code or status}


class WellBehaved:
    models: tuple[str, ...] = (MODEL,)
    max_model_len = 4096
    exchange_type = Exchange

    def __init__(self, token: str | None = TOKEN, *, thinks: bool = False, strict_ids: bool = False) -> None:
        """`strict_ids`: a template of the Mistral kind, that takes ids of 9 or more characters only."""
        self.token = token
        self.mind = Mind(thinks)
        self.strict_ids = strict_ids
        # As an engine with few sequences at a time: what is not freed is missed.
        self.slots = asyncio.Semaphore(4)

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        headers = {name.decode().lower(): value.decode("latin-1") for name, value in scope["headers"]}
        exchange = self.exchange_type(scope["method"], scope["path"], headers, receive, send)
        await self.serve(exchange)

    async def serve(self, exchange: Exchange) -> None:
        try:
            await self.route(exchange)
        except Refusal as refusal:
            await self.refuse(exchange, refusal)

    async def refuse(self, exchange: Exchange, refusal: Refusal) -> None:
        await exchange.answer(refusal.status, {"error": refusal.error})

    async def route(self, exchange: Exchange) -> None:
        match exchange.method, exchange.path:
            case "GET", "/health":
                await self.health(exchange)
            case "GET", "/v1/models":
                self.admit(exchange)
                await exchange.answer(200, self.list_models())
            case "POST", "/v1/chat/completions":
                self.admit(exchange)
                await self.chat(exchange)
            case _:
                self.admit(exchange)
                await self.unknown_route(exchange)

    async def unknown_route(self, exchange: Exchange) -> None:
        raise Refusal(404, "There is no such route.", "not_found_error", "not_found")

    def admit(self, exchange: Exchange) -> None:
        if not self.knows(exchange.presented_token):
            raise Refusal(401, "A valid token is required.", "authentication_error", "invalid_api_key")

    def knows(self, presented: str | None) -> bool:
        return self.token is None or presented == self.token

    async def health(self, exchange: Exchange) -> None:
        await exchange.answer(200, {"status": "ok"})

    def list_models(self) -> dict[str, Any]:
        cards = [{"id": name, "object": "model", "max_model_len": self.max_model_len} for name in self.models]
        return {"object": "list", "data": cards}

    async def chat(self, exchange: Exchange) -> None:
        body = await exchange.json()
        self.check(body)
        async with self.slots, exchange.until_gone():
            reply = self.shape(self.mind.reply(self.understand(body)), body)
            if body.get("stream"):
                await self.stream(exchange, reply, body)
            else:
                await asyncio.sleep(SECONDS_A_WORD * reply.completion_tokens)
                await exchange.answer(200, self.whole(reply))

    def check(self, body: dict[str, Any]) -> None:
        messages = body.get("messages")
        if not isinstance(messages, list) or not messages:
            raise Refusal(400, "messages must be a list that is not empty")
        self.check_length(body)
        for message in messages:
            self.check_message(message)

    def check_length(self, body: dict[str, Any]) -> None:
        asked = prompt_tokens(body["messages"]) + int(body.get("max_tokens") or 0)
        if asked > self.max_model_len:
            self.too_long(asked)

    def too_long(self, tokens: int) -> None:
        limit = f"This model's maximum context length is {self.max_model_len} tokens."
        raise Refusal(400, f"{limit} However, your prompt contains {tokens} input tokens.")

    def check_message(self, message: Message) -> None:
        if message.get("role") not in ROLES:
            raise Refusal(400, f"Unexpected role {message.get('role')!r}")
        for call in message.get("tool_calls") or []:
            self.check_id(call["id"])

    def check_id(self, call_id: str) -> None:
        if self.strict_ids and not re.fullmatch(r"[A-Za-z0-9_-]{9,}", call_id):
            raise Refusal(400, f"Tool call id was {call_id} but must be a-z, A-Z, 0-9, with a length of 9.")

    def understand(self, body: dict[str, Any]) -> dict[str, Any]:
        """The request as it reaches the model, through the chat template."""
        return body

    def shape(self, reply: Reply, body: dict[str, Any]) -> Reply:
        """The reply as the parsers pass it on."""
        return reply

    def whole(self, reply: Reply) -> dict[str, Any]:
        calls = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in reply.calls
        ]
        message: Message = {"role": "assistant", "content": reply.text or None, "tool_calls": calls}
        if reply.reasoning:
            message["reasoning"] = reply.reasoning
        choice = {"index": 0, "message": message, "finish_reason": reply.finish_reason}
        return self.envelope("chat.completion", [choice]) | {"usage": usage(reply)}

    def envelope(self, kind: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {"id": "chatcmpl-zoo", "object": kind, "created": int(time.time()), "model": MODEL, "choices": choices}

    async def stream(self, exchange: Exchange, reply: Reply, body: dict[str, Any]) -> None:
        await exchange.start(200, {"content-type": "text/event-stream; charset=utf-8"})
        async for event in self.paced(self.events(reply, body)):
            await exchange.send_part(event)
        await exchange.end()

    async def paced(self, events: list[bytes]) -> AsyncIterator[bytes]:
        for event in events:
            await asyncio.sleep(SECONDS_A_WORD)
            yield event

    def events(self, reply: Reply, body: dict[str, Any]) -> list[bytes]:
        return [b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in self.chunks(reply, body)] + self.last()

    def last(self) -> list[bytes]:
        return [b"data: [DONE]\n\n"]

    def chunks(self, reply: Reply, body: dict[str, Any]) -> list[dict[str, Any]]:
        deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
        deltas += [{"reasoning": part} for part in re.findall(r"\S+\s*", reply.reasoning)]
        deltas += [{"content": word} for word in reply.words]
        for index, call in enumerate(reply.calls):
            deltas += self.call_deltas(index, call)
        choices: list[dict[str, Any]] = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
        choices.append({"index": 0, "delta": {}, "finish_reason": reply.finish_reason})
        chunks = [self.envelope("chat.completion.chunk", [choice]) for choice in choices]
        if (body.get("stream_options") or {}).get("include_usage"):
            chunks.append(self.envelope("chat.completion.chunk", []) | {"usage": usage(reply)})
        return chunks

    def call_deltas(self, index: int, call: Call) -> list[dict[str, Any]]:
        head = {"index": index, "id": call.id, "type": "function", "function": {"name": call.name, "arguments": ""}}
        pieces = re.findall(r".{1,4}", call.arguments)
        rest = [{"index": index, "function": {"arguments": piece}} for piece in pieces]
        return [{"tool_calls": [part]} for part in [head, *rest]]


def usage(reply: Reply) -> dict[str, int]:
    return {
        "prompt_tokens": reply.prompt_tokens,
        "completion_tokens": reply.completion_tokens,
        "total_tokens": reply.prompt_tokens + reply.completion_tokens,
    }
