"""What the API's client says where no answer comes: addresses, timeouts, certificates, proxies, tokens."""

import socket
import threading
from pathlib import Path

import pytest

from tests.support import find_free_port
from tests.unit.smoke.asking import HELLO, api, completion, failure_of_chat
from tests.unit.smoke.small_server import Reply, serving
from tests.unit.smoke.zoo.certificates import certificate


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
    with serving(lambda reply: reply.json(completion()), certificate(tmp_path, name="127.0.0.1", days=2)) as server:
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
    with serving(lambda reply: reply.json(completion()), certificate(tmp_path, name="127.0.0.1", days=2)) as server:
        found = failure_of_chat(server.url, "a-token")

    assert "the certificate of 127.0.0.1" in found.what
    assert "SSL_CERT_FILE" in found.cure
    assert server.asked == []


def test_a_certificate_for_another_name_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = certificate(tmp_path, name="127.0.0.2", days=2)
    monkeypatch.setenv("SSL_CERT_FILE", str(made))
    with serving(lambda reply: reply.json(completion()), made) as server:
        found = failure_of_chat(server.url)

    assert "IP address mismatch" in found.what
    assert "Use the name that the certificate is for" in found.cure


def test_an_authority_of_ones_own_is_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = certificate(tmp_path, name="127.0.0.1", days=2)
    monkeypatch.setenv("SSL_CERT_FILE", str(made))
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
