"""A history of SQLite as the text of its JSON, which SQLite writes: docs/decisions/histories.md.

Python's sqlite3 makes objects of each row, and takes the interpreter's lock for it. One text is
fetched without either, while other threads run.
"""

from __future__ import annotations

import random
import sqlite3
import struct
from contextlib import closing
from functools import cache
from typing import TYPE_CHECKING, Final

from headrace.api.tracking.metrics.sql import ANY_STEP
from headrace.db.sql import Sql

if TYPE_CHECKING:
    from headrace.db.base import Database, Tx

# Beyond it, SQLite before 3.43 loses the last digit of some numbers.
LARGEST: Final = 1e100
# One row: the number of points, their JSON, and the extremes that show whether all are numbers: a
# text is greater than every number, and a blob than every text. $4 is between two points. 17 digits
# are enough for every double. `%d` and `%g` are several times as fast as `quote`.
TEXT: Final = Sql(
    sqlite="SELECT count(*), group_concat(CASE WHEN is_nan THEN"
    ' printf(\'"NaN","timestamp":%d,"step":%d\', timestamp, step)'
    ' ELSE printf(\'%!.17g,"timestamp":%d,"step":%d\', value, timestamp, step) END, $4),'
    " min(value), max(value), max(timestamp), max(step) FROM ("
    f"SELECT value, timestamp, step, is_nan FROM metrics WHERE run_uuid = $1 AND key = $2 AND {ANY_STEP}"
    " ORDER BY timestamp, step, value, is_nan LIMIT $3)"
)
TRIED: Final = 2_000  # doubles


@cache
def writes_exactly() -> bool:
    """Whether this SQLite library writes doubles so that the same doubles are read back.

    It computes with C's `long double`, which is not more precise than `double` on every platform.
    """
    bits = random.Random(1)
    values = [LARGEST, -LARGEST, 5e-324, 0.1]
    values += [struct.unpack("d", bits.randbytes(8))[0] for _ in range(TRIED)]
    with closing(sqlite3.connect(":memory:")) as memory:
        return all(
            float(memory.execute("SELECT printf('%!.17g', ?)", (value,)).fetchone()[0]) == value
            for value in values
            if abs(value) <= LARGEST
        )


def is_possible(db: Database) -> bool:
    """Whether the database may be asked for `points`."""
    return db.dialect == "sqlite" and writes_exactly()


async def points(tx: Tx, run_id: str, key: str, limit: int, begin: str) -> str | None:
    """Return the points of a history, in order and separated by commas; each begins with `begin`.

    None: there are none, or more than `limit`, or something that SQLite does not write as JSON: a
    text, a blob, or a number beyond LARGEST, as which MLflow stores an infinity.
    """
    rows = await tx.fetch(TEXT, run_id, key, limit + 1, "}," + begin)
    ((count, text, least, *greatest),) = rows
    if not 0 < count <= limit:
        return None
    if not all(isinstance(one, int | float) for one in (least, *greatest)):
        return None
    if least < -LARGEST or greatest[0] > LARGEST:
        return None
    return f"{begin}{text}}}"
