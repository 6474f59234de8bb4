"""How people say a point in time: `90s`, `10m`, `2h`, `3d` ago, or a date and time."""

import datetime
import re
import time

from pmpctl.errors import UsageError

_AGO = re.compile(r"^(?P<count>\d+)(?P<unit>[smhd])$")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def parse_since(text: str) -> float:
    """Seconds since the epoch; a date and time without a zone is local time. Raises UsageError."""
    if match := _AGO.match(text):
        return time.time() - int(match["count"]) * _SECONDS[match["unit"]]
    try:
        return datetime.datetime.fromisoformat(text).timestamp()
    except ValueError as error:
        raise UsageError(
            f"--since {text!r} is no point in time", cure="Write 90s, 10m, 2h or 3d, or 2026-01-31T12:00:00."
        ) from error
