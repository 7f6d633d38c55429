"""Rows to search in: a few dozen of everything, drawn from pools of awkward values.

The same rows go into SQLite and PostgreSQL, so that every search can be asked of both. The pools are
what filters are generated from, so that conditions match some rows and not others.
"""

from __future__ import annotations

import asyncio
import random
import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from math import isnan
from typing import TYPE_CHECKING, Any, Final

import asyncpg

from headrace.db.schema import sqlite as schema
from headrace.db.sqlite import connection as sqlite
from headrace.db.statements import statement

if TYPE_CHECKING:
    from headrace.search import Page

NAN: Final = float("nan")
BIGGEST: Final = 1.7976931348623157e308
# fmt: off
TEXTS: Final = (
    "", "a", "A", "ab", "aB", "a%b", "a_b", "100%", "_", "it's", 'say "hi"', " a", "a ", "é", "É",
    "ß", "日本", "\N{MATHEMATICAL FRAKTUR CAPITAL U}", "null", "1", "0.1", "a\nb", "a\\b", "--x",
    "a;b", "(a)", "`", "abcabc",
)
# fmt: on
NUMBERS: Final = (0.0, -0.0, 0.1, 0.5, 1.0, -1.0, 1e-300, 1e300, BIGGEST, -BIGGEST, 2.0, NAN)
TIMES: Final = (0, 1, 5, 5, 1700000000000, 1700000000001, 2**53 + 1, 2**62)
KEYS: Final = ("k", "K", "a.b", "a b", "é", "k%", "1", "order", "it's", "rare")
STATUSES: Final = ("RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED")
NAMES: Final = ("iris", "Iris", "a%b", "wine", "é")
DIGESTS: Final = ("d1", "d2", "D1")
CONTEXTS: Final = ("train", "Train", "eval")
EXPERIMENTS: Final = (1, 2)
RUNS: Final = 60


@dataclass
class Run:
    """One run with all that a filter can see of it."""

    run_id: str
    name: str
    user_id: str
    status: str
    start_time: int
    end_time: int | None
    artifact_uri: str
    stage: str
    experiment_id: int
    metrics: dict[str, float] = field(default_factory=dict)
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    datasets: list[tuple[str, str, str | None]] = field(default_factory=list)


@dataclass
class Experiment:
    """One experiment with all that a filter can see of it."""

    experiment_id: int
    name: str
    stage: str
    creation_time: int
    last_update_time: int
    tags: dict[str, str] = field(default_factory=dict)


def some(source: random.Random, values: tuple[Any, ...]) -> dict[str, Any]:
    """A few keys with values from a pool."""
    keys = source.sample(KEYS[:-1], source.randrange(len(KEYS) - 2))
    if source.random() < 0.1:
        keys.append("rare")
    return {key: source.choice(values) for key in keys}


def runs(seed: int = 7) -> list[Run]:
    """The runs, in the order in which they are written."""
    source = random.Random(seed)
    found = []
    for _ in range(RUNS):
        name = source.choice(TEXTS)
        run = Run(
            run_id=f"{source.getrandbits(128):032x}",
            name=name,
            user_id=source.choice(TEXTS),
            status=source.choice(STATUSES),
            start_time=source.choice(TIMES),
            end_time=source.choice((None, *TIMES)),
            artifact_uri=f"s3://{source.choice(TEXTS)}/x",
            stage=source.choice(("active", "active", "deleted")),
            experiment_id=source.choice(EXPERIMENTS),
            metrics=some(source, NUMBERS),
            params=some(source, TEXTS),
            tags=some(source, TEXTS) | {"mlflow.runName": name},
        )
        for _ in range(source.choice((0, 0, 1, 2))):
            dataset = (source.choice(NAMES), source.choice(DIGESTS))
            if dataset not in [known[:2] for known in run.datasets]:
                run.datasets.append((*dataset, source.choice((None, *CONTEXTS))))
        found.append(run)
    return found


def experiments(seed: int = 8) -> list[Experiment]:
    """Experiments 1 to 12; names differ, as the table demands."""
    source = random.Random(seed)
    return [
        Experiment(
            experiment_id=number,
            name=f"{TEXTS[number]}{number % 3}",
            stage="deleted" if number % 5 == 0 else "active",
            creation_time=source.choice(TIMES),
            last_update_time=source.choice(TIMES),
            tags=some(source, TEXTS),
        )
        for number in range(1, 13)
    ]


Tables = dict[str, tuple[tuple[str, ...], list[tuple[Any, ...]]]]


def named(columns: str) -> tuple[str, ...]:
    """Names from a text."""
    return tuple(columns.split())


def tables() -> Tables:
    """Columns and rows by table, parents first."""
    return _experiment_tables() | _run_tables() | _registry_tables() | _logged_model_tables()


def _experiment_tables() -> Tables:
    found = experiments()
    return {
        "experiments": (
            named(
                "experiment_id name artifact_location lifecycle_stage creation_time last_update_time"
            ),
            [
                (e.experiment_id, e.name, "s3://x", e.stage, e.creation_time, e.last_update_time)
                for e in found
            ],
        ),
        "experiment_tags": (
            named("key value experiment_id"),
            [(key, value, e.experiment_id) for e in found for key, value in e.tags.items()],
        ),
    }


def _run_tables() -> Tables:
    found = runs()
    datasets: dict[tuple[int, str, str], str] = {}
    inputs, input_tags = [], []
    for run in found:
        for name, digest, context in run.datasets:
            known = (run.experiment_id, name, digest)
            dataset = datasets.setdefault(known, f"{len(datasets):032x}")
            edge = f"{len(inputs):032x}"
            inputs.append((edge, "DATASET", dataset, "RUN", run.run_id, 0))
            if context is not None:
                input_tags.append((edge, "mlflow.data.context", context))
            input_tags.append((edge, "other", "train"))
    return {
        "runs": (
            named(
                "run_uuid name user_id status start_time end_time artifact_uri lifecycle_stage"
                " experiment_id source_type"
            ),
            [
                (
                    r.run_id,
                    r.name,
                    r.user_id,
                    r.status,
                    r.start_time,
                    r.end_time,
                    r.artifact_uri,
                    r.stage,
                    r.experiment_id,
                    "UNKNOWN",
                )
                for r in found
            ],
        ),
        "latest_metrics": (
            named("key value timestamp step is_nan run_uuid"),
            [
                (key, 0.0 if isnan(value) else value, 1, 0, isnan(value), r.run_id)
                for r in found
                for key, value in r.metrics.items()
            ],
        ),
        "params": (
            named("key value run_uuid"),
            [(key, value, r.run_id) for r in found for key, value in r.params.items()],
        ),
        "tags": (
            named("key value run_uuid"),
            [(key, value, r.run_id) for r in found for key, value in r.tags.items()],
        ),
        "datasets": (
            named("dataset_uuid experiment_id name digest dataset_source_type dataset_source"),
            [(uuid, *known, "", "") for known, uuid in datasets.items()],
        ),
        "inputs": (
            named("input_uuid source_type source_id destination_type destination_id step"),
            inputs,
        ),
        "input_tags": (named("input_uuid name value"), input_tags),
    }


def _registry_tables() -> Tables:
    source = random.Random(9)
    names = [f"model {text}" for text in ("a", "A", "b%", "it's", "é", "x_y", "p1", "p2")]
    prompt = ("mlflow.prompt.is_prompt", "true")
    model_tags = [
        (*tag, name)
        for name in names
        for tag in [*some(source, TEXTS).items(), *([prompt] if name[6] == "p" else [])]
    ]
    versions = [
        (
            name,
            number,
            source.choice(TIMES),
            source.choice(TIMES),
            stage,
            source.choice(TEXTS),
            source.choice(("", "r1", "r2")),
        )
        for name in names
        for number, stage in enumerate(("None", "Production", "Deleted_Internal", "None"), 1)
    ]
    version_tags = [
        (*tag, name, number)
        for name, number, *_ in versions
        for tag in [*some(source, TEXTS).items(), *([prompt] if name[6] == "p" else [])]
    ]
    return {
        "registered_models": (
            named("name creation_time last_updated_time description"),
            [(name, source.choice(TIMES), source.choice(TIMES), "") for name in names],
        ),
        "registered_model_tags": (named("key value name"), model_tags),
        "model_versions": (
            named("name version creation_time last_updated_time current_stage source run_id"),
            versions,
        ),
        "model_version_tags": (named("key value name version"), version_tags),
    }


def _logged_model_tables() -> Tables:
    source = random.Random(10)
    run_ids = [run.run_id for run in runs()]
    models = [
        (
            f"m-{source.getrandbits(128):032x}",
            1 + number % 2,
            source.choice(TEXTS) or "empty",
            "s3://x",
            source.choice(TIMES),
            source.choice(TIMES),
            source.choice((1, 2, 3)),
            "deleted" if number % 7 == 0 else "active",
            source.choice((None, "sklearn", "Torch")),
        )
        for number in range(24)
    ]
    metrics = {
        (model[0], key, source.choice((1, 2)), source.choice((0, 1)), source.choice(run_ids)): (
            source.choice([number for number in NUMBERS if not isnan(number)]),
            model[1],
            *source.choice(((None, None), ("iris", "d1"), ("iris", "d2"), ("wine", "d2"))),
        )
        for model in models
        for key in source.sample(KEYS, 4)
        for _ in range(3)
    }
    return {
        "logged_models": (
            named(
                "model_id experiment_id name artifact_location creation_timestamp_ms"
                " last_updated_timestamp_ms status lifecycle_stage model_type"
            ),
            models,
        ),
        "logged_model_metrics": (
            named(
                "model_id metric_name metric_timestamp_ms metric_step run_id metric_value"
                " experiment_id dataset_name dataset_digest"
            ),
            [(*key, *value) for key, value in metrics.items()],
        ),
        "logged_model_params": (
            named("model_id experiment_id param_key param_value"),
            [(m[0], m[1], *pair) for m in models for pair in some(source, TEXTS).items()],
        ),
        "logged_model_tags": (
            named("model_id experiment_id tag_key tag_value"),
            [(m[0], m[1], *pair) for m in models for pair in some(source, TEXTS).items()],
        ),
    }


class SqliteSearch:
    """The population in an SQLite file."""

    dialect: Final = "sqlite"

    def __init__(self, path: str) -> None:
        with closing(sqlite.connect(path, read_only=False, synchronous="OFF")) as connection:
            schema.prepare(connection, path, "mlflow-artifacts:/0")
            connection.execute("BEGIN")
            for table, (columns, rows) in tables().items():
                holders = ", ".join("?" * len(columns))
                insert = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({holders})"
                connection.executemany(insert, rows)
            connection.execute("COMMIT")
        self.connection = sqlite.connect(path, read_only=True, synchronous="OFF")

    def rows(self, page: Page) -> list[tuple[Any, ...]]:
        """The rows that the page's statement returns."""
        return self.connection.execute(statement(page.text).sqlite, page.args).fetchall()

    def close(self) -> None:
        """Close the file."""
        self.connection.close()


class PostgresSearch:
    """The population in a PostgreSQL database that has MLflow's tables."""

    dialect: Final = "postgres"

    def __init__(self, uri: str) -> None:
        self.runner = asyncio.Runner()
        self.connection = self.runner.run(self._fill(uri))

    async def _fill(self, uri: str) -> asyncpg.Connection:
        connection = await asyncpg.connect(uri)
        for table, (columns, rows) in tables().items():
            await connection.copy_records_to_table(table, records=rows, columns=columns)
        return connection

    def rows(self, page: Page) -> list[tuple[Any, ...]]:
        """The rows that the page's statement returns."""
        found = self.runner.run(self.connection.fetch(statement(page.text).postgres, *page.args))
        return [tuple(row) for row in found]

    def close(self) -> None:
        """Close the connection and its loop."""
        self.runner.run(self.connection.close())
        self.runner.close()


Search = SqliteSearch | PostgresSearch
REFUSALS: Final = (sqlite3.Error, asyncpg.PostgresError)
