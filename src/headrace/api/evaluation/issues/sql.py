"""SQL for issues, in both shapes of the table: up to MLflow 3.17, and from 3.18 on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from headrace.api.results import NotNative
from headrace.db.sql import Bulk, Sql

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from headrace.db.base import Row, Schema, Tx


class IssueRow(NamedTuple):
    """A row of `issues`. Times are milliseconds since the epoch; causes, categories and metadata are JSON.

    The last three columns exist since MLflow 3.18.
    """

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
    last_seen_timestamp: int | None = None
    last_updated_by: str | None = None
    metadata: str | None = None


class Shape(NamedTuple):
    """The statements for one shape of the table; `is_newer`: the shape of MLflow 3.18."""

    is_newer: bool
    width: int  # columns of a row
    by_id: Sql
    locked: Sql
    by_ids: Sql
    insert: Sql
    weights: Sql


def _shape(width: int, *, is_newer: bool) -> Shape:
    columns = ", ".join(IssueRow._fields[:width])
    numbered = ", ".join(f"${n}" for n in range(1, width + 1))
    select = f"SELECT {columns} FROM issues WHERE issue_id"
    metadata = " + coalesce({bytes metadata}, 0)" if is_newer else ""
    return Shape(
        is_newer,
        width,
        by_id=Sql(f"{select} = $1"),
        locked=Sql(f"{select} = $1 {{for update}}"),
        by_ids=Sql(f"{select} {{in $1 text}}"),
        insert=Sql(f"INSERT INTO issues ({columns}) VALUES ({numbered})"),
        weights=Sql(
            "SELECT issue_id, {bytes name} + {bytes description} + coalesce({bytes root_causes}, 0)"
            f" + coalesce({{bytes categories}}, 0){metadata} FROM issues WHERE issue_id {{in $1 text}}"
        ),
    )


OLDER: Final = _shape(12, is_newer=False)
NEWER: Final = _shape(15, is_newer=True)
UPDATE = Sql(  # null keeps the value of a column
    "UPDATE issues SET name = coalesce($2, name), description = coalesce($3, description),"
    " status = coalesce($4, status), severity = coalesce($5, severity), last_updated_timestamp = $6"
    " WHERE issue_id = $1"
)
REPLACE = Sql(  # of MLflow 3.18
    "UPDATE issues SET name = $2, description = $3, status = $4, severity = $5, categories = $6,"
    " last_seen_timestamp = $7, last_updated_by = $8, metadata = $9, last_updated_timestamp = $10"
    " WHERE issue_id = $1"
)
# The categories of an issue, by which MLflow 3.18 searches; the hash is that of `rules.category_hash`.
INSERT_CATEGORIES = Bulk("issue_categories", issue_id="text", category_hash="text", category="text")
DELETE_CATEGORIES = Sql("DELETE FROM issue_categories WHERE issue_id = $1")
RUN_EXPERIMENT = Sql("SELECT experiment_id FROM runs WHERE run_uuid = $1")
STAGE = Sql("SELECT lifecycle_stage FROM experiments WHERE {in workspace}experiment_id = $1")
TRACE_COUNTS = Sql(
    "SELECT name, count(DISTINCT trace_id) FROM assessments"
    " WHERE assessment_type = 'issue' AND name {in $1 text} GROUP BY name"
)


def shape_of(schema: Schema) -> Shape:
    """The shape of the table. Leaves the request to stock MLflow if it is that of before 3.11."""
    if not schema.has("issues", "categories"):
        raise NotNative
    return NEWER if schema.has("issues", "last_seen_timestamp") else OLDER


async def is_active(tx: Tx, experiment_id: int) -> bool:
    """Whether the experiment exists and is not deleted."""
    row = await tx.fetchrow(STAGE, experiment_id)
    return row is not None and row[0] == "active"


async def by_id(tx: Tx, issue_id: str) -> IssueRow | None:
    """Return an issue."""
    row = await tx.fetchrow(shape_of(tx.schema).by_id, issue_id)
    return None if row is None else IssueRow(*row)


async def read(tx: Tx, ids: Sequence[str]) -> list[Row]:
    """Return the issues with these ids that exist, in this order."""
    found = await tx.fetch(shape_of(tx.schema).by_ids, tx.array(ids))
    rows = {row[0]: row for row in found}
    return [rows[id_] for id_ in ids if id_ in rows]


async def read_counted(tx: Tx, ids: Sequence[str]) -> list[Row]:
    """As `read`, each with the number of the traces that it was found in."""
    found = await tx.fetch(TRACE_COUNTS, tx.array(ids))
    counts = {row[0]: row[1] for row in found}
    return [(*row, counts.get(row[0], 0)) for row in await read(tx, ids)]


async def weigh(tx: Tx, ids: Sequence[str]) -> Mapping[str, int]:
    """Return the number of bytes of each issue."""
    return {
        id_: int(size) for id_, size in await tx.fetch(shape_of(tx.schema).weights, tx.array(ids))
    }
