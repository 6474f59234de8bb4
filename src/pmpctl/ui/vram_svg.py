"""The bar of a fit as a picture for documents: one file without fonts, scripts or links, readable by screen readers."""

from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from pmpctl.ui.svg import MARGIN, WIDTH, heading, picture, text
from pmpctl.ui.vram_bar import MISSING, Segment, bar_of

if TYPE_CHECKING:
    from pmpctl.operations.fit import Assessment

BAR_TOP, BAR_HEIGHT = 76, 44
LEGEND_TOP, LEGEND_ROW = 156, 24
VERDICT_FILLS = {"fits": "#2e7d32", "tight": "#b26a00", "does not fit": "#c62828"}


def chart(found: "Assessment") -> str:
    bar = bar_of(found)
    scale = (WIDTH - 2 * MARGIN) / max(bar.total_gib, bar.budget_gib)
    height = LEGEND_TOP + LEGEND_ROW * -(-len(bar.segments) // 2) + 12
    name = f"{found.profile} on {found.card.name}"
    told = "; ".join(f"{segment.name} {segment.gib:.2f} GiB" for segment in bar.segments)
    lines = [
        *heading(name, f"{found.model}, {found.settings.max_model_len:,} tokens"),
        text(WIDTH - MARGIN, 32, found.verdict, size=18, bold=True, anchor="end", fill=VERDICT_FILLS[found.verdict]),
    ]
    left = float(MARGIN)
    for segment in bar.segments:
        lines.append(_box(left, BAR_TOP, segment.gib * scale, BAR_HEIGHT, segment))
        left += segment.gib * scale
    edge = MARGIN + bar.budget_gib * scale
    lines.append(
        f'<line x1="{edge:.1f}" x2="{edge:.1f}" y1="{BAR_TOP - 6}" y2="{BAR_TOP + BAR_HEIGHT + 6}" '
        'stroke="#222222" stroke-width="2"/>'
    )
    lines.append(
        text(
            edge,
            BAR_TOP + BAR_HEIGHT + 22,
            f"budget {bar.budget_gib:.2f} GiB",
            anchor="end" if edge > WIDTH / 3 else "start",
        )
    )
    for index, segment in enumerate(bar.segments):
        x = MARGIN + index % 2 * (WIDTH - 2 * MARGIN) / 2
        y = LEGEND_TOP + index // 2 * LEGEND_ROW
        lines.append(_box(x, y, 14, 14, segment))
        lines.append(text(x + 22, y + 12, f"{segment.name}  {segment.gib:.2f} GiB"))
    return picture(height, f"{name}: {found.verdict}", f"Of a budget of {bar.budget_gib:.2f} GiB: {told}.", lines)


def _box(x: float, y: float, width: float, height: float, segment: Segment) -> str:
    border = ' stroke="#7f0000" stroke-dasharray="4 2"' if segment.look is MISSING else ' stroke="#ffffff"'
    label = escape(f"{segment.name} {segment.gib:.2f} GiB")
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{segment.look.fill}"{border}>'
        f"<title>{label}</title></rect>"
    )
