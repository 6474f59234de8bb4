"""What the API's client makes of good answers, and of each way in which there is none."""

import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pmpctl.smoke.answer import ToolCall
from pmpctl.smoke.api import Api
from pmpctl.smoke.check import Failed
from pmpctl.smoke.target import Target
from tests.support import find_free_port
from tests.unit.smoke.small_server import Reply, serving

HELLO = [{"role": "user", "content": "Hello"}]


@contextmanager
def api(url: str, token: str | None = None, timeout_seconds: float = 10) -> Iterator[Api]:
    with Api(Target(url, token=token, timeout_seconds=timeout_seconds)) as opened:
        yield opened


def completion(content: str | None = "Hello", finish_reason: str = "stop", **message: Any) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", "content": content, **message}}
    return {"choices": [choice | {"finish_reason": finish_reason}], "usage": {"completion_tokens": 1}}


def chunk(finish_reason: str | None = None, **delta: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}]}


def failure_of_chat(url: str, token: str | None = None, timeout_seconds: float = 10) -> Failed:
    with api(url, token, timeout_seconds) as opened, pytest.raises(Failed) as caught:
        opened.chat(HELLO)
    assert caught.value.cure
    return caught.value


def failure_of_stream(*events: Any) -> Failed:
    def answer(reply: Reply) -> None:
        reply.begin_stream()
        for event in events:
            reply.event(event)
        reply.part(b"")

    with (
        serving(answer) as server,
        api(server.url) as opened,
        pytest.raises(Failed) as caught,
        opened.stream_chat(HELLO) as stream,
    ):
        stream.read_all()
    return caught.value


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


def test_where_nobody_listens_it_says_so() -> None:
    port = find_free_port()
    assert failure_of_chat(f"http://127.0.0.1:{port}").what.endswith(f"nobody listens at 127.0.0.1:{port}")


def test_a_host_that_nobody_knows_is_named() -> None:
    assert "no host is known as nowhere.invalid" in failure_of_chat("http://nowhere.invalid").what


def test_a_server_that_does_not_answer_is_given_up() -> None:
    ended = threading.Event()

    def answer(_: Reply) -> None:
        ended.wait(10)

    with serving(answer) as server:
        found = failure_of_chat(server.url, timeout_seconds=0.2)
        ended.set()

    assert found.what.endswith("no answer within 0.2 s")


def test_an_answer_that_drips_is_given_up_too() -> None:
    ended = threading.Event()

    def answer(reply: Reply) -> None:
        reply.send_response(200)
        reply.send_header("Content-Length", "1000000")
        reply.end_headers()
        while not ended.wait(0.02):
            reply.wfile.write(b" ")

    with serving(answer) as server:
        found = failure_of_chat(server.url, timeout_seconds=0.3)
        ended.set()

    assert found.what.endswith("no answer within 0.3 s")


def test_a_connection_that_breaks_off_is_told_as_such() -> None:
    def answer(reply: Reply) -> None:
        reply.send_response(200)
        reply.send_header("Content-Length", "100")
        reply.end_headers()
        reply.close_connection = True

    with serving(answer) as server:
        assert "broke off before the answer was complete" in failure_of_chat(server.url).what


def test_plain_http_to_a_server_with_tls_says_to_write_https(tmp_path: Path) -> None:
    with serving(lambda reply: reply.json(completion()), certificate(tmp_path, "127.0.0.1")) as server:
        found = failure_of_chat(server.url.replace("https:", "http:"))

    assert "closed the connection without an answer" in found.what
    assert "https://" in found.cure


def test_a_server_that_speaks_no_http_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        def greet() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(b"+OK ready\r\n\r\n")
                connection.recv(65536)

        thread = threading.Thread(target=greet)
        thread.start()
        assert "is not HTTP" in failure_of_chat(f"http://127.0.0.1:{port}").what
        thread.join()


def test_a_certificate_that_nobody_vouches_for_is_named(tmp_path: Path) -> None:
    with serving(lambda reply: reply.json(completion()), certificate(tmp_path, "127.0.0.1")) as server:
        found = failure_of_chat(server.url, "a-token")

    assert "the certificate of 127.0.0.1" in found.what
    assert "SSL_CERT_FILE" in found.cure
    assert server.asked == []


def test_a_certificate_for_another_name_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = certificate(tmp_path, "127.0.0.2")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
    with serving(lambda reply: reply.json(completion()), made) as server:
        found = failure_of_chat(server.url)

    assert "IP address mismatch" in found.what
    assert "Use the name that the certificate is for" in found.cure


def test_an_authority_of_ones_own_is_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = certificate(tmp_path, "127.0.0.1")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
    with serving(lambda reply: reply.json(completion()), made) as server, api(server.url) as opened:
        assert opened.chat(HELLO).text == "Hello"


def test_https_to_a_plain_server_says_to_write_http() -> None:
    with serving(lambda reply: reply.json(completion())) as server:
        found = failure_of_chat(server.url.replace("http:", "https:"))

    assert "does not speak TLS" in found.what
    assert "http://" in found.cure


def test_a_proxy_of_the_environment_is_not_asked_for_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{find_free_port()}")
    with serving(lambda reply: reply.json(completion())) as server, api(server.url) as opened:
        assert opened.chat(HELLO).text == "Hello"


@pytest.mark.parametrize("token", ["two\nlines-of-secret", "schlüssel-secret"])
def test_a_token_that_no_header_can_hold_is_not_quoted(token: str) -> None:
    error = {"error": {"message": "no", "type": "authentication_error", "code": None}}
    with serving(lambda reply: reply.json(error, 401)) as server:
        found = failure_of_chat(server.url, token)

    assert "secret" not in found.what + found.cure


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


def certificate(folder: Path, address: str) -> Path:
    """A file with a key and a certificate for that address, signed by itself; the certificate alone is cert.pem."""
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-days", "2", "-subj", "/CN=test", "-addext", f"subjectAltName=IP:{address}"]
    keys = folder / "key.pem"
    subprocess.run([*command, "-keyout", keys, "-out", folder / "cert.pem"], check=True, capture_output=True)
    both = folder / "both.pem"
    both.write_text(keys.read_text() + (folder / "cert.pem").read_text())
    return both
