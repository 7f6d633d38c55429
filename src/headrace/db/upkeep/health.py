"""SQL of `headrace doctor`. It only reads; every statement is bounded, however large the tables are."""

from __future__ import annotations

import re
from importlib import resources
from typing import TYPE_CHECKING, Final

from headrace.db.sql import Sql

if TYPE_CHECKING:
    from collections.abc import Iterable

    from headrace.db.base import Row, Tx

SAMPLED: Final = 500  # rows of latest_metrics, and of metrics, in the sample
SAMPLED_PLACES: Final = 10  # in a SQLite table, where consecutive rows mostly belong to one run
_CREATE_INDEX: Final = re.compile(
    r"^CREATE (?:UNIQUE )?INDEX (?:\w+\.)?\"?(\w+)\"? ON (?:ONLY )?(?:\w+\.)?\"?(\w+)\"?[^;]*;",
    re.MULTILINE,
)

INDEXES = Sql(
    postgres="SELECT indexname FROM pg_indexes WHERE schemaname = ANY(current_schemas(false))",
    sqlite="SELECT name FROM sqlite_master WHERE type = 'index'",
)
# Cheap estimates: the planner's, or the highest row number. For a table that was never analysed the
# planner has no estimate (-1), but the statistics count the rows written.
_ROWS: Final = "greatest(reltuples, pg_stat_get_live_tuples(oid), 0)::bigint"
SIZES = Sql(
    postgres=f"SELECT relname, {_ROWS}, pg_total_relation_size(oid) FROM pg_class"
    " WHERE relkind = 'r' AND relname {in $1 text} AND pg_table_is_visible(oid)"
    " ORDER BY 3 DESC, 1",
)
FILE_BYTES = Sql(
    postgres="SELECT pg_database_size(current_database())",
    sqlite="SELECT page_count * page_size FROM pragma_page_count, pragma_page_size",
)
HIGHEST_ROW: Final = {
    table: Sql(sqlite=f"SELECT max(rowid) FROM {table}") for table in ("latest_metrics", "metrics")
}
ESTIMATE: Final = {
    table: Sql(postgres=f"SELECT {_ROWS} FROM pg_class WHERE oid = '{table}'::regclass")
    for table in ("latest_metrics", "metrics")
}
# (run, key) of a sample: from a share of the table's pages, or from $2 rows after a row number.
SAMPLE: Final = {
    table: Sql(
        postgres=f"SELECT DISTINCT run_uuid, key FROM (SELECT run_uuid, key FROM {table}"
        " TABLESAMPLE SYSTEM ($1) LIMIT $2) AS sampled",
        sqlite=f"SELECT DISTINCT run_uuid, key FROM (SELECT run_uuid, key FROM {table}"
        " WHERE rowid >= $1 LIMIT $2)",
    )
    for table in ("latest_metrics", "metrics")
}
# One statement compares the stored with the correct value, so that no commit comes in between.
_BOTH: Final = "l.step, l.timestamp, l.value, l.is_nan, m.step, m.timestamp, m.value, m.is_nan"
_NEWEST: Final = (
    "FROM metrics WHERE run_uuid = $1 AND key = $2"
    " ORDER BY step DESC, timestamp DESC, value DESC LIMIT 1"
)
# Active runs only: an interrupted `headrace gc` may have deleted a part of a deleted run.
_LATEST: Final = "FROM runs r LEFT JOIN latest_metrics l ON l.run_uuid = r.run_uuid AND l.key = $2"
_ACTIVE: Final = "WHERE r.run_uuid = $1 AND r.lifecycle_stage = 'active'"
LATEST_AND_NEWEST = Sql(
    postgres=f"SELECT {_BOTH} {_LATEST} LEFT JOIN LATERAL (SELECT * {_NEWEST}) AS m ON true {_ACTIVE}",
    sqlite=f"SELECT {_BOTH} {_LATEST}"
    f" LEFT JOIN metrics m ON m.rowid = (SELECT rowid {_NEWEST}) {_ACTIVE}",
)
JOURNAL_MODE = Sql(sqlite="SELECT journal_mode FROM pragma_journal_mode")
CLOCK_MS = Sql(postgres="SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint")
WORKSPACES = Sql("SELECT count(*) FROM workspaces")
NEWEST_EXPERIMENT_MS = Sql("SELECT max(last_update_time) FROM experiments")


RUN_IDS = Sql("SELECT run_uuid FROM runs WHERE run_uuid > $1 ORDER BY run_uuid LIMIT $2")
# Prevents changes of latest metrics between the read of the history and the commit.
_LOCK = Sql(postgres="LOCK TABLE latest_metrics IN SHARE ROW EXCLUSIVE MODE")
_RECOMPUTE: Final = (
    "INSERT INTO latest_metrics (run_uuid, key, timestamp, step, value, is_nan)"
    " SELECT run_uuid, key, timestamp, step, value, is_nan FROM (SELECT m.*, row_number() OVER"
    " (PARTITION BY run_uuid, key ORDER BY step DESC, timestamp DESC, value DESC) AS place"
    " FROM metrics m WHERE run_uuid {in $1 text}) AS ranked WHERE place = 1"
    " ON CONFLICT (key, run_uuid) DO UPDATE SET value = EXCLUDED.value, timestamp = EXCLUDED.timestamp,"
    " step = EXCLUDED.step, is_nan = EXCLUDED.is_nan WHERE (EXCLUDED.step, EXCLUDED.timestamp,"
    " EXCLUDED.value, EXCLUDED.is_nan) IS DISTINCT FROM (latest_metrics.step,"
    " latest_metrics.timestamp, latest_metrics.value, latest_metrics.is_nan)"
)
FORGET = Sql(
    "DELETE FROM latest_metrics WHERE run_uuid {in $1 text} AND NOT EXISTS (SELECT 1 FROM metrics m"
    " WHERE m.run_uuid = latest_metrics.run_uuid AND m.key = latest_metrics.key)"
)
RECOMPUTE = Sql(
    postgres=_RECOMPUTE,
    # older SQLite has no IS DISTINCT FROM, and compares rows with IS NOT
    sqlite=_RECOMPUTE.replace("IS DISTINCT FROM", "IS NOT"),
)


async def run_ids(tx: Tx, after: str, limit: int) -> list[str]:
    """A page of the ids of all runs, including deleted ones."""
    return [row[0] for row in await tx.fetch(RUN_IDS, after, limit)]


async def recompute_latest(tx: Tx, ids: list[str]) -> int:
    """Correct the latest metrics of runs according to their history; returns the number of changes."""
    if tx.dialect == "postgres":  # SQLite has one writing transaction at a time
        await tx.fetch(_LOCK)
    changed = await tx.execute(RECOMPUTE, tx.array(ids))
    return changed + await tx.execute(FORGET, tx.array(ids))


def expected_indexes(dialect: str) -> dict[str, tuple[str, str]]:
    """The indexes that MLflow creates: table and statement, by name."""
    source = resources.files("headrace.db.schema").joinpath(f"{dialect}.sql").read_text("utf-8")
    return {m[1]: (m[2], " ".join(m[0].split())) for m in _CREATE_INDEX.finditer(source)}


async def indexes(tx: Tx) -> set[str]:
    """The names of the existing indexes."""
    return {row[0] for row in await tx.fetch(INDEXES)}


async def sizes(tx: Tx, tables: Iterable[str]) -> list[tuple[str, int, int]]:
    """Table, estimated rows, bytes (0 for SQLite), largest first."""
    if tx.dialect == "postgres":
        rows = await tx.fetch(SIZES, tx.array(sorted(tables)))
        return [(table, estimate, size) for table, estimate, size in rows]
    counted = [
        (table, await number(tx, Sql(sqlite=f'SELECT max(rowid) FROM "{table}"')), 0)
        for table in tables
    ]
    return sorted(counted, key=lambda row: (-row[1], row[0]))


async def number(tx: Tx, sql: Sql) -> int:
    """The single number that a statement returns; 0 for NULL."""
    row = await tx.fetchrow(sql)
    return int(row[0] or 0) if row else 0


async def clock_ms(tx: Tx) -> int:
    """PostgreSQL's time in milliseconds since the epoch; 0 for SQLite, which has no clock of its own."""
    return await number(tx, CLOCK_MS) if tx.dialect == "postgres" else 0


async def journal_mode(tx: Tx) -> str:
    """The journal mode. SQLite only."""
    row = await tx.fetchrow(JOURNAL_MODE)
    return str(row[0]) if row else ""


async def _some(tx: Tx, table: str, offset: float) -> list[Row]:
    """(run, key) of at most SAMPLED rows of a table."""
    if tx.dialect == "postgres":
        rows = await number(tx, ESTIMATE[table])
        percent = min(100.0, max(0.01, 100 * 2 * SAMPLED / max(1, rows)))
        return await tx.fetch(SAMPLE[table], percent, SAMPLED)
    highest, step = await number(tx, HIGHEST_ROW[table]), SAMPLED // SAMPLED_PLACES
    found = {}
    for n in range(SAMPLED_PLACES):
        first = int(highest * (offset + n / SAMPLED_PLACES) % max(1, highest))
        for row in await tx.fetch(SAMPLE[table], max(0, first - step), step):
            found[tuple(row)] = row
    return list(found.values())


async def stale_latest(tx: Tx, offset: float) -> tuple[int, list[tuple[str, str]]]:
    """Samples the latest metrics of active runs: the number compared, and the (run, key) of wrong ones.

    A latest value is wrong when it is not the newest of its history, has no history, or is missing.
    `offset`: the position in the tables where the sample begins, from 0 to 1.
    """
    sample = {
        (run_id, key)
        for table in ("latest_metrics", "metrics")
        for run_id, key in await _some(tx, table, offset)
    }
    looked_at, wrong = 0, []
    for run_id, key in sorted(sample):
        row = await tx.fetchrow(LATEST_AND_NEWEST, run_id, key)
        if row is not None:
            looked_at += 1
            wrong += [(run_id, key)] if tuple(row[:4]) != tuple(row[4:]) else []
    return looked_at, wrong
