"""What the API's client makes of a stream, whole, broken and given up."""

import threading

import pytest

from pmpctl.smoke.check import Failed
from tests.unit.smoke.asking import HELLO, api, chunk, completion, failure_of_stream
from tests.unit.smoke.small_server import Reply, serving


def test_a_stream_is_put_together_from_its_parts() -> None:
    def answer(reply: Reply) -> None:
        reply.begin_stream()
        reply.part(b": keep-alive\n\n")
        reply.event(chunk(role="assistant", content=""))
        reply.event(chunk(content="Hel"))
        reply.event(chunk(content="lo"))
        function = {"name": "get_weather", "arguments": ""}
        reply.event(chunk(tool_calls=[{"index": 0, "id": "call-1", "function": function}]))
        reply.event(chunk(tool_calls=[{"index": 0, "function": {"arguments": '{"city": '}}]))
        reply.event(chunk(tool_calls=[{"index": 0, "function": {"arguments": '"Paris"}'}}]))
        reply.event(chunk("tool_calls"))
        reply.event({"choices": [], "usage": {"completion_tokens": 7}})
        reply.event("[DONE]")
        reply.part(b"")

    with serving(answer) as server, api(server.url) as opened, opened.stream_chat(HELLO) as stream:
        stream.read_all()

    assert stream.text == "Hello"
    assert [(call.id, call.name, call.arguments) for call in stream.tool_calls] == [
        ("call-1", "get_weather", '{"city": "Paris"}')
    ]
    assert (stream.finish_reason, stream.usage, stream.done) == ("tool_calls", {"completion_tokens": 7}, True)
    assert len(stream.arrivals) == 5
    assert server.asked[0].body["stream"] is True


def test_chunks_are_handed_on_as_they_arrive() -> None:
    seen = threading.Event()

    def answer(reply: Reply) -> None:
        reply.begin_stream()
        reply.event(chunk(content="Hel"))
        assert seen.wait(10)
        reply.event(chunk("stop", content="lo"))
        reply.part(b"")

    with serving(answer) as server, api(server.url) as opened, opened.stream_chat(HELLO) as stream:
        for _ in stream:
            seen.set()

    assert (stream.text, stream.done) == ("Hello", False)


def test_who_leaves_a_stream_closes_its_connection() -> None:
    closed = threading.Event()

    def answer(reply: Reply) -> None:
        reply.begin_stream()
        reply.event(chunk(content="Hello"))
        if reply.rfile.read(1) == b"":
            closed.set()

    with serving(answer) as server, api(server.url) as opened:
        with opened.stream_chat(HELLO) as stream:
            next(iter(stream))
        assert closed.wait(10)


def test_an_error_event_ends_the_stream_with_its_words() -> None:
    found = failure_of_stream(chunk(content="Hel"), {"error": {"message": "EngineCore died", "type": "x", "code": 500}})

    assert found.what.endswith("the stream broke off with an error: EngineCore died")


def test_an_event_that_is_no_json_is_quoted() -> None:
    assert "not JSON: 'oops'" in failure_of_stream("oops").what


def test_a_stream_without_a_token_in_it_is_an_empty_answer() -> None:
    assert "the answer is empty" in failure_of_stream(chunk(role="assistant", content=""), chunk("stop"), "[DONE]").what


def test_a_stream_that_is_given_up_is_a_failure() -> None:
    assert "finish_reason abort" in failure_of_stream(chunk(content="Hel"), chunk("abort"), "[DONE]").what


def test_a_stream_that_breaks_off_says_after_how_many_chunks() -> None:
    def answer(reply: Reply) -> None:
        reply.begin_stream()
        reply.event(chunk(content="Hel"))
        reply.event(chunk(content="lo"))
        reply.close_connection = True

    with (
        serving(answer) as server,
        api(server.url) as opened,
        pytest.raises(Failed, match="after 2 chunks"),
        opened.stream_chat(HELLO) as stream,
    ):
        stream.read_all()


def test_a_whole_answer_where_a_stream_was_asked_for_is_named() -> None:
    with (
        serving(lambda reply: reply.json(completion())) as server,
        api(server.url) as opened,
        pytest.raises(Failed, match="no stream, but application/json"),
        opened.stream_chat(HELLO),
    ):
        pass
