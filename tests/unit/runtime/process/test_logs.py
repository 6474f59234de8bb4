import stat
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import pytest

from pmpctl.runtime.base import LogLine, LogQuery
from pmpctl.runtime.process_logs import MAX_LINE_BYTES, LogFiles, LogWriter, read_log

MIB = 1024**2


@pytest.fixture
def files(tmp_path: Path) -> LogFiles:
    return LogFiles(tmp_path / "logs" / "engine.log")


class OpenLog(Protocol):
    def __call__(self, files: LogFiles, max_size_bytes: int = MIB, max_files: int = 3) -> LogWriter: ...


@pytest.fixture
def open_log() -> Iterator[OpenLog]:
    with ExitStack() as stack:

        def open_log(files: LogFiles, max_size_bytes: int = MIB, max_files: int = 3) -> LogWriter:
            writer = LogWriter(files, max_size_bytes, max_files)
            stack.callback(writer.finish)
            return writer

        yield open_log


def texts(files: LogFiles, query: LogQuery = LogQuery()) -> list[str]:  # noqa: B008 (frozen)
    return [line.text for line in read_log(files, query, grows=lambda: False)]


def test_stdout_and_stderr_stay_apart_and_every_line_has_its_time(files: LogFiles, open_log: OpenLog) -> None:
    before = time.strftime("%Y-%m-%dT%H:%M", time.gmtime())
    writer = open_log(files)
    writer.feed("stdout", b"loading\n")
    writer.feed("stderr", b"a warning\n")
    lines = list(read_log(files, LogQuery(), grows=lambda: False))
    assert [(line.stream, line.text) for line in lines] == [("stdout", "loading"), ("stderr", "a warning")]
    assert before <= lines[0].timestamp[:16] <= lines[1].timestamp[:16]
    assert lines[0].timestamp.endswith("Z")


def test_only_the_owner_can_read_a_log(files: LogFiles, open_log: OpenLog) -> None:
    open_log(files).feed("stdout", b"prompt\n")
    assert stat.S_IMODE(files.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(files.path.parent.stat().st_mode) == 0o700


def test_a_line_that_comes_in_pieces_is_one_line(files: LogFiles, open_log: OpenLog) -> None:
    writer = open_log(files)
    writer.feed("stdout", b"load")
    writer.feed("stderr", b"oh\n")
    writer.feed("stdout", b"ing\nunfinished")
    assert texts(files) == ["oh", "loading"]
    writer.finish()
    assert texts(files) == ["oh", "loading", "unfinished"]


def test_a_progress_bar_shows_each_of_its_steps(files: LogFiles, open_log: OpenLog) -> None:
    writer = open_log(files)
    for piece in (b"\rshards:  0%", b"\rshards: 50%", b"\rshards: 100%\n", b"done\r", b"\n", b"\n", b"end\n"):
        writer.feed("stderr", piece)
    assert texts(files) == ["shards:  0%", "shards: 50%", "shards: 100%", "done", "", "end"]


def test_bytes_that_are_no_text_and_endless_lines_are_kept(files: LogFiles, open_log: OpenLog) -> None:
    writer = open_log(files)
    writer.feed("stdout", b"caf\xe9\n")
    writer.feed("stdout", b"x" * (MAX_LINE_BYTES + 1))
    assert texts(files) == ["caf\N{REPLACEMENT CHARACTER}", "x" * (MAX_LINE_BYTES + 1)]


def test_rotation_keeps_the_newest_lines_within_size_and_count(files: LogFiles, open_log: OpenLog) -> None:
    writer = open_log(files, max_size_bytes=1000, max_files=3)
    for number in range(200):
        writer.feed("stdout", f"line {number}\n".encode())
    kept = sorted(path.name for path in files.path.parent.iterdir())
    assert kept == ["engine.log", "engine.log.1", "engine.log.2"]
    assert all(path.stat().st_size <= 1000 for path in files.path.parent.iterdir())
    read = texts(files)
    assert read == [f"line {number}" for number in range(200 - len(read), 200)]
    assert len(read) > 40


def test_tail_and_since_choose_the_newest_lines_across_files(files: LogFiles, open_log: OpenLog) -> None:
    writer = open_log(files, max_size_bytes=200, max_files=5)
    for number in range(5):
        writer.feed("stdout", f"early {number}\n".encode())
    between = time.time()
    for number in range(5):
        writer.feed("stdout", f"late {number}\n".encode())
    late = [f"late {number}" for number in range(5)]
    assert texts(files, LogQuery(since=between)) == late
    assert texts(files, LogQuery(tail=7)) == ["early 3", "early 4", *late]
    assert texts(files, LogQuery(tail=2, since=between)) == ["late 3", "late 4"]
    assert texts(files, LogQuery(tail=0)) == []


def test_following_misses_and_repeats_nothing_while_files_are_rotated(files: LogFiles, open_log: OpenLog) -> None:
    writer = open_log(files, max_size_bytes=500, max_files=4)
    batches = iter([range(10, 20), range(20, 40), range(40, 41)])

    def grows() -> bool:
        batch = next(batches, None)
        for number in batch or ():
            writer.feed("stdout", f"line {number}\n".encode())
        return batch is not None

    for number in range(10):
        writer.feed("stdout", f"line {number}\n".encode())
    followed = [line.text for line in read_log(files, LogQuery(follow=True, tail=3), grows)]
    assert followed == [f"line {number}" for number in range(7, 41)]


def test_following_a_log_that_is_not_there_yet_shows_its_first_line(files: LogFiles, open_log: OpenLog) -> None:
    def late_lines() -> Iterator[bool]:
        yield True
        open_log(files).feed("stdout", b"first\n")
        yield False

    answers = late_lines()
    followed = list(read_log(files, LogQuery(follow=True), grows=lambda: next(answers)))
    assert [line.text for line in followed] == ["first"]


def test_following_shows_the_end_of_this_start_and_nothing_of_the_next(files: LogFiles, open_log: OpenLog) -> None:
    old = open_log(files)
    old.feed("stdout", b"old\n")

    def next_start() -> bool:
        old.feed("stdout", b"last words\n")
        files.begin()
        open_log(files).feed("stdout", b"new\n")
        return False

    followed = [line.text for line in read_log(files, LogQuery(follow=True), next_start)]
    assert followed == ["old", "last words"]


def test_a_start_begins_a_new_log_and_keeps_the_one_before(files: LogFiles, open_log: OpenLog) -> None:
    for text in (b"first", b"second", b"third"):
        files.begin()
        writer = open_log(files, max_size_bytes=50, max_files=3)
        writer.feed("stdout", text + b" a\n" + text + b" b\n")
    assert texts(files) == ["third a", "third b"]
    previous = [path.read_text().split()[-2:] for path in files.previous()]
    assert previous == [["second", "a"], ["second", "b"]]
    assert len(list(files.path.parent.iterdir())) == 4


def test_a_log_that_cannot_be_written_stops_nothing_and_goes_on_when_it_can(files: LogFiles, open_log: OpenLog) -> None:
    files.path.parent.write_text("a file where the folder should be")
    writer = open_log(files)
    writer.feed("stdout", b"lost\n")
    files.path.parent.unlink()
    writer.feed("stdout", b"kept\n")
    assert list(read_log(files, LogQuery(), grows=lambda: False)) == [
        LogLine("stdout", "kept", timestamp=files.path.read_text()[:27])
    ]
