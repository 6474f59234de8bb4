"""What pictures for documents have in common: one file without fonts, scripts or links, readable by screen readers.

The ground is always white, so that they are legible on a dark page, too.
"""

from collections.abc import Iterable
from typing import Literal
from xml.sax.saxutils import escape, quoteattr

WIDTH, MARGIN = 760, 24
FONT = "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif"


def picture(height: int, title: str, description: str, elements: Iterable[str]) -> str:
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        f'role="img" aria-labelledby="title description" font-family={quoteattr(FONT)} font-size="14">',
        f'<title id="title">{escape(title)}</title>',
        f'<desc id="description">{escape(description)}</desc>',
        f'<rect width="{WIDTH}" height="{height}" rx="6" fill="#ffffff"/>',
        *elements,
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def heading(title: str, under: str) -> list[str]:
    return [text(MARGIN, 32, title, size=18, bold=True), text(MARGIN, 56, under, fill="#555555")]


def text(
    x: float,
    y: float,
    words: str,
    *,
    size: int = 14,
    bold: bool = False,
    anchor: Literal["start", "middle", "end"] = "start",
    fill: str = "#222222",
) -> str:
    weight = ' font-weight="600"' if bold else ""
    at = f' text-anchor="{anchor}"' if anchor != "start" else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{fill}"{weight}{at}>{escape(words)}</text>'
