import asyncio
import fcntl
import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from pmp_gateway.access_log import AccessLog
from pmp_gateway.log_writer import LineWriter
from tests.support import eventually
from tests.unit.gateway.conftest import StartGateway
from tests.unit.gateway.gateway_process import GatewayProcess
from tests.unit.gateway.outcomes import Finished
from tests.unit.gateway.stub import Backend

PATH = "/v1/chat/completions"


class Pipe:
    def __init__(self) -> None:
        read_end, self.write_end = os.pipe()
        self.reader = os.fdopen(read_end, "rb")
        self.writer = LineWriter(self.write_end)
        self._is_open = True

    def close(self) -> None:
        if self._is_open:
            self._is_open = False
            self.writer.close()
            os.close(self.write_end)

    def lines(self) -> list[bytes]:
        """Everything that is written, once no more can be."""
        self.close()
        return self.reader.readlines()


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    pipe.close()
    pipe.reader.close()


def written(pipe: Pipe, *finished: Finished, headers: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    access_log = AccessLog(headers, pipe.writer)
    for each in finished:
        access_log.write(each)
    return [json.loads(line) for line in pipe.lines()]


def test_a_line_tells_who_asked_for_what_and_how_it_went(pipe: Pipe) -> None:
    finished = Finished(
        headers=[(b"x-team", b"red"), (b"authorization", b"Bearer canary"), (b"x-other", b"canary")],
        token_name="laptop",
        bytes_sent=12,
        is_stream=True,
        held_seconds=2.0,
        first_byte_seconds=2.25,
        prompt_tokens=7,
        completion_tokens=3,
        duration_seconds=3.21987,
    )
    assert written(pipe, finished, headers=("x-team",)) == [
        {
            "time": "2027-01-15T08:00:00.250+00:00",
            "method": "POST",
            "path": PATH,
            "status": 200,
            "duration_ms": 3219.9,
            "request_id": "request-1",
            "bytes": 12,
            "client": "192.0.2.7",
            "error": None,
            "headers": {"x-team": "red"},
            "token": "laptop",
            "held_ms": 2000.0,
            "first_byte_ms": 2250.0,
            "stream": True,
            "prompt_tokens": 7,
            "completion_tokens": 3,
        }
    ]


def test_what_is_not_known_is_null(pipe: Pipe) -> None:
    (line,) = written(pipe, Finished(client_host=None))
    unknown = ("client", "error", "token", "first_byte_ms", "prompt_tokens", "completion_tokens")
    assert [line[name] for name in unknown] == [None] * len(unknown)


@pytest.mark.parametrize("status", [None, 499])
def test_a_client_that_left_is_logged_as_499(pipe: Pipe, status: int | None) -> None:
    assert written(pipe, Finished(status=status))[0]["status"] == 499


def test_probes_are_left_out(pipe: Pipe) -> None:
    lines = written(pipe, Finished(method="GET", raw_path=b"/health"), Finished(request_id=b"after"))
    assert [line["request_id"] for line in lines] == ["after"]


@pytest.mark.parametrize("hostile", ["a\nb", "a\r\n{}", "\x1b[2J", "a\u2028b\u0085c", "\u202eabc", '"}', "\x00"])
def test_nothing_that_a_client_sends_can_end_a_line_or_steer_a_terminal(pipe: Pipe, hostile: str) -> None:
    access_log = AccessLog(("x-team",), pipe.writer)
    access_log.write(Finished(raw_path=hostile.encode(), headers=[(b"x-team", hostile.encode())]))
    (line,) = pipe.lines()
    assert line.endswith(b"}\n")
    assert line[:-1].isascii()
    assert line[:-1].decode().isprintable()
    assert (json.loads(line)["path"], json.loads(line)["headers"]) == (hostile, {"x-team": hostile})


def test_bytes_that_are_no_text_and_long_values_are_shown_as_far_as_they_go(pipe: Pipe) -> None:
    (line,) = written(pipe, Finished(raw_path=b"/\xff" + b"x" * 1000))
    assert line["path"] == "/\ufffd" + "x" * 254


def test_lines_come_in_order_and_whole_through_a_pipe_that_does_not_block(pipe: Pipe) -> None:
    os.set_blocking(pipe.write_end, False)
    lines = [b"%06d %s\n" % (number, b"x" * 200) for number in range(2000)]
    for line in lines:
        pipe.writer.put(line)
    assert [pipe.reader.readline() for _ in lines] == lines


def test_a_blocked_pipe_costs_lines_and_says_so_once_it_is_read_again(
    pipe: Pipe, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    line = b"x" * 99 + b"\n"
    # Far more than the pipe and the buffer take together.
    for _ in range(60_000):
        pipe.writer.put(line)
    assert pipe.writer.dropped > 0
    assert caplog.records == []
    for _ in range(60_000 - pipe.writer.dropped):
        assert pipe.reader.readline() == line
    pipe.writer.put(b"after\n")
    assert pipe.lines() == [b"after\n"]
    (warning,) = caplog.messages
    assert warning == f"{pipe.writer.dropped} line(s) of the access log were lost: nobody took them from stdout"


def test_a_pipe_whose_reader_has_gone_costs_lines_and_nothing_else(pipe: Pipe) -> None:
    pipe.reader.close()
    pipe.writer.put(b"lost\n")
    assert eventually(lambda: pipe.writer.dropped) == 1


def test_a_line_cut_by_a_full_disk_does_not_spoil_the_next_one(tmp_path: Path) -> None:
    code = """
import os, resource, sys, time
from pmp_gateway.log_writer import LineWriter
descriptor = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (6, hard))
writer = LineWriter(descriptor)
writer.put(b"first line\\n")
while not writer.dropped:
    time.sleep(0.01)
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
writer.put(b"second line\\n")
"""
    path = tmp_path / "log"
    subprocess.run([sys.executable, "-c", code, str(path)], check=True, timeout=30)
    assert path.read_text() == "first \nsecond line\n"


def test_what_waits_when_the_process_ends_is_written() -> None:
    code = "from pmp_gateway.log_writer import LineWriter\nLineWriter(1).put(b'last words\\n')"
    done = subprocess.run([sys.executable, "-c", code], check=True, timeout=30, capture_output=True)
    assert done.stdout == b"last words\n"


def test_what_comes_while_earlier_lines_are_written_is_written_too(pipe: Pipe) -> None:
    pipe.writer.put(b"x" * 500_000 + b"\n")
    assert pipe.reader.read(1) == b"x"
    pipe.writer.put(b"last\n")
    with ThreadPoolExecutor() as pool:
        closing = pool.submit(pipe.close)
        assert pipe.writer._closing.wait(10)
        assert pipe.reader.read().endswith(b"x\nlast\n")
        closing.result()


async def test_a_pipe_that_nobody_reads_stops_neither_answers_nor_the_end(tmp_path: Path, backend: Backend) -> None:
    os.mkfifo(tmp_path / "stdout")
    reader = os.open(tmp_path / "stdout", os.O_RDONLY | os.O_NONBLOCK)
    gateway = GatewayProcess(tmp_path, backend.url, {})
    try:
        fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, 4096)
        await asyncio.to_thread(gateway.wait_until_listening)
        async with httpx.AsyncClient(base_url=gateway.url, timeout=30) as client:
            for _ in range(60):
                assert (await client.post(PATH, json={})).status_code == 200
        gateway.terminate()
        assert await asyncio.to_thread(gateway.wait) == 0
        assert len(os.read(reader, 100_000)) <= 4096
    finally:
        gateway.kill()
        os.close(reader)


async def test_every_line_is_there_after_the_gateway_is_told_to_stop(
    start_gateway: StartGateway, backend: Backend
) -> None:
    gateway = start_gateway()
    async with httpx.AsyncClient(base_url=gateway.url, timeout=30) as client:
        ids = [f"request-{number}" for number in range(40)]
        await asyncio.gather(*(client.post(PATH, json={}, headers={"x-request-id": each}) for each in ids))
    gateway.terminate()
    assert await asyncio.to_thread(gateway.wait) == 0
    assert sorted(line["request_id"] for line in gateway.access_log()) == sorted(ids)
