"""Draws the curve of a server's memory under the long load: `python -m tests.faults.memory_curve DIRECTORY`.

Draws `memory.svg` from the `memory-*.json` that tests/faults/test_steady.py left in the directory, and writes their
figures into the table of docs/endurance.md. The same files give the same bytes.
"""

from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass
from html import escape
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

DOCUMENT: Final = Path(__file__).resolve().parents[2] / "docs" / "endurance.md"
BEGIN: Final = "<!-- memory: `make endurance` writes the lines up to the end mark -->"
END: Final = "<!-- memory: end -->"
WIDTH: Final = 760
HEIGHT: Final = 260
LEFT: Final = 50
RIGHT: Final = 20
TOP: Final = 58
BOTTOM: Final = 36
POINTS: Final = 300  # of a curve: each is the median of the samples between it and the next
COLOURS: Final = {"sqlite": "#0072b2", "postgres": "#d55e00"}
NAMES: Final = {"sqlite": "SQLite", "postgres": "PostgreSQL"}
STYLE: Final = (
    "text{font:12px system-ui,sans-serif;fill:#59636e}.t{font-size:16px;font-weight:600;fill:#1f2328}"
    "line{stroke:#d1d9e0}polyline{fill:none;stroke-width:1.5}"
    "@media(prefers-color-scheme:dark){text{fill:#9198a1}.t{fill:#e6edf3}line{stroke:#3d444d}}"
)


@dataclass(frozen=True)
class Curve:
    """Resident memory of one server over time."""

    database: str
    clients: int
    left: int
    every_s: float
    kib: list[int]

    @property
    def seconds(self) -> float:
        """From the first sample to the last."""
        return self.every_s * (len(self.kib) - 1)

    def level_mib(self, begin: float, end: float) -> float:
        """The median between two shares of the time, in MiB."""
        count = len(self.kib)
        first = min(int(begin * count), count - 1)
        return median(self.kib[first : max(first + 1, int(end * count))]) / 1024

    def points(self) -> list[tuple[float, float]]:
        """(seconds, MiB), few enough to draw."""
        parts = min(POINTS, len(self.kib))
        return [
            (self.seconds * n / parts, self.level_mib(n / parts, (n + 1) / parts))
            for n in range(parts)
        ]


def read(directory: Path) -> list[Curve]:
    """The curves of a directory, SQLite's first."""
    files = sorted(directory.glob("memory-*.json"), reverse=True)
    return [Curve(**json.loads(file.read_text())) for file in files]


def length(seconds: float) -> str:
    """A time in words."""
    minutes = round(seconds / 60)
    return "1 hour" if minutes == 60 else f"{minutes} minutes"


def svg(curves: Sequence[Curve]) -> str:
    """One line per database, with an axis from zero, so that slopes are not exaggerated."""
    longest_s = max(curve.seconds for curve in curves)
    highest = 10 * (1 + int(max(max(curve.kib) for curve in curves) / 1024 / 10))
    room_x, room_y = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def x(seconds: float) -> float:
        return LEFT + room_x * seconds / longest_s

    def y(mib: float) -> float:
        return TOP + room_y * (1 - mib / highest)

    title = f"Resident memory under mixed load for {length(longest_s)}, MiB"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}"'
        f' viewBox="0 0 {WIDTH} {HEIGHT}" role="img">',
        f"<title>{escape(title)}</title>",
        f"<style>{STYLE}</style>",
        f'<text class="t" x="10" y="22">{escape(title)}</text>',
    ]
    for mib in range(0, highest + 1, max(10, highest // 5 // 10 * 10)):
        parts.append(
            f'<line x1="{LEFT}" y1="{y(mib):.1f}" x2="{WIDTH - RIGHT}" y2="{y(mib):.1f}"/>'
        )
        parts.append(f'<text x="{LEFT - 8}" y="{y(mib) + 4:.1f}" text-anchor="end">{mib}</text>')
    for share in range(5):
        text = f"{round(longest_s / 60 * share / 4, 1):g} min"
        parts.append(
            f'<text x="{x(longest_s * share / 4):.1f}" y="{HEIGHT - 12}" text-anchor="middle">{text}</text>'
        )
    for place, curve in enumerate(curves):
        colour = COLOURS[curve.database]
        line = " ".join(f"{x(s):.1f},{y(mib):.1f}" for s, mib in curve.points())
        parts.append(f'<polyline stroke="{colour}" points="{line}"/>')
        parts.append(
            f'<text x="{LEFT + 110 * place}" y="44" style="fill:{colour}">{NAMES[curve.database]}</text>'
        )
    return "\n".join([*parts, "</svg>", ""])


def table(curves: Sequence[Curve]) -> str:
    """The figures, as Markdown."""
    lines = [
        "| database | time | clients at work | clients that left in the middle | first tenth | last tenth | highest |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for curve in curves:
        lines.append(
            f"| {NAMES[curve.database]} | {length(curve.seconds)} | {curve.clients} | {curve.left:,}"
            f" | {curve.level_mib(0, 0.1):.1f} MiB | {curve.level_mib(0.9, 1):.1f} MiB"
            f" | {max(curve.kib) / 1024:.1f} MiB |"
        )
    return "\n".join(lines)


def with_table(document: str, curves: Sequence[Curve]) -> str:
    """The document with the table of these curves between its marks."""
    between = re.compile(f"{re.escape(BEGIN)}.*?{re.escape(END)}", re.DOTALL)
    assert between.search(document), f"the document has no line {BEGIN}"
    return between.sub(lambda _: f"{BEGIN}\n\n{table(curves)}\n\n{END}", document)


def main() -> None:
    directory = Path(sys.argv[1])
    curves = read(directory)
    (directory / "memory.svg").write_text(svg(curves))
    DOCUMENT.write_text(with_table(DOCUMENT.read_text(), curves))


if __name__ == "__main__":
    main()
