"""Bar charts as SVG, for light and dark pages; the same data gives the same bytes."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

WIDTH: Final = 760
LABEL_WIDTH: Final = 150
VALUE_WIDTH: Final = 210
BAR: Final = 16
GAP: Final = 4
GROUP_GAP: Final = 14
HEAD: Final = 58

# One colour per server in all charts, from Okabe and Ito's palette for colour-blind readers.
COLOURS: Final = {
    "headrace": "#0072b2",
    "mlflow": "#d55e00",
    "mlflow-go": "#009e73",
    "fasttrackml": "#cc79a7",
    "null": "#999999",
    "probe": "#777777",
}
STYLE: Final = (
    "text{font:13px system-ui,sans-serif;fill:#1f2328}.t{font-size:16px;font-weight:600}"
    ".s{fill:#59636e;font-size:12px}.g{font-weight:600}"
    "@media(prefers-color-scheme:dark){text{fill:#e6edf3}.s{fill:#9198a1}}"
)


@dataclass(frozen=True)
class Measure:
    """If `value` is None, only `text` is drawn (failed, not measured)."""

    server: str
    label: str
    value: float | None
    text: str


@dataclass(frozen=True)
class Group:
    title: str
    bars: tuple[Measure, ...]


def short(value: float) -> str:
    """Three significant digits, with commas between thousands."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _bar(bar: Measure, y: int, largest: float) -> list[str]:
    """Label, bar and value of one line."""
    room = WIDTH - LABEL_WIDTH - VALUE_WIDTH
    length = max(room * bar.value / largest, 1) if bar.value else 1
    colour = COLOURS.get(bar.server, "#56b4e9")
    middle = y + BAR - 3
    return [
        f'<text x="{LABEL_WIDTH - 8}" y="{middle}" text-anchor="end">{escape(bar.label)}</text>',
        f'<rect x="{LABEL_WIDTH}" y="{y}" width="{length:.1f}" height="{BAR}" rx="2"'
        f' fill="{colour}"/>',
        f'<text x="{LABEL_WIDTH + length + 6:.1f}" y="{middle}">{escape(bar.text)}</text>',
    ]


def bar_chart(title: str, subtitle: str, groups: Sequence[Group]) -> str:
    """Horizontal bars in groups; within a group, lengths are in proportion to the values."""
    parts: list[str] = []
    y = HEAD
    for group in groups:
        if group.title:
            parts.append(f'<text class="g" x="10" y="{y + 12}">{escape(group.title)}</text>')
            y += BAR + GAP
        largest = max((bar.value for bar in group.bars if bar.value), default=1.0)
        for bar in group.bars:
            parts += _bar(bar, y, largest)
            y += BAR + GAP
        y += GROUP_GAP
    note = subtitle + (" · each group has its own scale" if len(groups) > 1 else "")
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y}"'
            f' viewBox="0 0 {WIDTH} {y}" role="img">',
            f"<title>{escape(title)}</title>",
            f"<style>{STYLE}</style>",
            f'<text class="t" x="10" y="22">{escape(title)}</text>',
            f'<text class="s" x="10" y="42">{escape(note)}</text>',
            *parts,
            "</svg>",
            "",
        ]
    )
