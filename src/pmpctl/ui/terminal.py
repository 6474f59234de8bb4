"""Where text goes: one stream, its colours, and the redactor in front of it."""

import os
import re
import shutil
from collections.abc import Sequence
from typing import TextIO

from pmpctl.ui.redact import Redactor
from pmpctl.ui.text import table

_STYLES = {
    "error": "1;31",
    "warning": "33",
    "cure": "36",
    "good": "32",
    "heading": "1",
    "faint": "2",
    "blue": "34",
    "magenta": "35",
    "cyan": "36",
    "yellow": "33",
    "green": "32",
    "red": "31",
}
# Text from engines and the network must not move the cursor, retitle the window or write to the clipboard.
_CONTROL = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"  # control sequences, such as colours and cursor moves
    r"|(?:\x1b[\]PX^_]|[\x9d\x90])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"  # strings for the terminal, such as its title
    r"|\x1b.?|[\x00-\x08\x0b-\x1f\x7f-\x9f]"
)


class Writer:
    """Prints lines to one stream; whatever passes is redacted and freed of control characters."""

    def __init__(self, stream: TextIO, redactor: Redactor, color: bool | None = None) -> None:
        self.stream = stream
        self.is_terminal = stream.isatty() and os.environ.get("TERM") != "dumb"
        self.color = self.is_terminal and not os.environ.get("NO_COLOR") if color is None else color
        self._redactor = redactor

    @property
    def width(self) -> int | None:
        """Columns of the terminal; None where there is none."""
        return shutil.get_terminal_size().columns if self.is_terminal else None

    @property
    def has_blocks(self) -> bool:
        """Whether block characters can be shown: on a terminal whose encoding has them."""
        return self.is_terminal and (getattr(self.stream, "encoding", None) or "").lower().startswith("utf")

    def clean(self, text: str) -> str:
        # In this order: a colour in the middle of a secret must not hide it.
        return self._redactor.text(text if text.isprintable() else _CONTROL.sub("", text))

    def line(self, text: str = "", style: str | None = None) -> None:
        """One line, or several, in a style or plain."""
        self.pieces([(text, style)])

    def pieces(self, pieces: Sequence[tuple[str, str | None]]) -> None:
        """One line of pieces, each with a style of its own."""
        self.raw("".join(self._styled(self.clean(text), style) for text, style in pieces))

    def _styled(self, text: str, style: str | None) -> str:
        return f"\x1b[{_STYLES[style]}m{text}\x1b[0m" if style and self.color else text

    def labelled(self, label: str, text: str, style: str) -> None:
        """`label: text` with the label alone in colour."""
        label = f"\x1b[{_STYLES[style]}m{label}:\x1b[0m" if self.color else f"{label}:"
        self.raw(f"{label} {self.clean(text)}")

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        cells = [[self.clean(str(cell)) for cell in row] for row in rows]
        header, *lines = table(columns, cells, self.width)
        self.line(header, "heading")
        for text in lines:
            self.line(text)

    def raw(self, text: str) -> None:
        """Write what is already clean."""
        self.stream.write(f"{text}\n")
        self.stream.flush()
