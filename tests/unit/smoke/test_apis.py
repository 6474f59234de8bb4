"""The checks of the other APIs against small servers: good ones pass, missing ones are skipped, broken ones fail."""

import json
from typing import Any

import pytest

from pmpctl.smoke.api import Api
from pmpctl.smoke.apis import APIS
from pmpctl.smoke.check import CheckResult, Verdict, make_check
from pmpctl.smoke.target import Target
from tests.unit.smoke.small_server import Reply, serving

TOKEN = "a-token-for-the-apis"
MESSAGE = {
    "type": "message", "role": "assistant", "content": [{"type": "text", "text": "OK"}], "stop_reason": "end_turn",
    "usage": {"input_tokens": 3, "cache_read_input_tokens": 2, "output_tokens": 1},
}  # fmt: skip
START = [
    {"type": "message_start", "message": {}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "ping"},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "OK"}},
]
END = [
    {"type": "content_block_stop", "index": 0},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 1}},
    {"type": "message_stop"},
]
RESPONSE = {
    "object": "response", "status": "completed",
    "output": [{"type": "message", "content": [{"type": "output_text", "text": "OK"}]}],
}  # fmt: skip
RESPONSE_EVENTS = [
    {"type": "response.created"},
    {"type": "response.output_text.delta", "delta": "OK"},
    {"type": "response.completed", "response": RESPONSE},
]


def run(name: str, **answers: Any) -> CheckResult:
    """The named check where the server answers these (data, events or a status) by the end of the path.

    `x_api_key` is the status for the token in that header.
    """

    def answer(reply: Reply) -> None:
        wanted = answers.get(reply.asked.path.rpartition("/")[2], 404)
        if "x-api-key" in reply.asked.headers and "x_api_key" in answers:
            reply.json({"error": {"message": "no", "type": "authentication_error"}}, answers["x_api_key"])
        elif isinstance(wanted, int):
            reply.json({"error": {"message": "nothing here", "type": "not_found_error", "code": None}}, wanted)
        elif isinstance(wanted, list) and reply.asked.body.get("stream"):
            reply.begin_stream()
            for event in wanted:
                reply.part(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode())
            reply.part(b"")
        else:
            reply.json(wanted)

    (check,) = (check for check in APIS if check.name == name)
    with serving(answer) as server, Api(Target(server.url, token=TOKEN, timeout_seconds=10)) as api:
        return make_check(check, api)


@pytest.mark.parametrize("check", APIS, ids=lambda check: check.name)
def test_what_is_not_served_is_skipped_with_its_reason(check: Any) -> None:
    result = run(check.name)

    assert result.verdict is Verdict.SKIPPED
    assert "404" in result.detail


@pytest.mark.parametrize(
    ("name", "answers"),
    [
        ("messages-plain", {"messages": MESSAGE}),
        ("messages-stream", {"messages": [*START, *END]}),
        ("messages-count", {"messages": MESSAGE, "count_tokens": {"input_tokens": 5}}),
        ("messages-x-api-key", {"messages": MESSAGE}),
        ("responses-plain", {"responses": RESPONSE}),
        ("responses-stream", {"responses": RESPONSE_EVENTS}),
        ("embeddings", {"embeddings": {"data": [{"embedding": [0.1, 0]}, {"embedding": [0, -1]}]}}),
    ],
)
def test_a_good_answer_passes(name: str, answers: dict[str, Any]) -> None:
    result = run(name, **answers)

    assert result.verdict is Verdict.PASS, result


@pytest.mark.parametrize(
    ("name", "answers", "words"),
    [
        ("messages-plain", {"messages": {**MESSAGE, "content": []}}, "empty"),
        ("messages-plain", {"messages": {"choices": []}}, "no message"),
        ("messages-stream", {"messages": START}, "not with message_stop"),
        ("messages-stream", {"messages": [START[0], *END]}, "content_block_stop after message_start"),
        ("messages-x-api-key", {"messages": MESSAGE, "x_api_key": 401}, "x-api-key"),
        ("responses-plain", {"responses": {**RESPONSE, "output": []}}, "empty"),
        ("responses-stream", {"responses": RESPONSE_EVENTS[:2]}, "not with response.completed"),
        ("responses-stream", {"responses": [RESPONSE_EVENTS[0], RESPONSE_EVENTS[2]]}, "pieces"),
        ("embeddings", {"embeddings": {"data": [{"embedding": [1]}, {"embedding": [1, 2]}]}}, "different"),
        ("embeddings", {"embeddings": {"data": [{"embedding": [1]}, {"embedding": [0]}]}}, "zeros"),
        ("embeddings", {"embeddings": {"data": [{"embedding": [1]}, {"embedding": [float("nan")]}]}}, "NaN"),
        ("embeddings", {"embeddings": 500}, "500"),
    ],
)
def test_a_bad_answer_fails_and_says_what_is_wrong(name: str, answers: dict[str, Any], words: str) -> None:
    result = run(name, **answers)

    assert result.verdict is Verdict.FAIL
    assert words in result.detail
    assert result.cure
    assert TOKEN not in result.detail + result.cure


def test_a_count_that_differs_from_the_answers_is_a_warning() -> None:
    result = run("messages-count", messages=MESSAGE, count_tokens={"input_tokens": 9})

    assert result.verdict is Verdict.WARN
