import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from pmpctl.cli.times import parse_expires, parse_since
from pmpctl.errors import UsageError


@pytest.fixture
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The time zone of this process, as `TZ` in a shell sets it."""
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("90s", timedelta(seconds=90)),
        ("10m", timedelta(minutes=10)),
        ("12h", timedelta(hours=12)),
        ("30d", timedelta(days=30)),
        ("4w", timedelta(weeks=4)),
    ],
)
def test_a_span_counts_from_now(text: str, span: timedelta) -> None:
    now = datetime.now(UTC)
    # Ends are whole seconds.
    assert now + span - timedelta(seconds=1) <= parse_expires(text) <= datetime.now(UTC) + span
    assert now - span <= datetime.fromtimestamp(parse_since(text), UTC) <= datetime.now(UTC) - span


@pytest.mark.parametrize(
    ("zone", "expected"),
    [
        ("UTC", "2100-06-30T23:59:59+00:00"),
        ("Europe/Berlin", "2100-06-30T21:59:59+00:00"),
        ("America/New_York", "2100-07-01T03:59:59+00:00"),
    ],
    indirect=["zone"],
)
@pytest.mark.usefixtures("zone")
def test_a_date_is_the_end_of_that_day_here(expected: str) -> None:
    assert parse_expires("2100-06-30").isoformat() == expected


@pytest.mark.parametrize("zone", ["Europe/Berlin"], indirect=True)
@pytest.mark.usefixtures("zone")
def test_a_time_without_a_zone_is_meant_here_and_one_with_a_zone_there() -> None:
    assert parse_expires("2100-06-30T12:00").isoformat() == "2100-06-30T10:00:00+00:00"
    assert parse_expires("2100-06-30T12:00Z").isoformat() == "2100-06-30T12:00:00+00:00"
    assert parse_expires("2100-06-30T12:00:00.9+05:00").isoformat() == "2100-06-30T07:00:00+00:00"
    assert parse_since("2026-06-30T12:00") == datetime(2026, 6, 30, 10, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    "text", ["soon", "", "30", "30y", "-1d", " 1d", "1d\n", "٣d", "2100-02-30", "99999999d", "9" * 50 + "d", "9" * 5000]
)
def test_what_is_no_time_is_refused_with_examples(text: str) -> None:
    with pytest.raises(UsageError, match="no point in time") as caught:
        parse_expires(text)
    assert "30d" in caught.value.cure
    if "9" not in text:
        with pytest.raises(UsageError, match="no point in time"):
            parse_since(text)


@pytest.mark.parametrize("text", ["0d", "2020-01-01", "2020-01-01T00:00:00Z", "0001-01-02"])
def test_an_end_that_is_over_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="over already"):
        parse_expires(text)
