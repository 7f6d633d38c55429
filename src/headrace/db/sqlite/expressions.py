"""REGEXP for SQLite, which has none: Python's regular expressions, within a limited time.

The module `re` holds the GIL and cannot be interrupted. The package `regex` understands the same
expressions, ends after a given time, and can release the GIL.
"""

from __future__ import annotations

import re
from functools import lru_cache
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

LIMIT_S: Final = 2.0  # of one read, for all texts together: about a million short ones
# So long the GIL is held for one text, no longer than by any other thread. Releasing it for each
# text would mean to wait for it a thousand times in a search.
HELD_S: Final = 0.005
CACHED_PATTERNS: Final = 64
_COUNT: Final = re.compile(r"\{(?:\d+|\d*,\d*)\}")  # which `re` reads as a number of repetitions


class Expressions:
    """The function `regexp` of one connection. `begin` starts the time of a read."""

    def __init__(self) -> None:
        self._left_s = LIMIT_S

    def begin(self) -> None:
        """Allow LIMIT_S for what follows."""
        self._left_s = LIMIT_S

    def found(self, pattern: Any, text: Any) -> bool:
        """Whether the pattern is found in the text. As in MLflow, a pattern that is not valid is not.

        Raises TimeoutError, which sqlite3 reports as the error of a function.
        """
        if not isinstance(pattern, str) or not isinstance(text, str):
            return False
        search = _compiled(pattern)
        if search is None:
            return False
        for limit_s, concurrent in ((HELD_S, False), (LIMIT_S, True)):
            began = monotonic()
            limit_s = min(limit_s, self._left_s)
            if limit_s <= 0:
                break
            try:
                return search(text, timeout=limit_s, concurrent=concurrent) is not None
            except TimeoutError:
                pass
            finally:
                self._left_s -= monotonic() - began
        raise TimeoutError


@lru_cache(CACHED_PATTERNS)
def _compiled(pattern: str) -> Any:
    """The search function of a pattern; None for one that `re` does not accept."""
    # Imported here to save start-up time: few filters have regular expressions.
    import regex

    try:
        re.compile(pattern)
        return regex.compile("".join(_as_for_re(pattern)), regex.VERSION0).search
    except (re.error, regex.error, RecursionError, OverflowError):
        return None


def _as_for_re(pattern: str) -> Iterator[str]:
    """Yield the pattern without what only `regex` interprets: `{e<=1}` and `[[:alpha:]]`."""
    at, in_set = 0, False
    while at < len(pattern):
        char = pattern[at]
        if char == "\\":
            yield pattern[at : at + 2]
            at += 2
            continue
        if in_set:
            in_set = char != "]"
            yield "\\[" if char == "[" else char
        elif char == "[":
            in_set = True
            start = at + 1 + pattern.startswith("^", at + 1)
            if pattern.startswith("]", start):  # the first one does not end the set
                yield pattern[at:start] + "\\]"
                at = start
            else:
                yield char
        elif char == "{" and not _COUNT.match(pattern, at):
            yield "\\{"
        else:
            yield char
        at += 1
