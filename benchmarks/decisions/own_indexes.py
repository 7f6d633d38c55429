"""CPU time of searches with and without indexes of our own, and the bytes of these indexes.

    python -m benchmarks.decisions.own_indexes postgresql://postgres@localhost/scratch small
    python -m benchmarks.decisions.own_indexes sqlite:////var/tmp/scratch.db large --shipped

The scales: `small` has 1,000 runs and 1,000 of everything else, `large` 100,000, `million` 1,000,000
runs of which 1,000 are in the experiment that is searched. The database must be empty; it is filled
once. Each candidate is measured by itself, and then all that headrace ships; `--shipped` omits the
candidates. The figures are CPU-ms of the process that runs the statement (a backend of PostgreSQL on this
machine, or this process with SQLite), the least of 9 answers.
"""

from __future__ import annotations

import asyncio
import random
import sqlite3
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import asyncpg

from headrace import search
from headrace.api.tracking.experiments import sql as experiments
from headrace.db.schema import indexes
from headrace.db.sql import statement
from headrace.db.upkeep import schema
from headrace.db.uri import parse

if TYPE_CHECKING:
    from collections.abc import Callable

    from headrace.db.base import Dialect

ANSWERS: Final = 9
OTHERS: Final = 200  # experiments that share the runs that are not searched


class Scale(NamedTuple):
    """Runs in all, runs in the experiment that is searched, rows of everything else."""

    runs: int
    searched: int
    rows: int


SCALES: Final = {
    "small": Scale(1_000, 1_000, 1_000),
    "large": Scale(100_000, 100_000, 100_000),
    "million": Scale(1_000_000, 1_000, 1_000),
}
# The experiments that are searched have a number above those of OTHERS and of the listed ones.
SEARCHED: Final = 1_000_000
CANDIDATES: Final = {
    "runs page": {
        "postgres": "runs (experiment_id, start_time NULLS FIRST, run_uuid DESC)",
        "sqlite": "runs (experiment_id, start_time, run_uuid DESC)",
    },
    "experiments page": "experiments (creation_time, experiment_id DESC)",
    "experiments by name": "experiments (name)",
    "models by time": "registered_models (workspace, last_updated_time, name DESC)",
    "versions page": "model_versions (workspace, last_updated_time, name DESC, version)",
    "versions by run": "model_versions (run_id)",
    "logged models page": "logged_models (experiment_id, creation_timestamp_ms, model_id DESC)",
    "latest metrics by value": "latest_metrics (key, value, run_uuid)",
}
Made = tuple[str, tuple[Any, ...]]


def page(make: Callable[..., search.Page], **arguments: Any) -> Callable[[Dialect], Made]:
    """A case: the statement of the first page of a search."""

    def made(dialect: Dialect) -> Made:
        arguments.setdefault("filter", None)
        arguments.setdefault("order_by", [])
        found = make(max_results=100, page_token=None, dialect=dialect, **arguments)
        return found.text, found.args

    return made


def runs(**arguments: Any) -> Callable[[Dialect], Made]:
    return page(search.runs_page, experiment_ids=[SEARCHED], stages=("active",), **arguments)


def logged_models(**arguments: Any) -> Callable[[Dialect], Made]:
    arguments = {"experiment_ids": [str(SEARCHED)], "datasets": [], **arguments}
    return page(search.logged_models_page, **arguments)


def by_name(dialect: Dialect) -> Made:
    found = experiments.BY_NAME
    return (found.postgres if dialect == "postgres" else found.sqlite) or "", ("experiment-77",)


CASES: Final = {
    "runs, newest": runs(),
    "runs, by metric": runs(order_by=["metrics.m0 DESC"]),
    "runs, metric and param": runs(
        filter="metrics.m0 > 0.5 AND params.p0 = 'x1'", order_by=["metrics.m1 DESC"]
    ),
    "runs, rare metric": runs(filter="metrics.m0 > 0.999"),
    "runs, status": runs(filter="attributes.status = 'RUNNING'"),
    "experiments, newest": page(search.experiments_page, stages=("active",)),
    "experiments, LIKE": page(
        search.experiments_page, stages=("active",), filter="name LIKE '%-77%'"
    ),
    "experiments, tag": page(
        search.experiments_page, stages=("active",), filter="tags.team = 't7'"
    ),
    "experiment by name": by_name,
    "models, first by name": page(search.registered_models_page),
    "models, newest": page(search.registered_models_page, order_by=["timestamp DESC"]),
    "models, LIKE": page(search.registered_models_page, filter="name LIKE '%-77%'"),
    "models, tag": page(search.registered_models_page, filter="tags.team = 't7'"),
    "versions, newest": page(search.model_versions_page),
    "versions of a model": page(search.model_versions_page, filter="name = 'model-77'"),
    "versions of a run": page(search.model_versions_page, filter=f"run_id = '{77:032x}'"),
    "versions, tag": page(search.model_versions_page, filter="tags.team = 't7'"),
    "logged models, newest": logged_models(),
    "logged models, name": logged_models(filter="name = 'net-77'"),
    "logged models, by metric": logged_models(
        order_by=[search.ModelSort("metrics.acc", False, None, None)]
    ),
    "logged models, param": logged_models(filter="params.lr = '0.07'"),
}


def rows_of(scale: Scale) -> dict[tuple[str, str], Any]:
    """Table and columns, with their rows."""
    start_ms, chance = 1_700_000_000_000, random.Random(7)
    listed = range(1, scale.rows)
    run_numbers = range(scale.runs)
    tags = ((n, n % 100) for n in listed)
    return {
        ("experiments", "experiment_id, name, artifact_location, lifecycle_stage, creation_time"): [
            (n, f"experiment-{n}", "s3://x", "active", start_ms + n * 7919 % 10**8) for n in listed
        ]
        + [(SEARCHED, "searched", "s3://x", "active", start_ms)],
        ("experiment_tags", "experiment_id, key, value"): [(n, "team", f"t{t}") for n, t in tags],
        (
            "runs",
            "run_uuid, name, user_id, status, start_time, lifecycle_stage, artifact_uri, experiment_id",
        ): (
            (
                f"{n:032x}",
                f"run-{n}",
                "u",
                "RUNNING" if n % 10 == 0 else "FINISHED",
                start_ms + n * 7919 % 10**8,
                "deleted" if n % 50 == 0 else "active",
                f"s3://bucket/{SEARCHED}/{n:032x}/artifacts",
                # The searched runs are spread over the table, as runs of many users are.
                SEARCHED if n % (scale.runs // scale.searched) == 0 else 1 + n % OTHERS,
            )
            for n in run_numbers
        ),
        ("latest_metrics", "key, value, timestamp, step, is_nan, run_uuid"): (
            (f"m{k}", chance.random(), 1, 0, False, f"{n:032x}")
            for n in run_numbers
            for k in (0, 1)
        ),
        ("params", "key, value, run_uuid"): (
            (f"p{k}", f"x{chance.randrange(20)}", f"{n:032x}") for n in run_numbers for k in (0, 1)
        ),
        ("registered_models", "name, creation_time, last_updated_time"): [
            (f"model-{n}", start_ms, start_ms + n * 7919 % 10**8) for n in listed
        ],
        ("registered_model_tags", "name, key, value"): [
            (f"model-{n}", "team", f"t{n % 100}") for n in listed
        ],
        (
            "model_versions",
            "name, version, creation_time, last_updated_time, current_stage, source, run_id, status",
        ): [
            (
                f"model-{1 + n % (scale.rows // 10)}",
                1 + n // (scale.rows // 10),
                start_ms,
                start_ms + n * 7919 % 10**8,
                "None",
                f"runs:/{n:032x}/model",
                f"{n:032x}",
                "READY",
            )
            for n in listed
        ],
        ("model_version_tags", "name, version, key, value"): [
            (
                f"model-{1 + n % (scale.rows // 10)}",
                1 + n // (scale.rows // 10),
                "team",
                f"t{n % 100}",
            )
            for n in listed
        ],
        (
            "logged_models",
            "model_id, experiment_id, name, artifact_location, creation_timestamp_ms,"
            " last_updated_timestamp_ms, status, lifecycle_stage, model_type, source_run_id",
        ): [
            (
                f"m-{n:032x}",
                SEARCHED,
                f"net-{n}",
                "s3://x",
                start_ms + n * 7919 % 10**8,
                start_ms,
                2,
                "active",
                "",
                f"{n % scale.runs:032x}",
            )
            for n in listed
        ],
        ("logged_model_params", "model_id, experiment_id, param_key, param_value"): [
            (f"m-{n:032x}", SEARCHED, "lr", f"0.{n % 100:02}") for n in listed
        ],
        (
            "logged_model_metrics",
            "model_id, metric_name, metric_timestamp_ms, metric_step, metric_value, experiment_id, run_id",
        ): [
            (f"m-{n:032x}", "acc", 1, 1, chance.random(), SEARCHED, f"{n % scale.runs:032x}")
            for n in listed
        ],
    }


class File:
    """A SQLite file."""

    dialect: Dialect = "sqlite"

    def __init__(self, path: str) -> None:
        self.connection = sqlite3.connect(path, isolation_level=None)
        self.connection.execute("PRAGMA case_sensitive_like = ON")

    async def fill(self, scale: Scale) -> None:
        """Write the rows."""
        self.connection.execute("BEGIN")
        for (table, columns), rows in rows_of(scale).items():
            places = ", ".join("?" * len(columns.split(",")))
            self.connection.executemany(f"INSERT INTO {table} ({columns}) VALUES ({places})", rows)
        self.connection.execute("COMMIT")

    async def execute(self, sql: str) -> None:
        self.connection.execute(sql)

    async def count(self, sql: str) -> int:
        return int(self.connection.execute(sql).fetchone()[0])

    async def size(self, index: str) -> int:
        """An estimate without the module dbstat: the growth of the file."""
        pages = "SELECT page_count - freelist_count FROM pragma_page_count, pragma_freelist_count"
        before = await self.count(pages)
        self.connection.execute(f"DROP INDEX {index}")
        return (before - await self.count(pages)) * 4096

    async def cpu_ms(self, sql: str, args: tuple[Any, ...]) -> float:
        start = time.process_time()
        self.connection.execute(statement(sql).sqlite or "", args).fetchall()
        return (time.process_time() - start) * 1000


class Server:
    """A database of PostgreSQL."""

    dialect: Dialect = "postgres"

    def __init__(self, connection: asyncpg.Connection) -> None:
        self.connection = connection
        self._clock = Path(f"/proc/{connection.get_server_pid()}/schedstat")

    async def fill(self, scale: Scale) -> None:
        for (table, columns), rows in rows_of(scale).items():
            names = columns.replace(" ", "").split(",")
            await self.connection.copy_records_to_table(table, records=rows, columns=names)
        await self.connection.execute("VACUUM ANALYZE")

    async def execute(self, sql: str) -> None:
        await self.connection.execute(sql)

    async def count(self, sql: str) -> int:
        return int(await self.connection.fetchval(sql))

    async def size(self, index: str) -> int:
        found = await self.connection.fetchval(f"SELECT pg_relation_size('{index}')")
        await self.connection.execute(f"DROP INDEX {index}")
        return int(found)

    async def cpu_ms(self, sql: str, args: tuple[Any, ...]) -> float:
        before = int(self._clock.read_text().split()[0])
        await self.connection.fetch(statement(sql).postgres, *args)
        return (int(self._clock.read_text().split()[0]) - before) / 1e6


async def measured(database: File | Server) -> dict[str, float]:
    """The least CPU-ms of each case."""
    found = {}
    for name, case in CASES.items():
        sql, args = case(database.dialect)
        await database.cpu_ms(sql, args)
        times = [await database.cpu_ms(sql, args) for _ in range(ANSWERS)]
        found[name] = min(times)
    return found


async def run(database: File | Server, scale: Scale, candidates: dict[str, Any]) -> None:
    for name in ("scratch", *(index.name for index in indexes.ALL)):
        await database.execute(f"DROP INDEX IF EXISTS {name}")
    if not await database.count("SELECT count(*) FROM runs"):
        await database.fill(scale)
    columns = {"none": await measured(database)}
    sizes = {}
    for name, text in candidates.items():
        on = text if isinstance(text, str) else text[database.dialect]
        await database.execute(f"CREATE INDEX scratch ON {on}")
        if database.dialect == "postgres":
            await database.execute(f"ANALYZE {on.partition(' ')[0]}")
        columns[name] = await measured(database)
        sizes[name] = await database.size("scratch")
    for index in indexes.TUNED:
        if index.text(database.dialect):
            await database.execute(index.statement(database.dialect))
    columns["all of headrace"] = await measured(database)
    print("| case | without | with an index that changes it by more than 30 % |")  # noqa: T201
    for case, plain in columns["none"].items():
        changed = [
            f"{name}: {found[case]:.2f}"
            for name, found in columns.items()
            if max(found[case] / plain, plain / found[case]) > 1.3
        ]
        print(f"| {case} | {plain:.2f} | {', '.join(changed)} |")  # noqa: T201
    print({name: f"{size / 1e6:.2f} MB" for name, size in sizes.items()})  # noqa: T201


async def main(uri: str, scale: str, shipped: str = "") -> None:
    """Fill the database if it is empty, measure, and print a table. `shipped`: any text or none."""
    target = parse(uri)
    candidates = {} if shipped else CANDIDATES
    if target.dialect == "sqlite":
        await run(File(target.path), SCALES[scale], candidates)
        return
    settings = {
        "plan_cache_mode": "force_custom_plan",
        "jit": "off",
        "max_parallel_workers_per_gather": "0",
    }
    connection = await asyncpg.connect(uri, server_settings=settings)
    await run(Server(connection), SCALES[scale], candidates)
    await connection.close()


if __name__ == "__main__":
    schema.init(sys.argv[1])
    asyncio.run(main(*sys.argv[1:]))
