"""A progress bar with the remaining time on a terminal; otherwise, lines."""

from __future__ import annotations

import sys
import time
from typing import TextIO

WIDTH = 30


def clock(seconds: float) -> str:
    whole = max(0, round(seconds))
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"


class Progress:
    """Steps have weights, their expected seconds.

    The remaining time is the remaining weight at the speed of the steps so far.
    """

    def __init__(self, weight: float, out: TextIO = sys.stderr) -> None:
        self._total = max(weight, 1e-9)
        self._done = 0.0
        self._current = 0.0
        self._began = time.monotonic()
        self._out = out
        self._terminal = out.isatty()

    def left_s(self, now: float) -> float:
        left = self._total - self._done
        speed = (now - self._began) / self._done if self._done else 1.0
        return left * speed

    def step(self, label: str, weight: float) -> None:
        """Finish the previous step and begin this one."""
        self._done = min(self._total, self._done + self._current)
        self._current = weight
        self._show(label)

    def finish(self) -> None:
        self._done = self._total
        self._show("done")
        if self._terminal:
            self._out.write("\n")

    def _show(self, label: str) -> None:
        share = self._done / self._total
        filled = round(share * WIDTH)
        bar = "#" * filled + "-" * (WIDTH - filled)
        text = f"[{bar}] {share:4.0%}  {clock(self.left_s(time.monotonic()))} left  {label}"
        self._out.write(f"\r\x1b[2K{text[:150]}" if self._terminal else f"{text}\n")
        self._out.flush()
