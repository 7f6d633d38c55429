"""Checks of regular expressions, before a database compiles them."""

from __future__ import annotations

import re
from typing import Final

from headrace.contract.errors import invalid
from headrace.contract.limits import MAX_PATTERN

_PART: Final = re.compile(r"\\.|\{(\d+)(?:,(\d*))?\}|.", re.DOTALL)


def check_pattern(pattern: str, *, as_python: bool) -> None:
    """Raise INVALID_PARAMETER_VALUE for a regular expression that is too long or, `as_python`, not valid.

    PostgreSQL writes repetitions out and takes a time to compile that grows with the cube of the length:
    0.2 s for MAX_PATTERN characters at worst, of those that were measured. Nothing interrupts SQLite's.
    """
    if len(pattern) > MAX_PATTERN or written_out(pattern) > MAX_PATTERN:
        raise invalid(
            f"A regular expression has at most {MAX_PATTERN} characters, "
            "with each repetition {n} written out."
        )
    if not as_python:
        return
    try:
        re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise invalid(f"Invalid regular expression '{pattern}': {error}") from error


def written_out(pattern: str) -> int:
    """The characters of a pattern in which each repetition with a number is written out."""
    sizes = [0]  # of the groups that are open
    last = 0  # of what a repetition would repeat
    for part in _PART.finditer(pattern):
        text = part[0]
        if text == "(":
            sizes.append(0)
            last = 0
        elif text == ")" and len(sizes) > 1:
            last = sizes.pop() + 2
            sizes[-1] += last
        elif part[1]:
            more = last * (max(int(part[1]), int(part[2] or 0), 1) - 1)
            sizes[-1] += more
            last += more
        else:
            last = last + 1 if text in "?*+" else len(text)
            sizes[-1] += 1 if text in "?*+" else last
    return sum(sizes)
