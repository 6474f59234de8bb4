"""Streamed answers of one word, as vLLM sends them on each of its routes."""

import json
from typing import Any

_RESPONSE: dict[str, Any] = {
    "id": "resp_1", "object": "response", "created_at": 1, "status": "in_progress", "model": "llm", "output": [],
    "parallel_tool_calls": True, "tool_choice": "auto", "tools": [],
}  # fmt: skip
_PART = {"type": "output_text", "text": "", "annotations": []}
_AT = {"item_id": "msg_1", "output_index": 0, "content_index": 0}


def beginning(path: str) -> list[bytes]:
    """The first events of an answer, the last of them with the word "Hello"."""
    return _BEGINNINGS[path]


def ending(path: str) -> list[bytes]:
    return _ENDINGS[path]


def _chat(finish_reason: str | None = None, **delta: str) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
    return _unnamed(
        {"id": "chat-1", "object": "chat.completion.chunk", "created": 1, "model": "llm", "choices": [choice]}
    )


def _completion(text: str, finish_reason: str | None = None) -> bytes:
    choice = {"index": 0, "text": text, "logprobs": None, "finish_reason": finish_reason}
    return _unnamed({"id": "cmpl-1", "object": "text_completion", "created": 1, "model": "llm", "choices": [choice]})


def _response(number: int, kind: str, **data: Any) -> bytes:
    return _named(kind, {"type": kind, "sequence_number": number, **data})


def _message(kind: str, **data: Any) -> bytes:
    return _named(kind, {"type": kind, **data})


def _unnamed(data: Any) -> bytes:
    return f"data: {json.dumps(data)}\n\n".encode()


def _named(name: str, data: Any) -> bytes:
    return f"event: {name}\n".encode() + _unnamed(data)


_BEGINNINGS = {
    "/v1/chat/completions": [_chat(role="assistant", content=""), _chat(content="Hello")],
    "/v1/completions": [_completion(""), _completion("Hello")],
    "/v1/responses": [
        _response(0, "response.created", response=_RESPONSE),
        _response(1, "response.in_progress", response=_RESPONSE),
        _response(
            2, "response.output_item.added", output_index=0,
            item={"id": "msg_1", "type": "message", "role": "assistant", "status": "in_progress", "content": []},
        ),
        _response(3, "response.content_part.added", part=_PART, **_AT),
        _response(4, "response.output_text.delta", delta="Hello", logprobs=[], **_AT),
    ],
    "/v1/messages": [
        _message(
            "message_start",
            message={
                "id": "msg_1", "type": "message", "role": "assistant", "model": "llm", "content": [],
                "stop_reason": None, "stop_sequence": None, "usage": {"input_tokens": 1, "output_tokens": 0},
            },
        ),
        _message("content_block_start", index=0, content_block={"type": "text", "text": ""}),
        _message("content_block_delta", index=0, delta={"type": "text_delta", "text": "Hello"}),
    ],
}  # fmt: skip

_DONE = b"data: [DONE]\n\n"
_SAID = {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed"}
_ENDINGS = {
    "/v1/chat/completions": [_chat("stop"), _DONE],
    "/v1/completions": [_completion("", "stop"), _DONE],
    "/v1/responses": [
        _response(
            5,
            "response.completed",
            response={
                **_RESPONSE,
                "status": "completed",
                "output": [{**_SAID, "content": [{**_PART, "text": "Hello"}]}],
            },
        )
    ],
    "/v1/messages": [
        _message("content_block_stop", index=0),
        _message("message_delta", delta={"stop_reason": "end_turn", "stop_sequence": None}, usage={"output_tokens": 1}),
        _message("message_stop"),
    ],
}
