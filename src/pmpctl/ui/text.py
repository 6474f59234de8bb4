"""Words and columns for people: sizes, durations, aligned tables."""

import textwrap
from collections.abc import Sequence

_GAP = "  "
_NARROWEST_LAST_COLUMN = 24


def human_bytes(count_bytes: float) -> str:
    """`1.5 GiB`, `734.0 MiB`: binary units, one decimal, whole bytes."""
    size = float(count_bytes)
    if abs(size) < 1024:
        return f"{size:.0f} B"
    for unit in ("KiB", "MiB", "GiB"):
        size /= 1024
        if abs(size) < 1024:
            return f"{size:.1f} {unit}"
    return f"{size / 1024:.1f} TiB"


def human_seconds(seconds: float) -> str:
    """`0.4 s`, `12 s`, `3 min 05 s`, `2 h 10 min`, `4 d 3 h`."""
    if seconds < 9.95:
        return f"{max(seconds, 0):.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes:02d} min"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h"


def table(columns: Sequence[str], rows: Sequence[Sequence[object]], width: int | None = None) -> list[str]:
    """Aligned lines, the header first; with a `width` the last column wraps inside it."""
    cells = [[str(cell) for cell in row] for row in (columns, *rows)]
    widths = [max(len(row[index]) for row in cells) for index in range(len(columns))]
    indent = sum(widths[:-1]) + len(_GAP) * (len(columns) - 1)
    room = max(width - indent, _NARROWEST_LAST_COLUMN) if width else None
    lines = []
    for row in cells:
        head = "".join(cell.ljust(size) + _GAP for cell, size in zip(row[:-1], widths[:-1], strict=True))
        last = textwrap.wrap(row[-1], room) if room and len(row[-1]) > room else [row[-1]]
        lines.append(f"{head}{last[0]}".rstrip())
        lines.extend(" " * indent + more for more in last[1:])
    return lines
