"""SQL that reads assessments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple, cast

from headrace.api.results import NotNative
from headrace.db.sql import Sql

if TYPE_CHECKING:
    from headrace.db.base import Schema, Tx


class AssessmentRow(NamedTuple):
    """A row of `assessments`, without the columns that only searches use.

    Times are milliseconds since the epoch. `value`, `error` and `assessment_metadata` are JSON.
    """

    assessment_id: str
    trace_id: str
    name: str
    assessment_type: str  # feedback, expectation or issue
    value: str
    error: str | None
    created_timestamp: int
    last_updated_timestamp: int
    source_type: str
    source_id: str | None
    run_id: str | None
    span_id: str | None
    rationale: str | None
    overrides: str | None
    valid: bool
    assessment_metadata: str | None


_COLUMNS: Final = ", ".join(AssessmentRow._fields)
# $2: maximum number of rows
OF_TRACES = Sql(
    f"SELECT {_COLUMNS} FROM assessments WHERE trace_id {{in $1 text}}"
    " ORDER BY assessment_id {bytewise} LIMIT $2"
)
ONE = Sql(f"SELECT {_COLUMNS} FROM assessments WHERE trace_id = $1 AND assessment_id = $2")
HAS_TRACE = Sql("SELECT 1 FROM trace_info WHERE request_id = $1")
# (assessment_id, bytes); $2: the id after which the rows begin, $3: maximum number of rows
SIZES = Sql(
    "SELECT assessment_id, {bytes value} + coalesce({bytes error}, 0) + coalesce({bytes rationale}, 0)"
    " + coalesce({bytes assessment_metadata}, 0) FROM assessments WHERE trace_id = $1"
    " AND (CAST($2 AS varchar) IS NULL OR (assessment_id || '') {bytewise} > $2)"
    " ORDER BY (assessment_id || '') {bytewise} LIMIT $3"
)
BY_ID = Sql(
    f"SELECT {_COLUMNS} FROM assessments WHERE trace_id = $1 AND assessment_id {{in $2 text}}"
    " ORDER BY (assessment_id || '') {bytewise}"
)
# The number of bytes of the assessments of each trace.
WEIGHTS = Sql(
    "SELECT trace_id, sum({bytes value} + coalesce({bytes error}, 0) + coalesce({bytes rationale}, 0)"
    " + coalesce({bytes assessment_metadata}, 0) + 400) FROM assessments"
    " WHERE trace_id {in $1 text} GROUP BY trace_id"
)


async def of_traces(tx: Tx, trace_ids: Sequence[str], most: int) -> list[AssessmentRow]:
    """Return at most `most` + 1 assessments of the traces, in the order of their ids."""
    rows = await tx.fetch(OF_TRACES, tx.array(trace_ids), most + 1)
    return cast("list[AssessmentRow]", rows)


async def one(tx: Tx, trace_id: str, assessment_id: str) -> AssessmentRow | None:
    """Return an assessment of a trace."""
    row = await tx.fetchrow(ONE, trace_id, assessment_id)
    return None if row is None else AssessmentRow(*row)


async def has_trace(tx: Tx, trace_id: str) -> bool:
    """Whether the trace exists."""
    return await tx.fetchrow(HAS_TRACE, trace_id) is not None


def check_served(schema: Schema) -> None:
    """Leave the request to stock MLflow if the database is older than MLflow 3.17."""
    if not schema.has("assessments", "is_numeric_value"):
        raise NotNative
