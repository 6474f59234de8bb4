"""What the API's client makes of good answers, and of answers that are none."""

import pytest

from pmpctl.smoke.answer import ToolCall
from tests.unit.smoke.asking import HELLO, api, completion, failure_of_chat
from tests.unit.smoke.small_server import Reply, serving


def test_a_chat_is_asked_with_the_models_name_and_the_token() -> None:
    with serving(lambda reply: reply.json(completion())) as server, api(server.url, "a-token") as opened:
        answer = opened.chat(HELLO, max_tokens=5)

    assert (answer.text, answer.finish_reason, answer.usage) == ("Hello", "stop", {"completion_tokens": 1})
    (asked,) = server.asked
    assert asked.headers["authorization"] == "Bearer a-token"
    assert asked.body == {"model": "llm", "messages": HELLO, "max_tokens": 5}


def test_a_request_goes_without_a_token_or_with_another_where_it_is_told_to() -> None:
    with serving(lambda reply: reply.json({})) as server, api(server.url, "a-token") as opened:
        opened.request("GET", "/v1/models", token=None)
        opened.request("GET", "/v1/models", token="another")

    assert [asked.headers.get("authorization") for asked in server.asked] == [None, "Bearer another"]


def test_an_empty_token_is_sent_as_such() -> None:
    with serving(lambda reply: reply.json({})) as server, api(server.url, "a-token") as opened:
        opened.request("GET", "/v1/models", token="")

    assert [asked.headers.get("authorization") for asked in server.asked] == ["Bearer"]


@pytest.mark.parametrize("before", ["x" * 190 + " ", " " * 1500 + "x ", '{"quoted":"' + "x" * 180 + '","token":"'])
def test_an_excerpt_ends_before_what_may_be_half_a_token(before: str) -> None:
    """The redactor knows the token whole, and would not find its half."""
    said = f"{before}{'secret-' * 40}"
    with serving(lambda reply: reply.content(said.encode(), status=500)) as server:
        found = failure_of_chat(server.url)
    assert "secret" not in found.what


def test_tool_calls_are_an_answer_without_text() -> None:
    call = {"id": "call-1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Paris"}'}}
    said = completion(None, "tool_calls", tool_calls=[call])
    with serving(lambda reply: reply.json(said)) as server, api(server.url) as opened:
        (made,) = opened.chat(HELLO).tool_calls

    assert made == ToolCall("call-1", "get_weather", '{"city": "Paris"}')


def test_an_html_page_is_named_by_its_title() -> None:
    page = b"<!DOCTYPE html><html><head><title>Sign in</title></head></html>"
    with serving(lambda reply: reply.content(page, "text/html")) as server:
        found = failure_of_chat(server.url)

    assert "HTML page ('Sign in')" in found.what
    assert "web page" in found.cure


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"{broken", "not JSON: '{broken'"),
        (b"", "empty body"),
        (b'{"choices": []}', "no chat completion"),
        (b"[1]", "no chat completion"),
    ],
)
def test_a_body_that_is_no_chat_completion_is_quoted(body: bytes, words: str) -> None:
    with serving(lambda reply: reply.content(body, "application/json")) as server:
        assert words in failure_of_chat(server.url).what


def test_a_good_status_with_an_empty_answer_is_a_failure() -> None:
    with serving(lambda reply: reply.json(completion(""))) as server:
        assert "the answer is empty" in failure_of_chat(server.url).what


def test_a_good_status_with_an_abort_is_a_failure() -> None:
    with serving(lambda reply: reply.json(completion("Hel", "abort"))) as server:
        assert "finish_reason abort" in failure_of_chat(server.url).what


def test_an_error_status_is_told_with_the_servers_words_and_the_statuss_cure() -> None:
    error = {"error": {"message": "the token is not known", "type": "authentication_error", "code": "invalid_api_key"}}
    with serving(lambda reply: reply.json(error, 401)) as server:
        found = failure_of_chat(server.url)
        with api(server.url) as opened:
            said = opened.request("GET", "/v1/models").error

    assert found.what == "POST /v1/chat/completions: HTTP 401: the token is not known"
    assert "--token-file" in found.cure
    assert said == ("the token is not known", "authentication_error", "invalid_api_key")


def test_a_redirect_is_told_with_where_it_goes() -> None:
    def answer(reply: Reply) -> None:
        reply.content(b"", status=308, Location="https://api.example/v1")

    with serving(answer) as server:
        assert "redirect to https://api.example/v1" in failure_of_chat(server.url).what
