"""SQL for steps that a SQLite file holds as something else than integers: see `headrace.contract.steps`.

The tables have no index for them, so they are read in parts of PART rows, each in a short transaction.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from headrace.contract.steps import integer
from headrace.db.sql import Sql
from headrace.db.upkeep.health import number

if TYPE_CHECKING:
    from headrace.db.base import Tx

PART: Final = 100_000  # rows, which take 8 ms of CPU to examine (2026-11-29)


class Table(NamedTuple):
    """A table with steps, and its columns."""

    name: str
    step: str
    timestamp: str
    run_id: str


TABLES: Final = (
    Table("metrics", "step", "timestamp", "run_uuid"),
    Table("latest_metrics", "step", "timestamp", "run_uuid"),
    Table("logged_model_metrics", "metric_step", "metric_timestamp_ms", "run_id"),
)
LAST_ROW: Final = {t.name: Sql(sqlite=f"SELECT max(rowid) FROM {t.name}") for t in TABLES}
_PART_WHERE: Final = "rowid > $1 AND rowid <= $2"
_WRONG: Final = "(typeof({step}) <> 'integer' OR typeof({timestamp}) <> 'integer')"


def _statement(text: str) -> dict[str, Sql]:
    return {
        t.name: Sql(
            sqlite=text.format(
                table=t.name,
                step=t.step,
                timestamp=t.timestamp,
                run_id=t.run_id,
                where=f"{_PART_WHERE} AND {_WRONG.format(step=t.step, timestamp=t.timestamp)}",
            )
        )
        for t in TABLES
    }


COUNT: Final = _statement("SELECT count(*) FROM {table} WHERE {where}")
FIND: Final = _statement("SELECT rowid, {step}, {timestamp}, {run_id} FROM {table} WHERE {where}")
# A point that exists with the integer already is the same point: it is replaced.
SET: Final = _statement(
    "UPDATE OR REPLACE {table} SET {step} = $2, {timestamp} = $3 WHERE rowid = $1"
)


def tables(dialect: str) -> tuple[Table, ...]:
    """Return the tables that may hold such steps: none on PostgreSQL, whose columns have types."""
    return TABLES if dialect == "sqlite" else ()


async def last_row(tx: Tx, table: Table) -> int:
    """Return the highest row number of a table, 0 if it is empty or missing."""
    return await number(tx, LAST_ROW[table.name]) if tx.schema.has(table.name) else 0


async def count(tx: Tx, table: Table, after: int) -> int:
    """Return the number of rows with a wrong step among PART rows."""
    row = await tx.fetchrow(COUNT[table.name], after, after + PART)
    return int(row[0]) if row else 0


async def repair(tx: Tx, table: Table, after: int) -> tuple[int, set[str]]:
    """Correct the steps among PART rows; return their number and the runs they belong to."""
    found = await tx.fetch(FIND[table.name], after, after + PART)
    rows = [(row[0], integer(row[1]), integer(row[2])) for row in found]
    if rows:
        await tx.executemany(SET[table.name], rows)
    return len(rows), {row[3] for row in found if row[3]}
