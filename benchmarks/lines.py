"""Line charts as SVG, for light and dark pages; both axes are logarithmic."""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Final

from benchmarks.charts import COLOURS, STYLE, short

if TYPE_CHECKING:
    from collections.abc import Sequence

WIDTH: Final = 760
COLUMNS: Final = 2
HEAD: Final = 84
PANEL: Final = 190  # height with its title and labels
MARGIN: Final = 44
PLOT: Final = 120  # height


@dataclass(frozen=True)
class Curve:
    """Points (rows, CPU-ms) of one server, in order."""

    server: str
    label: str
    points: tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class Panel:
    title: str
    curves: tuple[Curve, ...]


def _decades(values: Sequence[float]) -> tuple[int, int]:
    """The powers of ten around the values."""
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    return low, max(high, low + 1)


def _power(exponent: int) -> str:
    return f"{10.0**exponent:,.0f}" if exponent >= 0 else f"{10.0**exponent:g}"


def _panel(panel: Panel, left: float, top: float, width: float) -> list[str]:
    rows = [x for curve in panel.curves for x, _ in curve.points]
    costs = [y for curve in panel.curves for _, y in curve.points]
    (x0, x1), (y0, y1) = _decades(rows), _decades(costs)
    plot = width - MARGIN - 40

    def place(x: float, y: float) -> tuple[float, float]:
        across = (math.log10(x) - x0) / (x1 - x0)
        up = (math.log10(y) - y0) / (y1 - y0)
        return left + MARGIN + plot * across, top + 24 + PLOT * (1 - up)

    parts = [f'<text class="g" x="{left + 6:.0f}" y="{top + 12:.0f}">{escape(panel.title)}</text>']
    for exponent in range(y0, y1 + 1):
        x, y = place(10.0**x0, 10.0**exponent)
        parts.append(
            f'<path d="M{x:.1f} {y:.1f}h{plot:.1f}" stroke="#8886" fill="none"/>'
            f'<text class="s" x="{x - 6:.1f}" y="{y + 4:.1f}" text-anchor="end">{_power(exponent)}</text>'
        )
    for exponent in range(x0, x1 + 1):
        x, y = place(10.0**exponent, 10.0**y0)
        parts.append(
            f'<text class="s" x="{x:.1f}" y="{y + 16:.1f}" text-anchor="middle">{_power(exponent)}</text>'
        )
    for curve in panel.curves:
        colour = COLOURS[curve.server]
        places = [place(*point) for point in curve.points]
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
        parts.append(f'<path d="M{path}" stroke="{colour}" stroke-width="2" fill="none"/>')
        for (x, y), (n, cost) in zip(places, curve.points, strict=True):
            told = f"{curve.label}: {short(cost)} ms at {n:,} rows"
            parts.append(
                f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"><title>{escape(told)}</title></circle>'
            )
        x, y = places[-1]
        last = short(curve.points[-1][1])
        parts.append(f'<text class="s" x="{x + 5:.1f}" y="{y - 5:.1f}">{last}</text>')
    return parts


def _legend(panels: Sequence[Panel]) -> list[str]:
    labels = {curve.server: curve.label for panel in panels for curve in panel.curves}
    parts = []
    for number, (server, label) in enumerate(labels.items()):
        x = 10 + 150 * number
        parts.append(
            f'<path d="M{x} 60h22" stroke="{COLOURS[server]}" stroke-width="3"/>'
            f'<text x="{x + 28}" y="64">{escape(label)}</text>'
        )
    return parts


def line_charts(title: str, subtitle: str, panels: Sequence[Panel]) -> str:
    """Panels in two columns. The same data gives the same bytes."""
    width = WIDTH / COLUMNS
    parts = _legend(panels)
    for number, panel in enumerate(panels):
        row, column = divmod(number, COLUMNS)
        parts += _panel(panel, column * width, HEAD + row * PANEL, width)
    height = HEAD + PANEL * math.ceil(len(panels) / COLUMNS)
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}"'
            f' viewBox="0 0 {WIDTH} {height}" role="img">',
            f"<title>{escape(title)}</title>",
            f"<style>{STYLE}</style>",
            f'<text class="t" x="10" y="22">{escape(title)}</text>',
            f'<text class="s" x="10" y="42">{escape(subtitle)}</text>',
            *parts,
            "</svg>",
            "",
        ]
    )
