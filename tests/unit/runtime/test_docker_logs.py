import pytest

from pmpctl.runtime.docker_logs import Frame, read_frames, read_lines


def frame(stream: int, content: bytes) -> bytes:
    return bytes([stream, 0, 0, 0]) + len(content).to_bytes(4, "big") + content


@pytest.mark.parametrize("chunk_bytes", [1, 7, 8, 9, 1000])
def test_frames_are_read_however_the_stream_is_cut(chunk_bytes: int) -> None:
    raw = frame(1, b"to stdout\n") + frame(2, b"to stderr\n") + frame(1, b"") + frame(1, b"more\n")
    chunks = [raw[start : start + chunk_bytes] for start in range(0, len(raw), chunk_bytes)]
    assert list(read_frames(chunks)) == [
        Frame("stdout", b"to stdout\n"),
        Frame("stderr", b"to stderr\n"),
        Frame("stdout", b""),
        Frame("stdout", b"more\n"),
    ]


def test_a_frame_that_is_cut_off_is_left_out() -> None:
    assert list(read_frames([frame(1, b"whole\n"), frame(1, b"cut off")[:-2]])) == [Frame("stdout", b"whole\n")]


def test_a_line_carries_its_stream_and_time() -> None:
    (line,) = read_lines([Frame("stderr", b"2026-01-31T12:00:00.5Z Out of memory \n")])
    assert (line.stream, line.timestamp, line.text) == ("stderr", "2026-01-31T12:00:00.5Z", "Out of memory ")


def test_a_long_line_that_the_log_driver_cut_is_whole_again_even_with_the_other_stream_in_between() -> None:
    frames = [
        Frame("stdout", b"2026-01-31T12:00:00.1Z aaa"),
        Frame("stderr", b"2026-01-31T12:00:00.2Z oh\n"),
        Frame("stdout", b"2026-01-31T12:00:00.1Z bbb\n"),
    ]
    assert [(line.stream, line.text) for line in read_lines(frames)] == [("stderr", "oh"), ("stdout", "aaabbb")]


def test_bytes_that_are_no_text_do_not_end_the_log() -> None:
    (line,) = read_lines([Frame("stdout", b"2026-01-31T12:00:00Z \xff\xfe\n")])
    assert line.text == "\ufffd\ufffd"
