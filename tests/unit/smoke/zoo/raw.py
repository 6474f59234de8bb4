"""Servers that speak no HTTP worth the name: each is what it does with a connection that was opened."""

import contextlib
import itertools
import json
import socket
import socketserver
import struct
import threading
import time
from collections.abc import Callable, Iterator

Handler = Callable[[socket.socket], None]

_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\ntransfer-encoding: chunked\r\n\r\n"
_EVENT = b"data: " + json.dumps({"choices": [{"index": 0, "delta": {"content": "on "}}]}).encode() + b"\n\n"


def speaks_something_else(client: socket.socket) -> None:
    client.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
    says_nothing(client)


def closes_at_once(client: socket.socket) -> None:
    _read_request(client)


def resets(client: socket.socket) -> None:
    _read_request(client)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def says_nothing(client: socket.socket) -> None:
    while client.recv(65536):
        pass


def never_ends_its_headers(client: socket.socket) -> None:
    _read_request(client)
    client.sendall(b"HTTP/1.1 200 OK\r\n")
    for number in itertools.count():
        client.sendall(b"x-%d: %b\r\n" % (number, b"y" * 1000))


def never_ends_its_answer(client: socket.socket) -> None:
    _stream(client, b"application/json", itertools.repeat(b" " * 65536))


def drips(client: socket.socket) -> None:
    """A byte now and then, so that no time-out between two bytes is ever reached."""
    _stream(client, b"application/json", _slowly(itertools.repeat(b" ")))


def never_ends_its_line(client: socket.socket) -> None:
    _stream(client, b"text/event-stream", itertools.chain([b"data: "], itertools.repeat(b"x" * 65536)))


def never_ends_its_stream(client: socket.socket) -> None:
    _stream(client, b"text/event-stream", itertools.repeat(_EVENT * 1000))


def never_ends_its_pauses(client: socket.socket) -> None:
    """Nothing but comments, as from a gateway that holds for ever."""
    _stream(client, b"text/event-stream", _slowly(itertools.repeat(b": hold on\n\n")))


@contextlib.contextmanager
def listening(handler: Handler) -> Iterator[str]:
    class _Request(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with contextlib.suppress(OSError):
                handler(self.request)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Request) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def _stream(client: socket.socket, kind: bytes, parts: Iterator[bytes]) -> None:
    _read_request(client)
    client.sendall(_HEAD % kind)
    for part in parts:
        client.sendall(b"%x\r\n%b\r\n" % (len(part), part))


def _slowly(parts: Iterator[bytes]) -> Iterator[bytes]:
    for part in parts:
        time.sleep(0.1)
        yield part


def _read_request(client: socket.socket) -> None:
    """Enough of it: a small request comes in one piece, or its body right after its head."""
    received = b""
    while b"\r\n\r\n" not in received:
        received += client.recv(65536)
    head, _, body = received.partition(b"\r\n\r\n")
    length = next((int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0)
    while len(body) < length:
        body += client.recv(65536)
