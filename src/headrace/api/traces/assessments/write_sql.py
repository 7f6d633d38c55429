"""SQL that writes assessments. The lock of their trace is held."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from headrace.db.base import Tx
from headrace.db.sql import Bulk, Replace, Sql


class Row(NamedTuple):
    """A row of `assessments`. Times are milliseconds since the epoch; `value` and `error` are JSON."""

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
    experiment_id: int | None = None
    trace_timestamp_ms: int | None = None
    aggregate_value: float | None = None
    is_numeric_value: bool = False


UPSERT = Bulk(
    "assessments",
    assessment_id="text",
    trace_id="text",
    name="text",
    assessment_type="text",
    value="text",
    error="text",
    created_timestamp="bigint",
    last_updated_timestamp="bigint",
    source_type="text",
    source_id="text",
    run_id="text",
    span_id="text",
    rationale="text",
    overrides="text",
    valid="bool",
    assessment_metadata="text",
    experiment_id="int",
    trace_timestamp_ms="bigint",
    aggregate_value="double",
    is_numeric_value="bool",
    on_conflict=Replace("assessment_id"),
)
BY_IDS = Sql(f"SELECT {', '.join(Row._fields)} FROM assessments WHERE assessment_id {{in $1 text}}")
DELETE = Sql("DELETE FROM assessments WHERE assessment_id {in $1 text}")
# Follow a trace whose time has changed; for `Tx.executemany`.
MOVE = Sql(
    postgres="UPDATE assessments a SET trace_timestamp_ms = u.ms"
    " FROM unnest($1::varchar[], $2::bigint[]) AS u(id, ms) WHERE a.trace_id = u.id",
    sqlite="UPDATE assessments SET trace_timestamp_ms = $2 WHERE trace_id = $1",
)


async def by_ids(tx: Tx, ids: Sequence[str]) -> dict[str, Row]:
    """Return the assessments with these ids, whatever their trace, by id."""
    return {row[0]: Row(*row) for row in await tx.fetch(BY_IDS, tx.array(ids))}
