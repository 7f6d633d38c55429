"""SQL that reads traces with their tags and metadata.

Since the head of MLflow 3.17, the name, session, tokens and costs of a trace are columns. Answers
show them as the tags and metadata that they replace.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

import msgspec

from headrace.api.pieces import FEW_ITEMS, PAIR_BYTES
from headrace.api.results import NotNative, TooLong
from headrace.api.traces.assessments import read_sql as assessments_sql
from headrace.contract.limits import (
    MAX_SHOWN_METADATA,
    MAX_SHOWN_TRACE_TAG_KEY,
    MAX_SHOWN_TRACE_TAG_VALUE,
)
from headrace.db import keyed
from headrace.db.sql import Sql, statement

if TYPE_CHECKING:
    from headrace.api.traces.assessments.read_sql import AssessmentRow
    from headrace.db.base import Row, Schema, Tx
    from headrace.search import Page

NAME: Final = "mlflow.traceName"
SESSION: Final = "mlflow.trace.session"
USAGE: Final = "mlflow.trace.tokenUsage"
COST: Final = "mlflow.trace.cost"
SPANS_LOCATION: Final = "mlflow.trace.spansLocation"  # tag
ARCHIVE_LOCATION: Final = "mlflow.trace.archiveLocation"  # tag
ARCHIVED: Final = "ARCHIVE_REPO"  # a value of SPANS_LOCATION
STORED_HERE: Final = "TRACKING_STORE"  # another one
ARTIFACT_LOCATION: Final = "mlflow.artifactLocation"  # tag
SIZE_STATS: Final = "mlflow.trace.sizeStats"  # metadata
_INDEXES: Final = {
    "trace_tags": "headrace_trace_tags",
    "trace_request_metadata": "headrace_trace_metadata",
    "spans": "headrace_span_names",
}
# Rows with these keys have been replaced by columns; older rows are not shown.
_PROMOTED: Final = f"('{SESSION}', '{USAGE}', '{COST}')"
TOKEN_COLUMNS: Final = (
    "input_tokens",
    "output_tokens",
    "total_tokens",
    "cache_read_input_tokens",
    "cache_creation_input_tokens",
    "cache_creation_input_tokens_above_1hr",
)
COST_COLUMNS: Final = ("input_cost", "output_cost", "total_cost")
# Tags and metadata of one trace that a read takes without having weighed them. Clients write about
# 15 rows; 100 traces with the maximum are 17 MB.
FEW_TAGS: Final = 40
FEW_METADATA: Final = 60
FEW_ASSESSMENTS: Final = 1000  # of all traces of a page
TOO_MANY: Final = "null"  # in place of the JSON of tags or metadata
ALL: Final = 2**31


class TraceStorage(NamedTuple):
    """Where a trace's spans and artifacts are, as its tags say."""

    spans: str | None
    artifacts: str | None  # URI


class InfoRow(NamedTuple):
    """A row of `trace_info`, and the JSON of its tags and metadata.

    Times are in milliseconds. The JSON is None without rows, and `TOO_MANY` for too many of them.
    """

    request_id: str
    experiment_id: int
    timestamp_ms: int  # since the epoch
    execution_time_ms: int | None
    status: str
    client_request_id: str | None
    request_preview: str | None
    response_preview: str | None
    trace_name: str | None
    session_id: str | None
    input_tokens: int | None
    output_tokens: int | None
    total_tokens: int | None
    cache_read_input_tokens: int | None
    cache_creation_input_tokens: int | None
    cache_creation_input_tokens_above_1hr: int | None
    input_cost: float | None
    output_cost: float | None
    total_cost: float | None
    tags: str | None
    metadata: str | None


class Found(NamedTuple):
    """Some traces: their rows, and all their assessments."""

    rows: Sequence[InfoRow]
    assessments: Sequence[AssessmentRow]


COLUMNS: Final = InfoRow._fields[:-2]
_OBJECTS: Final = slice(len(COLUMNS), len(COLUMNS) + 2)  # the places of tags and metadata


def _object(
    make: str, cast: str, table: str, most: str, key: int, value: int, where: str, of: str = "t"
) -> str:
    """SQL for the JSON object of the rows of a trace `of`; made by the database, so that a page of
    100 traces is 100 rows and not 1,500."""
    limit = f"CAST({most} AS bigint)"
    return (
        f"(SELECT CASE WHEN count(*) <= {limit} THEN {make}(y.k, y.v) ELSE '{TOO_MANY}'{cast} END FROM"
        f" (SELECT substr(x.key, 1, {key}) AS k, substr(coalesce(x.value, ''), 1, {value}) AS v"
        f" FROM {table} x WHERE x.request_id = {of}.request_id AND {where} LIMIT {limit} + 1) y)"
    )


def _columns(make: str, cast: str, most_tags: str, most_metadata: str, of: str = "t") -> str:
    tags = _object(
        *(make, cast, "trace_tags", most_tags),
        *(MAX_SHOWN_TRACE_TAG_KEY, MAX_SHOWN_TRACE_TAG_VALUE, f"x.key <> '{NAME}'", of),
    )
    metadata = _object(
        *(make, cast, "trace_request_metadata", most_metadata),
        *(MAX_SHOWN_METADATA, MAX_SHOWN_METADATA, f"x.key NOT IN {_PROMOTED}", of),
    )
    columns = ", ".join(f"{of}.{column}" for column in COLUMNS)
    return f"{columns}, {tags}, {metadata}"


def _infos(make: str, cast: str, most_tags: str, most_metadata: str) -> str:
    return f"SELECT {_columns(make, cast, most_tags, most_metadata)} FROM "


_WORDS: Final = {"postgres": ("json_object_agg", "::json"), "sqlite": ("json_group_object", "")}
# The columns of an `InfoRow` of a trace `s`, for a statement of PostgreSQL that has it.
COLUMNS_OF_S: Final = _columns(*_WORDS["postgres"], str(ALL), str(ALL), of="s")
_BY_ID: Final = "trace_info t WHERE t.request_id {in $1 text}"
_TEXTS: Final = tuple(_infos(*words, "$2", "$3") + _BY_ID for words in _WORDS.values())
_INFOS_OF_PAGE: Final = _infos(*_WORDS["sqlite"], str(FEW_TAGS), str(FEW_METADATA))
# $1: ids, $2 and $3: maximum numbers of tags and metadata of one trace
INFOS = Sql(postgres=_TEXTS[0], sqlite=_TEXTS[1])
# One trace, which most reads are about; an array costs three times as much. The last column tells
# whether it has assessments.
_ONE: Final = tuple(
    f"{_infos(*words, str(FEW_TAGS), str(FEW_METADATA)).removesuffix(' FROM ')},"
    " EXISTS (SELECT 1 FROM assessments a WHERE a.trace_id = t.request_id)"
    " FROM trace_info t WHERE t.request_id = $1"
    for words in _WORDS.values()
)
ONE = Sql(postgres=_ONE[0], sqlite=_ONE[1])


def _objects(number: int, table: str, key: int, value: int, where: str, most: int) -> str:
    """SQL (PostgreSQL) for the JSON objects of the rows of the traces $1, at most `most` rows together.

    One scan of the index for all traces takes a third of the time of one for each, and
    `substr` as long as the rest.
    """
    cut = "CASE WHEN octet_length({0}) <= {1} THEN {0} ELSE substr({0}, 1, {1}) END"
    shown = cut.format("coalesce(x.value, '')", value)
    return (
        f"SELECT {number}, request_id, json_object_agg(k, v), count(*) FROM"
        f" (SELECT x.request_id, {cut.format('x.key', key)} AS k, {shown} AS v"
        f" FROM {table} x"
        f" WHERE x.request_id = ANY($1::varchar[]) AND {where} LIMIT {most} + 1) y GROUP BY request_id"
    )


_TAGS_OF, _METADATA_OF, _ARE_ASSESSED = range(3)
# (kind, request_id, JSON, number of rows) of the tags and metadata of the traces $1; the last row tells
# whether any of them has assessments. The page itself needs a plan for its arguments, these rows do
# not: planned each time, with the page, they took 1.1 ms for 100 traces instead of 0.3.
OBJECTS = Sql(
    postgres=_objects(
        *(_TAGS_OF, "trace_tags", MAX_SHOWN_TRACE_TAG_KEY, MAX_SHOWN_TRACE_TAG_VALUE),
        *(f"x.key <> '{NAME}'", FEW_ITEMS * FEW_TAGS),
    )
    + " UNION ALL "
    + _objects(
        *(_METADATA_OF, "trace_request_metadata", MAX_SHOWN_METADATA, MAX_SHOWN_METADATA),
        *(f"x.key NOT IN {_PROMOTED}", FEW_ITEMS * FEW_METADATA),
    )
    + f" UNION ALL SELECT {_ARE_ASSESSED}, NULL, NULL,"
    " (EXISTS (SELECT FROM assessments a WHERE a.trace_id = ANY($1::varchar[])))::int"
)
_SCOPE: Final = " AND t.experiment_id {in $4 int}"
INFOS_IN = Sql(postgres=_TEXTS[0] + _SCOPE, sqlite=_TEXTS[1] + _SCOPE)


def _uncut(make: str) -> str:
    """The SELECT of traces with all tags and metadata, uncut, for the Python API."""

    def pairs(table: str, where: str) -> str:
        return (
            f"(SELECT {make}(x.key, x.value) FROM {table} x"
            f" WHERE x.request_id = t.request_id AND {where})"
        )

    columns = ", ".join(f"t.{column}" for column in COLUMNS)
    tags = pairs("trace_tags", f"x.key <> '{NAME}'")
    metadata = pairs("trace_request_metadata", f"x.key NOT IN {_PROMOTED}")
    return f"SELECT {columns}, {tags}, {metadata} FROM "


_UNCUT: Final = {dialect: _uncut(make) for dialect, (make, _) in _WORDS.items()}
UNCUT = Sql(postgres=_UNCUT["postgres"] + _BY_ID, sqlite=_UNCUT["sqlite"] + _BY_ID)
WITHIN = Sql(
    "SELECT request_id FROM trace_info WHERE request_id {in $1 text} AND experiment_id {in $2 int}"
)
ARCHIVE = Sql(f"SELECT value FROM trace_tags WHERE request_id = $1 AND key = '{ARCHIVE_LOCATION}'")
PLACE = Sql(
    f"SELECT (SELECT value FROM trace_tags WHERE request_id = $1 AND key = '{SPANS_LOCATION}'),"
    f" (SELECT value FROM trace_tags WHERE request_id = $1 AND key = '{ARTIFACT_LOCATION}')"
    " FROM trace_info WHERE request_id = $1"
)
FACTS = Sql(
    f"SELECT (SELECT value FROM trace_tags WHERE request_id = $1 AND key = '{SPANS_LOCATION}'),"
    f" (SELECT value FROM trace_request_metadata WHERE request_id = $1 AND key = '{SIZE_STATS}')"
)
# (request_id, bytes) of tags, metadata and previews
WEIGHTS = Sql(
    "SELECT t.request_id, coalesce({bytes t.request_preview}, 0) + coalesce({bytes t.response_preview}, 0)"
    f" + coalesce((SELECT sum({{bytes x.key}} + coalesce({{bytes x.value}}, 0) + {PAIR_BYTES})"
    " FROM trace_tags x WHERE x.request_id = t.request_id), 0)"
    f" + coalesce((SELECT sum({{bytes x.key}} + coalesce({{bytes x.value}}, 0) + {PAIR_BYTES})"
    " FROM trace_request_metadata x WHERE x.request_id = t.request_id), 0)"
    " FROM trace_info t WHERE t.request_id {in $1 text}"
)
TAG_SIZES = Sql(
    keyed.sizes("trace_tags", f"request_id = $1 AND key <> '{NAME}'", "key", "value", 1)
)
TAGS_BY_KEY = Sql(keyed.rows("trace_tags", "request_id = $1", "key", "value", 1))
METADATA_SIZES = Sql(
    keyed.sizes(
        "trace_request_metadata",
        f"request_id = $1 AND key NOT IN {_PROMOTED}",
        *("key", "value", 1),
    )
)
METADATA_BY_KEY = Sql(keyed.rows("trace_request_metadata", "request_id = $1", "key", "value", 1))


def check_served(schema: Schema) -> None:
    """Leave the request to stock MLflow if the database is older than MLflow 3.17."""
    if not schema.has("trace_info", "trace_name"):
        raise NotNative


def prefixed(schema: Schema) -> frozenset[str]:
    """Return the tables that have an optional index of the first characters of their values."""
    return frozenset(table for table, index in _INDEXES.items() if schema.has(index))


async def _rows(
    tx: Tx,
    ids: Sequence[str],
    experiments: Sequence[int] | None,
    most_tags: int,
    most_metadata: int,
) -> list[InfoRow]:
    args = (tx.array(ids), most_tags, most_metadata)
    if experiments is None:
        rows = await tx.fetch(INFOS, *args)
    else:
        rows = await tx.fetch(INFOS_IN, *args, tx.array(experiments))
    by_id: dict[str, Any] = {row[0]: row for row in rows}
    return [by_id[id_] for id_ in dict.fromkeys(ids) if id_ in by_id]


async def read_few(tx: Tx, ids: Sequence[str], experiments: Sequence[int] | None = None) -> Found:
    """Return the traces with these ids that exist, in this order.

    `experiments` leaves out the traces of other experiments. Raises `TooLong` for a trace or
    traces with too many tags, metadata or assessments.
    """
    if len(ids) == 1 and experiments is None:
        rows: Sequence[Any] = await tx.fetch(ONE, ids[0])
        assessed = [row[0] for row in rows if row[-1]]
    else:
        rows = await _rows(tx, ids, experiments, FEW_TAGS, FEW_METADATA)
        assessed = [row[0] for row in rows]
    if any(TOO_MANY in row[_OBJECTS] for row in rows):
        raise TooLong
    found = await _few_assessments(tx, assessed) if assessed else ()
    return Found(cast("Sequence[InfoRow]", rows), found)


async def read_page(tx: Tx, page: Page) -> tuple[Found | None, Sequence[Row], str | None]:
    """Return the traces of a page of at most FEW_ITEMS, their columns, and the token of the next page.

    The traces are None if `complete` has to read the rest. `page` selects COLUMNS. Raises `TooLong`
    as `read_few`.
    """
    if tx.dialect == "postgres":
        rows, token = page.cut(await tx.fetch(statement(page.text), *page.args))
        return None if rows else Found((), ()), rows, token
    text = f"{_INFOS_OF_PAGE}({page.text}) t"
    rows, token = page.cut(await tx.fetch(statement(text), *page.args))
    if any(TOO_MANY in row[_OBJECTS] for row in rows):
        raise TooLong
    found = await _few_assessments(tx, [row[0] for row in rows]) if rows else ()
    return Found(cast("Sequence[InfoRow]", rows), found), rows, token


async def complete(tx: Tx, rows: Sequence[Row]) -> Found:
    """Return at most FEW_ITEMS traces, of which `rows` are the COLUMNS (PostgreSQL). Raises `TooLong`."""
    ids = [row[0] for row in rows]
    objects: tuple[dict[str, str], dict[str, str]] = ({}, {})
    counts = [0, 0]
    assessed: Sequence[AssessmentRow] = ()
    for kind, trace_id, text, count in await tx.fetch(OBJECTS, ids):
        if kind != _ARE_ASSESSED:
            objects[kind][trace_id] = text
            counts[kind] += count
        elif count:
            assessed = await _few_assessments(tx, ids)
    if counts[_TAGS_OF] > FEW_ITEMS * FEW_TAGS or counts[_METADATA_OF] > FEW_ITEMS * FEW_METADATA:
        raise TooLong
    tags, metadata = (found.get for found in objects)
    infos = [(*row, tags(row[0]), metadata(row[0])) for row in rows]
    return Found(cast("Sequence[InfoRow]", infos), assessed)


async def _few_assessments(tx: Tx, ids: Sequence[str]) -> Sequence[AssessmentRow]:
    """Return the assessments of some traces. Raises `TooLong`."""
    found = await assessments_sql.of_traces(tx, ids, FEW_ASSESSMENTS)
    if len(found) > FEW_ASSESSMENTS:
        raise TooLong
    return found


async def read(tx: Tx, ids: Sequence[str]) -> Found:
    """As `read_few`, for traces that have been weighed."""
    rows = await _rows(tx, ids, None, ALL, ALL)
    return Found(rows, await assessments_sql.of_traces(tx, [row[0] for row in rows], ALL))


async def read_uncut(tx: Tx, ids: Sequence[str]) -> Found:
    """Return the traces with these ids that exist, with everything they have, in this order."""
    by_id: dict[str, Any] = {row[0]: row for row in await tx.fetch(UNCUT, tx.array(ids))}
    rows = [by_id[id_] for id_ in dict.fromkeys(ids) if id_ in by_id]
    return Found(rows, await assessments_sql.of_traces(tx, [row[0] for row in rows], ALL))


async def read_page_uncut(tx: Tx, page: Page) -> Found:
    """Return the traces of a page, and maybe the first one of the next, with everything they have.

    `page` selects COLUMNS.
    """
    text = f"{_UNCUT[tx.dialect]}({page.text}) t"
    rows = cast("Sequence[InfoRow]", await tx.fetch(statement(text), *page.args))
    return Found(rows, await assessments_sql.of_traces(tx, [row[0] for row in rows], ALL))


async def read_columns(tx: Tx, trace_id: str) -> InfoRow | None:
    """Return a trace without its tags and metadata, other than those that are columns."""
    rows = await _rows(tx, [trace_id], None, -1, -1)
    return InfoRow(*rows[0][:-2], None, None) if rows else None


async def weigh(tx: Tx, ids: Sequence[str]) -> Mapping[str, int]:
    """Return the number of bytes of each trace, without its spans."""
    weights: dict[str, int] = {}
    for sizes in (WEIGHTS, assessments_sql.WEIGHTS):
        for id_, size in await tx.fetch(sizes, tx.array(ids)):
            weights[id_] = weights.get(id_, 0) + int(size)
    return weights


async def within(tx: Tx, ids: Sequence[str], experiments: Sequence[int]) -> list[str]:
    """Return those of the ids whose traces belong to these experiments, in order."""
    known = {row[0] for row in await tx.fetch(WITHIN, tx.array(ids), tx.array(experiments))}
    return [id_ for id_ in ids if id_ in known]


async def archive(tx: Tx, trace_id: str) -> str | None:
    """Return the artifact URI of an archived trace's spans."""
    row = await tx.fetchrow(ARCHIVE, trace_id)
    return None if row is None else row[0]


async def storage(tx: Tx, trace_id: str) -> TraceStorage | None:
    """Return where a trace's spans and artifacts are; None if there is no such trace."""
    row = await tx.fetchrow(PLACE, trace_id)
    return None if row is None else TraceStorage(*row)


def announced_spans(stats: str | None) -> int:
    """Return the number of spans in the JSON of the metadata SIZE_STATS; 0 if it has none."""
    try:
        return int(msgspec.json.decode(stats or "{}").get("num_spans", 0))
    except (msgspec.DecodeError, AttributeError, TypeError, ValueError):
        return 0


async def facts(tx: Tx, trace_id: str) -> tuple[str | None, int]:
    """Return where the spans of a trace are, and the number of spans that the client announced."""
    row = await tx.fetchrow(FACTS, trace_id)
    assert row is not None, "it has no FROM"
    return row[0], announced_spans(row[1])
