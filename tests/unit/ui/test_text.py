import pytest

from pmpctl.ui.text import human_bytes, human_seconds, table


@pytest.mark.parametrize(
    ("count_bytes", "words"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (5 * 1024**2 // 2, "2.5 MiB"),
        (24 * 1024**3, "24.0 GiB"),
        (3 * 1024**4, "3.0 TiB"),
        (5000 * 1024**4, "5000.0 TiB"),
    ],
)
def test_sizes_read_in_binary_units(count_bytes: int, words: str) -> None:
    assert human_bytes(count_bytes) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.04, "0.0 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.6, "1 min 00 s"),
        (185, "3 min 05 s"),
        (2 * 3600 + 600, "2 h 10 min"),
        (4 * 86400 + 3 * 3600 + 59 * 60, "4 d 3 h"),
    ],
)
def test_durations_read_in_the_two_largest_units(seconds: float, words: str) -> None:
    assert human_seconds(seconds) == words


def test_a_table_is_aligned_and_has_no_trailing_blanks() -> None:
    assert table(["NAME", "PORT", "NOTE"], [["coding", 8000, ""], ["x", 1, "long note"]]) == [
        "NAME    PORT  NOTE",
        "coding  8000",
        "x       1     long note",
    ]


def test_a_table_without_rows_shows_its_header() -> None:
    assert table(["NAME", "PORT"], []) == ["NAME  PORT"]


def test_the_last_column_wraps_inside_the_width() -> None:
    lines = table(["NAME", "NOTE"], [["coding", "word " * 12]], width=40)

    assert all(len(line) <= 40 for line in lines)
    assert [line[:8] for line in lines[1:]] == ["coding  ", "        "]
