"""How people say a point in time: a span from now, such as `90s`, `10m`, `2h`, `3d` or `4w`, or a date and time.

What has no zone is meant in the zone of this machine.
"""

import re
import time
from datetime import UTC, datetime, timedelta
from datetime import time as time_of_day

from pmpctl.errors import UsageError

_SPAN = re.compile(r"(?P<count>[0-9]+)(?P<unit>[smhdw])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def parse_since(text: str) -> float:
    """Seconds since the epoch; a span lies that long ago. Raises UsageError."""
    if match := _SPAN.fullmatch(text):
        return time.time() - _span_seconds(match)
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError) as error:
        raise UsageError(
            f"--since {text!r} is no point in time", cure="Write 90s, 10m, 2h or 3d, or 2026-01-31T12:00:00."
        ) from error


def parse_expires(text: str) -> datetime:
    """A moment yet to come, in whole seconds of UTC; a date alone is the end of that day. Raises UsageError."""
    try:
        if match := _SPAN.fullmatch(text):
            moment = datetime.now(UTC) + timedelta(seconds=_span_seconds(match))
        elif _DATE.fullmatch(text):
            moment = datetime.combine(datetime.fromisoformat(text), time_of_day(23, 59, 59)).astimezone(UTC)
        else:
            moment = datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise UsageError(
            f"--expires {text!r} is no point in time", cure="Write 12h, 30d or 4w, or 2026-12-31, or 2026-12-31T18:00."
        ) from error
    if moment <= datetime.now(UTC):
        raise UsageError(f"--expires {text!r} is over already", cure="Give a time that is yet to come.")
    return moment.replace(microsecond=0)


def _span_seconds(match: re.Match[str]) -> int:
    return int(match["count"]) * _SECONDS[match["unit"]]
