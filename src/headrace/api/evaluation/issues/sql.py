"""SQL for issues, in the shape that the table has up to MLflow 3.17."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from headrace.api.results import NotNative
from headrace.db.sql import Sql

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from headrace.db.base import Row, Schema, Tx


class IssueRow(NamedTuple):
    """A row of `issues`. Times are milliseconds since the epoch; causes and categories are JSON."""

    issue_id: str
    experiment_id: int
    name: str
    description: str
    status: str
    severity: str | None
    root_causes: str | None
    source_run_id: str | None
    categories: str | None
    created_timestamp: int
    last_updated_timestamp: int
    created_by: str | None


_COLUMNS: Final = ", ".join(IssueRow._fields)
_NUMBERED: Final = ", ".join(f"${n}" for n in range(1, len(IssueRow._fields) + 1))
BY_ID = Sql(f"SELECT {_COLUMNS} FROM issues WHERE issue_id = $1")
BY_IDS = Sql(f"SELECT {_COLUMNS} FROM issues WHERE issue_id {{in $1 text}}")
INSERT = Sql(f"INSERT INTO issues ({_COLUMNS}) VALUES ({_NUMBERED})")
UPDATE = Sql(  # null keeps the value of a column
    "UPDATE issues SET name = coalesce($2, name), description = coalesce($3, description),"
    " status = coalesce($4, status), severity = coalesce($5, severity), last_updated_timestamp = $6"
    " WHERE issue_id = $1"
)
STAGE = Sql("SELECT lifecycle_stage FROM experiments WHERE experiment_id = $1")
TRACE_COUNTS = Sql(
    "SELECT name, count(DISTINCT trace_id) FROM assessments"
    " WHERE assessment_type = 'issue' AND name {in $1 text} GROUP BY name"
)
WEIGHTS = Sql(
    "SELECT issue_id, {bytes name} + {bytes description} + coalesce({bytes root_causes}, 0)"
    " + coalesce({bytes categories}, 0) FROM issues WHERE issue_id {in $1 text}"
)


def check_served(schema: Schema) -> None:
    """Leave the request to stock MLflow if the table has another shape (before 3.11, after 3.17)."""
    is_older = not schema.has("issues", "categories")
    if is_older or schema.has("issues", "last_seen_timestamp"):
        raise NotNative


async def is_active(tx: Tx, experiment_id: int) -> bool:
    """Whether the experiment exists and is not deleted."""
    row = await tx.fetchrow(STAGE, experiment_id)
    return row is not None and row[0] == "active"


async def by_id(tx: Tx, issue_id: str) -> IssueRow | None:
    """Return an issue."""
    row = await tx.fetchrow(BY_ID, issue_id)
    return None if row is None else IssueRow(*row)


async def read(tx: Tx, ids: Sequence[str]) -> list[Row]:
    """Return the issues with these ids that exist, in this order."""
    rows = {row[0]: row for row in await tx.fetch(BY_IDS, tx.array(ids))}
    return [rows[id_] for id_ in ids if id_ in rows]


async def read_counted(tx: Tx, ids: Sequence[str]) -> list[Row]:
    """As `read`, each with the number of the traces that it was found in."""
    found = await tx.fetch(TRACE_COUNTS, tx.array(ids))
    counts = {row[0]: row[1] for row in found}
    return [(*row, counts.get(row[0], 0)) for row in await read(tx, ids)]


async def weigh(tx: Tx, ids: Sequence[str]) -> Mapping[str, int]:
    """Return the number of bytes of each issue."""
    return {id_: int(size) for id_, size in await tx.fetch(WEIGHTS, tx.array(ids))}
