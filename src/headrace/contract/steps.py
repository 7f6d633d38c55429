"""Steps that a SQLite file does not hold as integers.

SQLite stores any value in any column. Clients of MLflow, and headrace 0.1, wrote a numpy integer as a blob of
its bytes, a fraction as a real number and any other text as text. `headrace db repair-steps` replaces them.
"""

from __future__ import annotations

import math
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from headrace.contract.scalars import INT64_MAX, INT64_MIN

if TYPE_CHECKING:
    from headrace.db.base import Row


def integer(step: Any) -> int:
    """Return a stored step, or the integer that it stands for."""
    return step if step.__class__ is int else _meant(step)


def with_integers(rows: list[Row], column: int) -> list[Row]:
    """Return rows whose steps are integers; `column` is the position of the step."""
    if {*map(type, map(itemgetter(column), rows))} <= {int}:
        return rows
    return [(*row[:column], integer(row[column]), *row[column + 1 :]) for row in map(tuple, rows)]


def _meant(step: Any) -> int:
    """Return the integer for a step of another type; 0 for a text that is no number."""
    if isinstance(step, bytes):  # numpy's integers have 1 to 8 bytes
        return int.from_bytes(step[:8], "little", signed=True)
    try:
        number = float(step)
    except (TypeError, ValueError):
        return 0
    return min(max(int(number), INT64_MIN), INT64_MAX) if math.isfinite(number) else 0
