"""Numbers of things in messages for people."""

from __future__ import annotations


def counted(count: int, noun: str, plural: str = "") -> str:
    """Return a number with its noun: `1 run`, `1,000 runs`. `plural`: if it does not end in s."""
    return f"{count:,} {noun if count == 1 else plural or f'{noun}s'}"
