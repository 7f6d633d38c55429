"""Reads and searches of traces find their rows through indexes, MLflow's own and the optional ones."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from tests.fill import fill

from headrace import search
from headrace.api.traces.assessments import read_sql as assessments_sql
from headrace.api.traces.spans import read_sql as spans_sql
from headrace.api.traces.traces import read_sql
from headrace.db.open import open_database
from headrace.db.schema.facts import UnusableDatabase
from headrace.db.sql import Sql, statement
from headrace.db.upkeep.tune import release, tune
from headrace.settings.table import Settings

if TYPE_CHECKING:
    from headrace.db.base import Dialect, Tx

TRACES = 4_000
IDS = ["tr-7", "tr-70"]
# Statement, arguments, the indexes that may find its rows.
READS: dict[str, tuple[Sql, tuple[Any, ...], tuple[str, ...]]] = {
    "infos": (read_sql.INFOS, (IDS, 40, 60), ("trace_info_pk", "request_id")),
    "assessments": (assessments_sql.OF_TRACES, (IDS, 100), ("trace_id_created",)),
    "spans of small traces": (spans_sql.SMALL, (IDS, 1 << 20, 100), ("spans_pk", "cost_trace")),
    "keys of spans": (spans_sql.KEYS, ("tr-7", *spans_sql.FIRST, 100), ("spans_pk",)),
    "spans by id": (spans_sql.BY_ID, ("tr-7", ["s0"]), ("spans_pk",)),
}
# Filter and the index that finds its traces; without a name, the newest are read by time.
SEARCHES = {
    "newest": (None, "experiment_id_timestamp_ms"),
    "a range of time": ("timestamp_ms > 100 AND timestamp_ms < 300", "experiment_id_timestamp_ms"),
    "a session": ("metadata.`mlflow.trace.session` = 's-3'", "experiment_id_session_id"),
    "ids": ("request_id IN ('tr-7', 'tr-70')", "trace_info_pk"),
}
OPTIONAL = {
    "a tag": ("tags.req = 'v17'", "headrace_trace_tags"),
    "metadata": ("metadata.m = 'm17'", "headrace_trace_metadata"),
    "the name of a span": ("span.name = 'rare'", "headrace_span_names"),
}
TEXT = {
    "text": ("trace.text LIKE '%needle-17%'", "headrace_span_text"),
    "an attribute": ("span.attributes.q LIKE '%needle-17%'", "headrace_span_text"),
}


def add_traces(uri: str) -> None:
    """Write traces with a tag, metadata and two spans each."""
    experiment = "name, lifecycle_stage"
    fill(uri, "experiments", experiment, [("other", "active"), ("more", "active")])
    columns = "request_id, experiment_id, timestamp_ms, status, session_id, db_payload_generation"
    numbers = range(TRACES)
    infos = [
        (f"{start}-{n}", experiment, n, "OK", f"s-{n // 10}", 0)
        for experiment, start in enumerate(("tr", "other", "more"))
        for n in numbers
    ]
    fill(uri, "trace_info", columns, infos)
    fill(
        uri, "trace_tags", "request_id, key, value", [(f"tr-{n}", "req", f"v{n}") for n in numbers]
    )
    pairs = [(f"tr-{n}", "m", f"m{n}") for n in numbers]
    fill(uri, "trace_request_metadata", "request_id, key, value", pairs)
    columns = "trace_id, experiment_id, span_id, name, status, start_time_unix_nano, content"
    spans = [
        (
            *(f"tr-{n}", 0, f"s{s}", "rare" if n % 1000 == 7 else f"step {s}", "OK", n),
            f'{{"attributes": {{"q": "needle-{n}x {"y" * 300}"}}}}',
        )
        for n in numbers
        for s in range(2)
    ]
    fill(uri, "spans", columns, spans)


@pytest.fixture
def filled(uri: str) -> str:
    """The URI of a database with traces, and with the statistics that a server has."""

    async def make() -> None:
        await (await open_database(Settings(backend_store_uri=uri))).close()

    asyncio.run(make())
    add_traces(uri)
    analyze(uri)
    return uri


def analyze(uri: str) -> None:
    """Collect the statistics of the tables as autovacuum does; a SQLite file has none."""
    if not uri.startswith("sqlite"):
        with psycopg.connect(uri, autocommit=True) as connection:
            connection.execute("VACUUM ANALYZE")


async def in_database(uri: str, filters: dict[str, tuple[str | None, str]]) -> dict[str, str]:
    """The plan of each search."""
    database = await open_database(Settings(backend_store_uri=uri))
    prefixed = read_sql.prefixed(database.schema)
    try:
        return {
            name: await database.read(plan, *page(text, database.dialect, prefixed))
            for name, (text, _) in filters.items()
        }
    finally:
        await database.close()


def page(
    text: str | None, dialect: Dialect, prefixed: frozenset[str]
) -> tuple[str, tuple[Any, ...]]:
    """The statement of a search for 100 traces, and its arguments."""
    found = search.traces_page(
        experiment_ids=[0],
        filter=text,
        order_by=[],
        max_results=100,
        page_token=None,
        dialect=dialect,
        columns=read_sql.COLUMNS,
        prefixed=prefixed,
    )
    return found.text, found.args


async def plan(tx: Tx, text: str, args: tuple[Any, ...]) -> str:
    """How the database runs a statement, as text."""
    explain = "EXPLAIN QUERY PLAN " if tx.dialect == "sqlite" else "EXPLAIN "
    rows = await tx.fetch(statement(explain + text), *args)
    return "\n".join(str(row[-1]) for row in rows)


def test_reads_by_id_use_indexes(filled: str, database: str) -> None:
    async def plans() -> dict[str, str]:
        opened = await open_database(Settings(backend_store_uri=filled))

        async def one(tx: Tx, sql: Sql, args: tuple[Any, ...]) -> str:
            sent = [tx.array(arg) if isinstance(arg, list) else arg for arg in args]
            text = sql.sqlite if tx.dialect == "sqlite" else sql.postgres
            return await plan(tx, text, tuple(sent))

        try:
            return {
                name: await opened.read(one, sql, args) for name, (sql, args, _) in READS.items()
            }
        finally:
            await opened.close()

    for name, found in asyncio.run(plans()).items():
        scans = "SCAN trace_info", "SCAN spans", "SCAN assessments", "Seq Scan on spans"
        assert not [scan for scan in scans if scan in found], f"{name}:\n{found}"
        if database == "postgres" and name != "assessments":  # an empty table is scanned
            assert any(index in found for index in READS[name][2]), f"{name}:\n{found}"


def test_searches_use_the_indexes_of_mlflow(filled: str, database: str) -> None:
    for name, found in asyncio.run(in_database(filled, SEARCHES)).items():
        index = SEARCHES[name][1]
        if database == "sqlite" and name == "ids":
            index = "sqlite_autoindex_trace_info"
        assert index in found, f"{name}:\n{found}"
        assert "Seq Scan on trace_info" not in found, f"{name}:\n{found}"


def test_spans_are_found_through_their_traces_on_sqlite(filled: str, database: str) -> None:
    """Through the index of the experiment, each trace would read all spans of all traces."""
    if database == "postgres":
        pytest.skip("the planner of PostgreSQL has statistics")
    spans = {
        "a name": ("span.name = 'rare' AND span.type = 'LLM'", ""),
        "a text": ("trace.text LIKE '%needle-17%' AND timestamp_ms > 0", ""),
    }
    for name, found in asyncio.run(in_database(filled, spans)).items():
        assert re.search(r"SEARCH s USING INDEX \w+ \(trace_id=\?", found), f"{name}:\n{found}"


def test_searches_use_the_optional_indexes(filled: str, database: str) -> None:
    """The same traces are found with and without them, also by values longer than the index."""
    if database == "sqlite":
        with pytest.raises(UnusableDatabase, match="for PostgreSQL only"):
            tune(filled, traces=True)
        return
    long = "z" * 400
    fill(filled, "trace_tags", "request_id, key, value", [("tr-5", "long", long)])
    texts = [text for text, _ in OPTIONAL.values()] + [f"tags.long = '{long}'"]
    before = asyncio.run(found_by(filled, texts))
    assert [len(ids) for ids in before] == [1, 1, 4, 1]
    has_text = has_trigrams(filled)
    lines = tune(filled, traces=True, trace_text=has_text)
    assert len([line for line in lines if line.startswith("made: ")]) == len(OPTIONAL) + has_text
    assert not [line for line in tune(filled, traces=True) if line.startswith("made: ")]
    analyze(filled)
    assert asyncio.run(found_by(filled, texts)) == before
    filters = OPTIONAL | (TEXT if has_text else {})
    for name, found in asyncio.run(in_database(filled, filters)).items():
        assert filters[name][1] in found, f"{name}:\n{found}"
    release(filled)
    assert index_names(filled) == []


def has_trigrams(uri: str) -> bool:
    """Whether the server has the extension pg_trgm; Debian ships it, minimal builds may not."""
    with psycopg.connect(uri) as connection:
        found = connection.execute("SELECT 1 FROM pg_available_extensions WHERE name = 'pg_trgm'")
        return found.fetchone() is not None


def index_names(uri: str) -> list[str]:
    """The optional indexes that exist."""
    with psycopg.connect(uri) as connection:
        found = connection.execute(
            "SELECT indexname FROM pg_indexes WHERE indexname LIKE 'headrace%'"
        )
        return [row[0] for row in found.fetchall()]


async def found_by(uri: str, texts: list[str]) -> list[list[str]]:
    """The ids of the traces that each filter finds."""
    database = await open_database(Settings(backend_store_uri=uri))
    prefixed = read_sql.prefixed(database.schema)

    async def ids(tx: Tx, text: str, args: tuple[Any, ...]) -> list[str]:
        return [row[0] for row in await tx.fetch(statement(text), *args)]

    try:
        return [await database.read(ids, *page(text, database.dialect, prefixed)) for text in texts]
    finally:
        await database.close()
