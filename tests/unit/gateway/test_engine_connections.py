"""The connections to the engine: kept, found closed, lost, and what of that a client may notice."""

import asyncio
import json
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import pytest

from tests import needs
from tests.unit.gateway.conftest import StartGateway
from tests.unit.gateway.gateway_process import GatewayProcess
from tests.unit.gateway.refusals import refusal
from tests.unit.gateway.stub import MODEL, Backend
from tests.unit.gateway.wire import Wire, wire

PATH = "/v1/chat/completions"
MIB = 1024 * 1024
Post = Callable[[asyncio.StreamReader, asyncio.StreamWriter, int], Awaitable[None]]


def response(data: object, *headers: str) -> bytes:
    body = json.dumps(data).encode()
    lines = ["HTTP/1.1 200 OK", "Content-Type: application/json", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


class Engine:
    """Keeps every connection, and leaves what happens to a request to the test."""

    def __init__(self) -> None:
        self.connections = 0
        self.posts = 0
        # On which connection each came, and how many requests had come there before.
        self.places: list[tuple[int, int]] = []
        self.post: Post = self.answer
        self.reads_bodies = True
        self.port = 0
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self, context: ssl.SSLContext | None = None) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=context)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def answer(self, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _number: int) -> None:
        writer.write(response({"ok": True}))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        place = self.connections
        before = 0
        try:
            while not writer.is_closing():
                head = await reader.readuntil(b"\r\n\r\n")
                if head.startswith(b"GET /v1/models "):
                    writer.write(response({"data": [{"id": MODEL}]}))
                else:
                    self.posts += 1
                    self.places.append((place, before))
                    if self.reads_bodies:
                        length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
                        await reader.readexactly(int(length))
                    await self.post(reader, writer, self.posts)
                await writer.drain()
                before += 1
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()


@pytest.fixture
async def engine() -> AsyncIterator[Engine]:
    engine = Engine()
    await engine.start()
    yield engine
    await engine.stop()


@pytest.fixture
def front(start_gateway: StartGateway, engine: Engine, backend: Backend) -> GatewayProcess:
    return start_gateway(
        backend_url=engine.url, PMP_GATEWAY_BACKEND_SILENCE_SECONDS="2", PMP_GATEWAY_ENGINE_WAIT_SECONDS="0"
    )


async def ask(connection: Wire, body: bytes = b"{}") -> int:
    await connection.post(PATH, body)
    return (await connection.answer())[0]


async def test_one_connection_serves_one_request_after_another(front: GatewayProcess, engine: Engine) -> None:
    async with wire(front.port) as connection:
        for _ in range(5):
            assert await ask(connection) == 200
    assert engine.connections == 1
    assert [before for _, before in engine.places] == [1, 2, 3, 4, 5]


async def test_requests_that_come_together_share_a_connection_one_after_another(
    front: GatewayProcess, engine: Engine
) -> None:
    async with wire(front.port) as connection:
        await connection.send(
            b"".join([f"POST {PATH} HTTP/1.1\r\nHost: g\r\nContent-Length: 2\r\n\r\n{{}}".encode()] * 5)
        )
        for _ in range(5):
            assert (await connection.answer())[0] == 200
    assert engine.connections == 1


async def test_what_was_sent_on_a_closed_connection_is_sent_once_more(front: GatewayProcess, engine: Engine) -> None:
    async def lose_the_second(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        if number == 2:
            writer.transport.abort()
        else:
            await engine.answer(reader, writer, number)

    engine.post = lose_the_second
    async with wire(front.port) as connection:
        assert await ask(connection) == 200
        assert await ask(connection) == 200
    assert engine.posts == 3
    assert engine.places[2][1] == 0


async def test_but_not_a_second_time(front: GatewayProcess, engine: Engine) -> None:
    async def lose_all_but_the_first(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        if number > 1:
            writer.transport.abort()
        else:
            await engine.answer(reader, writer, number)

    engine.post = lose_all_but_the_first
    async with wire(front.port) as connection:
        assert await ask(connection) == 200
        await connection.post(PATH, b"{}")
        assert await refusal(connection) == (502, "backend_broken")
    assert engine.posts == 3


@pytest.mark.parametrize("said", [b"H", b"HTTP/1.1 200 OK\r\n", response({})[:-1]])
async def test_nor_once_an_answer_began(front: GatewayProcess, engine: Engine, said: bytes) -> None:
    async def break_off(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        if number == 1:
            await engine.answer(reader, writer, number)
        else:
            writer.write(said)
            writer.close()

    engine.post = break_off
    async with wire(front.port) as connection:
        assert await ask(connection) == 200
        await connection.post(PATH, b"{}")
        assert await refusal(connection) == (502, "backend_broken")
    assert engine.posts == 2


async def test_nor_when_it_was_being_worked_on(front: GatewayProcess, engine: Engine) -> None:
    """It may be what the engine died of."""

    async def die_of_it(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        if number == 1:
            await engine.answer(reader, writer, number)
        else:
            await asyncio.sleep(1.2)
            writer.transport.abort()

    engine.post = die_of_it
    async with wire(front.port) as connection:
        assert await ask(connection) == 200
        await connection.post(PATH, b"{}")
        assert await refusal(connection) == (502, "backend_broken")
    assert engine.posts == 2


async def test_nor_when_the_engine_falls_silent(front: GatewayProcess, engine: Engine) -> None:
    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        if number == 1:
            await engine.answer(reader, writer, number)
        else:
            await reader.read()

    engine.post = hang
    async with wire(front.port) as connection:
        assert await ask(connection) == 200
        await connection.post(PATH, b"{}")
        assert await refusal(connection) == (504, "backend_silent")
    assert engine.posts == 2


async def test_an_engine_that_closes_each_connection_is_served_by_new_ones(
    front: GatewayProcess, engine: Engine
) -> None:
    async def answer_and_close(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        writer.write(response({}, "Connection: close") if number % 2 else response({}))
        writer.close()

    engine.post = answer_and_close
    async with wire(front.port) as connection:
        for _ in range(20):
            assert await ask(connection) == 200
    assert engine.posts >= 20


async def test_a_connection_that_says_something_unasked_is_not_used_again(
    front: GatewayProcess, engine: Engine
) -> None:
    answered, closed = asyncio.Event(), asyncio.Event()

    async def say_more(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        await engine.answer(reader, writer, number)
        if number == 1:
            await answered.wait()
            writer.write(response({"ok": "not asked for"}))
            with suppress(ConnectionError):
                assert await reader.read() == b""
            closed.set()

    engine.post = say_more
    async with wire(front.port) as connection:
        assert await ask(connection) == 200
        answered.set()
        async with asyncio.timeout(30):
            await closed.wait()
        for _ in range(3):
            await connection.post(PATH, b"{}")
            assert await connection.answer() == (200, b'{"ok": true}')


async def test_an_answer_that_comes_before_the_request_is_sent_ends_the_connection(
    front: GatewayProcess, engine: Engine
) -> None:
    async def answer_early(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        writer.write(response({"early": number}))
        await writer.drain()
        if number == 1:
            # The rest of the body is never read, and the connection stays open.
            await asyncio.Event().wait()
        engine.reads_bodies = True

    engine.post = answer_early
    engine.reads_bodies = False
    async with wire(front.port) as connection:
        await connection.post(PATH, b'{"messages":"%b"}' % (b"x" * 20 * MIB))
        assert await connection.answer() == (200, b'{"early": 1}')
        engine.reads_bodies = True
        await connection.post(PATH, b"{}")
        assert await connection.answer() == (200, b'{"early": 2}')


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """For 127.0.0.1, signed by itself: the certificate and its key."""
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        [
            *(needs.require(needs.openssl), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-days", "1", "-subj", "/CN=engine", "-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    return certificate, key


@pytest.fixture
async def tls_engine(certificate: tuple[Path, Path]) -> AsyncIterator[Engine]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*certificate)
    engine = Engine()
    await engine.start(context)
    yield engine
    await engine.stop()


async def test_an_engine_behind_tls_is_reached_and_kept(
    start_gateway: StartGateway, tls_engine: Engine, certificate: tuple[Path, Path], backend: Backend
) -> None:
    gateway = start_gateway(
        backend_url=tls_engine.url.replace("http:", "https:"),
        SSL_CERT_FILE=str(certificate[0]),
        SSL_CERT_DIR="/nowhere",
    )
    async with wire(gateway.port) as connection:
        for _ in range(3):
            assert await ask(connection) == 200
        await connection.post(PATH, b'{"messages":"%b"}' % (b"x" * 5 * MIB))
        assert await connection.answer() == (200, b'{"ok": true}')
    assert tls_engine.connections == 1


async def test_an_engine_whose_certificate_nobody_vouches_for_is_not_trusted(
    start_gateway: StartGateway, tls_engine: Engine, backend: Backend
) -> None:
    gateway = start_gateway(backend_url=tls_engine.url.replace("http:", "https:"), PMP_GATEWAY_ENGINE_WAIT_SECONDS="0")
    async with wire(gateway.port) as connection:
        await connection.post(PATH, b"{}")
        assert await refusal(connection) == (503, "backend_away")
    assert tls_engine.posts == 0
    assert "Traceback" not in gateway.stderr
