"""The raw-database probe: write the rows of a case without a server.

A request has the same rows as in the k6 script: m rows of `metrics` and of `latest_metrics`, p of
`params`, t of `tags`; or, for create run, a row of `runs` and three of `tags`. The values are
prepared in memory; the probe parses nothing, looks up no run and sends no answer. It uses one
process, one event loop, asyncpg, and prepared statements with arrays for whole columns. One
statement writes all tables (a chain of WITH … INSERT), so that a commit is one round trip.
`metrics` and `params` are written with ON CONFLICT DO NOTHING, `latest_metrics` and `tags` with ON
CONFLICT DO UPDATE.

There are two shapes, because the limit depends on the shape:
- each: every one of N users has its own connection and commits each request separately;
- grouped: W connections commit G = N / W requests at a time, merged as in a group commit
  (`latest_metrics` and `tags`; W = 1 and W = 2).

SQLite has only one writer: one connection, WAL, synchronous FULL, executemany; `each` commits
single requests, `grouped` N at a time.

The limit of a case is the fastest shape.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any, Final

import asyncpg

from benchmarks import seeds
from benchmarks.cases import Case, Target, Writes
from benchmarks.measure import cpu_s, own_cpu_s

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Columns = list[list[Any]]
PROBE_EXPERIMENT: Final = 900_009
PROBE_SET: Final = "9e"
PARAMS_PER_RUN: Final = 200


@dataclass(frozen=True)
class Table:
    """`update` lists the columns to overwrite on conflict; if empty, DO NOTHING."""

    name: str
    columns: dict[str, str]
    key: str = ""
    update: str = ""

    def postgres(self, first: int) -> str:
        arrays = ", ".join(f"${first + i}::{t}[]" for i, t in enumerate(self.columns.values()))
        return (
            f"INSERT INTO {self.name} ({', '.join(self.columns)})"
            f" SELECT * FROM unnest({arrays}) {self._conflict()}"
        )

    def sqlite(self) -> str:
        marks = ", ".join("?" for _ in self.columns)
        names = ", ".join(self.columns)
        return f"INSERT INTO {self.name} ({names}) VALUES ({marks}) {self._conflict()}"

    def _conflict(self) -> str:
        if not self.update:
            return "ON CONFLICT DO NOTHING"
        new = ", ".join(f"excluded.{name.strip()}" for name in self.update.split(","))
        values = ", ".join(
            f"{name.strip()} = excluded.{name.strip()}" for name in self.update.split(",")
        )
        condition = ""
        if "step" in self.update:
            old = ", ".join(f"{self.name}.{name.strip()}" for name in self.update.split(","))
            condition = f" WHERE ({new}) > ({old})"
        return f"ON CONFLICT ({self.key}) DO UPDATE SET {values}{condition}"


_POINT: Final = {
    "run_uuid": "text",
    "key": "text",
    "step": "int8",
    "timestamp": "int8",
    "value": "float8",
    "is_nan": "bool",
}
METRICS: Final = Table("metrics", _POINT)
LATEST: Final = Table("latest_metrics", _POINT, "key, run_uuid", "step, timestamp, value")
PARAMS: Final = Table("params", {"run_uuid": "text", "key": "text", "value": "text"})
TAGS: Final = Table(
    "tags", {"run_uuid": "text", "key": "text", "value": "text"}, "key, run_uuid", "value"
)
RUNS: Final = Table(
    "runs",
    {
        "run_uuid": "text",
        "name": "text",
        "source_type": "text",
        "user_id": "text",
        "status": "text",
        "start_time": "int8",
        "lifecycle_stage": "text",
        "artifact_uri": "text",
        "experiment_id": "int4",
    },
)


def tables_of(writes: Writes) -> list[Table]:
    if writes.target is Target.NEW_RUNS:
        return [RUNS, TAGS]
    chosen = [METRICS, LATEST] if writes.metrics else []
    chosen += [PARAMS] if writes.params else []
    return chosen + ([TAGS] if writes.tags else [])


def postgres_statement(tables: list[Table]) -> str:
    """Return one statement for all tables: the last INSERT is the main one, others are in WITH."""
    texts, first = [], 1
    for table in tables:
        texts.append(table.postgres(first))
        first += len(table.columns)
    chain = ", ".join(f"w{i} AS ({text})" for i, text in enumerate(texts[:-1]))
    return f"WITH {chain} {texts[-1]}" if chain else texts[-1]


class Rows:
    """The columns of a group of requests, by table, different for every group."""

    def __init__(self, writes: Writes, users: int) -> None:
        self._writes = writes
        self._users = users
        self._numbers = count(1)

    def run_of(self, user: int, number: int) -> str:
        target = self._writes.target
        if target is Target.SHARED_RUN:
            return seeds.run_id(PROBE_SET, 0)
        if target is Target.OWN_RUNS:
            return seeds.run_id(PROBE_SET, user)
        batches = max(1, PARAMS_PER_RUN // max(1, self._writes.params))
        per_user = number // self._users // batches
        return seeds.run_id(PROBE_SET, (per_user * self._users + user) % seeds.POOL_WARMUP_RUNS)

    def group(self, members: range) -> Columns:
        """Return the columns for one request of each of `members`, in the order of the tables."""
        number = next(self._numbers)
        if self._writes.target is Target.NEW_RUNS:
            return self._new_runs(members, number)
        columns: Columns = []
        runs = {user: self.run_of(user, number * len(members)) for user in members}
        if self._writes.metrics:
            columns += self._points(runs, number, self._writes.metrics)
            newest = {run: user for user, run in runs.items()}
            columns += self._points({u: r for r, u in newest.items()}, number, self._writes.metrics)
        for name, size in (("param", self._writes.params), ("tag", self._writes.tags)):
            if size:
                columns += self._texts(runs, name, size, number)
        return columns

    def _points(self, runs: dict[int, str], number: int, size: int) -> Columns:
        total = size * len(runs)
        stamp = seeds.START_MS + number
        return [
            [run for run in runs.values() for _ in range(size)],
            [f"metric_{i}" for i in range(size)] * len(runs),
            [number] * total,
            [stamp] * total,
            [number + user / 64 + i / 1e6 for user in runs for i in range(size)],
            [False] * total,
        ]

    def _texts(self, runs: dict[int, str], name: str, size: int, number: int) -> Columns:
        mark = f"{number:x}" if name == "param" else ""
        made: dict[tuple[str, str], str] = {}
        for user, run in runs.items():
            for i in range(size):
                key = f"{name}_{user}_{mark}_{i}" if mark else f"{name}_{i}"
                made[run, key] = f"value {i} at {number}"
        return [[run for run, _ in made], [key for _, key in made], list(made.values())]

    def _new_runs(self, members: range, number: int) -> Columns:
        ids = [f"{PROBE_SET}{user:08x}{number:022x}" for user in members]
        size = len(ids)
        runs: Columns = [
            ids,
            [f"run-{number}"] * size,
            ["UNKNOWN"] * size,
            [""] * size,
            ["RUNNING"] * size,
            [seeds.START_MS] * size,
            ["active"] * size,
            [f"mlflow-artifacts:/{PROBE_EXPERIMENT}/{run}/artifacts" for run in ids],
            [PROBE_EXPERIMENT] * size,
        ]
        names = ["mlflow.user", "mlflow.runName", "mlflow.source.name"]
        tags: Columns = [[run for run in ids for _ in names], names * size, ["k6"] * 3 * size]
        return runs + tags


@dataclass(frozen=True)
class Probe:
    """Result of one shape; `requests` is the number that a server would have answered."""

    shape: str
    requests_per_s: float
    rows_per_s: float
    commits_per_s: float
    client_cpu_s_per_1000: float
    database_cpu_s_per_1000: float | None


def _measured(
    shape: str,
    writes: Writes,
    per_commit: int,
    pid: int | None,
    work: Callable[[], tuple[int, float]],
) -> Probe:
    own, database = own_cpu_s(), cpu_s(pid)
    commits, seconds = work()
    requests = commits * per_commit
    own, spent = own_cpu_s() - own, cpu_s(pid)
    thousand = max(requests, 1) / 1000
    return Probe(
        shape,
        requests / seconds,
        requests * writes.rows / seconds,
        commits / seconds,
        own / thousand,
        None if spent is None or database is None else (spent - database) / thousand,
    )


async def _write_postgres(
    uri: str, writes: Writes, users: int, connections: int, seconds: float
) -> tuple[int, float]:
    statement = postgres_statement(tables_of(writes))
    rows = Rows(writes, users)
    size = users // connections
    pool = [await asyncpg.connect(uri) for _ in range(connections)]
    prepared = [await connection.prepare(statement) for connection in pool]
    began = time.perf_counter()

    async def one(index: int) -> int:
        members = range(index * size, (index + 1) * size)
        commits = 0
        while time.perf_counter() - began < seconds:
            await prepared[index].fetch(*rows.group(members))
            commits += 1
        return commits

    try:
        commits = sum(await asyncio.gather(*(one(i) for i in range(connections))))
        return commits, time.perf_counter() - began
    finally:
        for connection in pool:
            await connection.close()


def _run_postgres(
    uri: str, writes: Writes, users: int, connections: int, seconds: float
) -> tuple[int, float]:
    return asyncio.run(_write_postgres(uri, writes, users, connections, seconds))


def _write_sqlite(
    uri: str, writes: Writes, users: int, per_commit: int, seconds: float
) -> tuple[int, float]:
    path = uri.removeprefix("sqlite:///")
    texts = [(table.sqlite(), len(table.columns)) for table in tables_of(writes)]
    rows = Rows(writes, users)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        began = time.perf_counter()
        commits = 0
        while time.perf_counter() - began < seconds:
            first = commits * per_commit % users
            columns = iter(rows.group(range(first, first + per_commit)))
            connection.execute("BEGIN IMMEDIATE")
            for text, width in texts:
                connection.executemany(text, _transposed(columns, width))
            connection.execute("COMMIT")
            commits += 1
        return commits, time.perf_counter() - began


def _transposed(columns: Iterator[list[Any]], width: int) -> Iterator[tuple[Any, ...]]:
    return zip(*(next(columns) for _ in range(width)), strict=True)


def prepare_statements(postgres: bool) -> list[str]:
    """The experiment and the runs that the probe writes to."""
    dialect = seeds.Dialect(postgres=postgres)
    return seeds.probe_statements(dialect, PROBE_SET, PROBE_EXPERIMENT)


def run_probe(case: Case, uri: str, pid: int | None, seconds: float) -> list[Probe]:
    """Run every shape for `seconds`, on a database filled by `prepare_statements`."""
    writes, users = case.writes, case.users
    assert writes is not None
    found = []
    if uri.startswith("sqlite"):
        for size in (1, users):
            shape = "each" if size == 1 else f"grouped by {size}"
            work = partial(_write_sqlite, uri, writes, users, size, seconds)
            found.append(_measured(shape, writes, size, None, work))
        return found
    for connections in (users, 2, 1):
        size = users // connections
        several = f"grouped by {size}, {connections} connection" + "s" * (connections > 1)
        shape = f"each, {connections} connections" if size == 1 else several
        work = partial(_run_postgres, uri, writes, users, connections, seconds)
        found.append(_measured(shape, writes, size, pid, work))
    return found
