"""SQL that writes new traces, and clients' information about traces, in one statement (PostgreSQL).

The statement commits by itself: one round trip instead of seven for a trace with its spans, and of
ten for the information about it. The locks are taken in the order of `traces/write_sql.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from headrace.api.traces.spans import write_sql as spans_sql
from headrace.api.traces.traces import read_sql
from headrace.api.traces.traces import write_sql as sql
from headrace.api.traces.traces.read_sql import InfoRow
from headrace.contract.artifact_uri import PLAIN
from headrace.db.sql import LIMITS_LOCKS, Bulk, Sql

if TYPE_CHECKING:
    from headrace.db.base import Row, Tx

# Columns that information replaces only if it has a value.
REPLACED_BY_VALUES: Final = frozenset(sql.COLUMNS[6:]) - {"db_payload_generation"}
_REPLACED: Final = ("timestamp_ms", "execution_time_ms", "status", "client_request_id")
_TRACES: Final = len(sql.COLUMNS)
_SPANS: Final = len(spans_sql.UPSERT.columns)


def _unnest(bulk: Bulk, first: int, name: str) -> str:
    """The rows of a Bulk as a table, from the parameters from number `first` on."""
    return f"{bulk.unnested(first)} AS {name}({', '.join(bulk.columns)})"


def _statement() -> Sql:
    new, started = 2, 2 + _TRACES
    spans = started + _TRACES
    tags = spans + _SPANS
    metadata = tags + 3
    columns = ", ".join(sql.COLUMNS)
    sets = [f"{name} = EXCLUDED.{name}" for name in _REPLACED]
    sets += [f"{name} = coalesce(EXCLUDED.{name}, t.{name})" for name in sorted(REPLACED_BY_VALUES)]
    written = "(SELECT request_id FROM new UNION ALL SELECT request_id FROM started)"
    return Sql(
        postgres=f"""
WITH place AS MATERIALIZED (
    SELECT experiment_id, artifact_location FROM experiments WHERE experiment_id = ANY($1::int[])
       AND lifecycle_stage = 'active' AND artifact_location ~ '^{PLAIN.pattern}$'{LIMITS_LOCKS}
), ready AS MATERIALIZED (
    SELECT json_object_agg(experiment_id, artifact_location) AS places FROM place
    HAVING count(*) = cardinality($1::int[])
       AND NOT EXISTS (SELECT FROM trace_info WHERE request_id = ANY(${new}::varchar[]))
), new AS (
    INSERT INTO trace_info ({columns}) SELECT u.* FROM {_unnest(sql.INSERT, new, "u")}, ready
    RETURNING request_id, experiment_id
), started AS (
    INSERT INTO trace_info AS t ({columns})
    SELECT u.* FROM {_unnest(sql.INSERT, started, "u")}, ready WHERE (SELECT count(*) FROM new) >= 0
    ON CONFLICT (request_id) DO UPDATE
       SET {", ".join(sets)}, db_payload_generation = t.db_payload_generation + 1
     WHERE t.experiment_id = EXCLUDED.experiment_id AND NOT EXISTS (
           SELECT FROM trace_tags g WHERE g.request_id = t.request_id
              AND g.key = '{read_sql.SPANS_LOCATION}' AND g.value <> '{read_sql.STORED_HERE}')
    RETURNING *
), moved AS (
    UPDATE assessments a SET trace_timestamp_ms = s.timestamp_ms FROM started s
     WHERE a.trace_id = s.request_id AND a.trace_timestamp_ms IS DISTINCT FROM s.timestamp_ms
), span AS (
    INSERT INTO spans ({", ".join(spans_sql.UPSERT.columns)})
    SELECT u.* FROM {_unnest(spans_sql.UPSERT, spans, "u")} WHERE u.trace_id IN (SELECT request_id FROM new)
), tag AS (
    INSERT INTO trace_tags (key, request_id, value)
    SELECT u.* FROM {_unnest(sql.UPSERT_TAGS, tags, "u")} WHERE u.request_id IN {written}
     UNION ALL
    SELECT '{read_sql.ARTIFACT_LOCATION}', w.request_id,
           place.artifact_location || '/traces/' || w.request_id || '/artifacts'
      FROM (SELECT request_id, experiment_id FROM new
             UNION ALL SELECT request_id, experiment_id FROM started) w JOIN place USING (experiment_id)
    {sql.UPSERT_TAGS.clause}
), metadata AS (
    INSERT INTO trace_request_metadata (key, request_id, value)
    SELECT u.* FROM {_unnest(sql.UPSERT_METADATA, metadata, "u")} WHERE u.request_id IN {written}
    {sql.UPSERT_METADATA.clause}
)
SELECT ready.places, {read_sql.COLUMNS_OF_S},
       EXISTS (SELECT FROM assessments a WHERE a.trace_id = s.request_id)
  FROM ready LEFT JOIN started s ON true"""
    )


WRITE: Final = _statement()


class Started(NamedTuple):
    """A trace whose information was written: its row, and tags and metadata as they were before."""

    row: InfoRow
    is_assessed: bool


class Written(NamedTuple):
    """The result: artifact locations by experiment, and the traces with new information by id."""

    places: dict[int, str]
    started: dict[str, Started]


async def write(
    tx: Tx,
    experiments: Sequence[int],
    new: Sequence[Row],
    started: Sequence[Row],
    spans: Sequence[Row],
    tags: Sequence[Row],
    metadata: Sequence[Row],
) -> Written | None:
    """Write traces with their spans, tags and metadata, or nothing.

    `new` and `started` are rows of `trace_info`, sorted by id: traces that do not exist yet, and
    traces that may exist, whose information is replaced. The tags are without the artifact location.
    None: a new trace exists already, or an experiment is not active or has an unusual artifact
    location. A trace is missing in the result and nothing is written for it if it belongs to another
    experiment, or its spans are elsewhere. Raises UniqueViolation if a new trace has been created
    meanwhile.
    """
    args: list[Any] = [experiments]
    for rows, width in (
        (new, _TRACES),
        (started, _TRACES),
        (spans, _SPANS),
        (tags, 3),
        (metadata, 3),
    ):
        args += zip(*rows, strict=True) if rows else [()] * width
    found = await tx.fetch(WRITE, *args)
    if not found:
        return None
    tx.wrote(len(new) + len(started) + len(spans) + len(tags) + len(metadata))
    places = msgspec.json.decode(found[0][0], type=dict[int, str])
    return Written(
        places,
        {row[1]: Started(InfoRow(*row[1:-1]), row[-1]) for row in found if row[1] is not None},
    )
