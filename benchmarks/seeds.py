"""The data that exists before a case is measured: runs to search, long metrics, empty runs.

Written with SQL alone, on PostgreSQL and SQLite, in MLflow's tables and in those of FastTrackML, so
that every server reads the same rows. k6/seeds.js creates the same runs through the API.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

from benchmarks import catalog_seeds, trace_seeds

METRICS_PER_RUN: Final = 10
PARAMS_PER_RUN: Final = 10
# Values look random and are the same on every database.
PRIME: Final = 10007
START_MS: Final = 1_700_000_000_000

SMALL_RUNS: Final = 1_000
LARGE_RUNS: Final = 100_000
EXPERIMENTS: Final = 200
HISTORY_POINTS: Final = 10_000
LONG_POINTS: Final = 1_000_000
POOL_SEGMENT_RUNS: Final = 20_000
POOL_WARMUP_RUNS: Final = 2_000
POOL_SEGMENTS: Final = 3
POOL_RUNS: Final = POOL_WARMUP_RUNS + POOL_SEGMENTS * POOL_SEGMENT_RUNS

# Far above the ids that a server assigns in a benchmark.
SMALL_EXPERIMENT: Final = 900_001
LARGE_EXPERIMENT: Final = 900_002
HISTORY_EXPERIMENT: Final = 900_003
POOL_EXPERIMENT: Final = 900_004
LISTED_EXPERIMENTS: Final = 910_000
LISTED_PREFIX: Final = "seeded-"

# Two hex digits identify a set of runs, thirty number its runs (seededRun in k6/runs.js).
SMALL_SET: Final = "5a"
LARGE_SET: Final = "1a"
HISTORY_SET: Final = "41"
POOL_SET: Final = "b0"


class Seed(Enum):
    """A part of the data; a case lists the parts that it needs."""

    SMALL_RUNS = "1,000 runs"
    LARGE_RUNS = "100,000 runs"
    EXPERIMENTS = "200 experiments"
    HISTORY = "a metric of 10,000 points"
    LONG_HISTORY = "a metric of 1,000,000 points"
    POOL = "empty runs"
    TRACES = "10,000 traces of 10 spans"
    MANY_TRACES = "50,000 traces of 10 spans"
    MODELS = "1,000 registered models and 1,000 versions"
    LOGGED_MODELS = "1,000 logged models"


class Needs(Enum):
    """Tables that not every server has."""

    REGISTRY = "registered models"
    MLFLOW_3 = "traces of spans, and logged models"


NEEDS: Final = {
    Seed.TRACES: Needs.MLFLOW_3,
    Seed.MANY_TRACES: Needs.MLFLOW_3,
    Seed.MODELS: Needs.REGISTRY,
    Seed.LOGGED_MODELS: Needs.MLFLOW_3,
}


def offered(seeds: frozenset[Seed], offers: frozenset[Needs]) -> frozenset[Seed]:
    """Return the seeds for which a server has the tables."""
    return frozenset(seed for seed in seeds if NEEDS.get(seed) in (None, *offers))


def run_id(run_set: str, index: int) -> str:
    return f"{run_set}{index:030x}"


HISTORY_RUN: Final = run_id(HISTORY_SET, 0)
LONG_RUN: Final = run_id(HISTORY_SET, 1)


@dataclass(frozen=True)
class Dialect:
    """The expressions that differ between databases and between the servers' tables."""

    postgres: bool
    fasttrackml: bool = False

    def series(self, count: int) -> str:
        """Return a table expression `n(i)` with the numbers 0 .. count-1."""
        if self.postgres:
            return f"generate_series(0, {count - 1}) AS n(i)"
        return (
            f"(WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n"
            f" WHERE i < {count - 1}) SELECT i FROM n) AS n"
        )

    def hex_id(self, run_set: str, number: str = "i") -> str:
        form = f"lpad(to_hex({number}), 30, '0')" if self.postgres else f"printf('%030x', {number})"
        return f"'{run_set}' || {form}"

    def big(self, number: str = "i") -> str:
        return f"{number}::bigint" if self.postgres else number

    @property
    def false(self) -> str:
        return "false" if self.postgres else "0"

    def insert(self, table: str, columns: dict[str, str], source: str) -> str:
        """Return INSERT … SELECT, with FastTrackML's additional columns if needed."""
        if self.fasttrackml:
            extra = {
                "experiments": {"namespace_id": "1"},
                "runs": {"row_num": "i"},
                "metrics": {"context_id": "1", "iter": "1"},
                "latest_metrics": {"context_id": "1", "last_iter": "1"},
            }
            columns = columns | extra.get(table, {})
            if table == "params":
                columns["value_str"] = columns.pop("value")
        names = ", ".join(columns)
        return f"INSERT INTO {table} ({names}) SELECT {', '.join(columns.values())} FROM {source}"


def experiment_row(d: Dialect, number: str, name: str, count: int = 1) -> str:
    columns = {
        "experiment_id": number,
        "name": name,
        "artifact_location": f"'mlflow-artifacts:/' || ({number})",
        "lifecycle_stage": "'active'",
        "creation_time": str(START_MS),
        "last_update_time": str(START_MS),
    }
    return d.insert("experiments", columns, d.series(count))


def _runs(d: Dialect, run_set: str, experiment: int, count: int) -> list[str]:
    """Rows of `runs` and their names, without metrics or params."""
    key = d.hex_id(run_set)
    runs = {
        "run_uuid": key,
        "name": "'run-' || i",
        "source_type": "'UNKNOWN'",
        "source_name": "''",
        "entry_point_name": "''",
        "user_id": "'seed'",
        "status": "'RUNNING'",
        "start_time": f"{START_MS} + i",
        "source_version": "''",
        "lifecycle_stage": "'active'",
        "artifact_uri": f"'mlflow-artifacts:/{experiment}/' || {key} || '/artifacts'",
        "experiment_id": str(experiment),
    }
    name = {"run_uuid": key, "key": "'mlflow.runName'", "value": "'run-' || i"}
    series = d.series(count)
    return [d.insert("runs", runs, series), d.insert("tags", name, series)]


def _metric_values() -> dict[str, str]:
    named = {"loss": f"((i * 7919) % {PRIME}) / {PRIME}.0"}
    named["accuracy"] = f"((i * 104729) % {PRIME}) / {PRIME}.0"
    more = {f"metric_{k}": f"i / {k + 1}.0" for k in range(2, METRICS_PER_RUN)}
    return named | more


def _param_values(count: int) -> dict[str, str]:
    named = {
        "optimizer": "CASE WHEN i % 2 = 0 THEN 'adam' ELSE 'sgd' END",
        "group": f"'g' || (i % {max(1, count // 100)})",
    }
    more = {f"param_{k}": f"'value ' || (i % 17) || ' of param {k}'" for k in range(2, 10)}
    return named | more


def _searched_runs(d: Dialect, run_set: str, experiment: int, count: int) -> list[str]:
    statements = [
        experiment_row(d, str(experiment), f"'searched-{count}'"),
        *_runs(d, run_set, experiment, count),
    ]
    # i * 104729 does not fit into 32 bits.
    series = f"(SELECT {d.big()} AS i FROM {d.series(count)}) AS m"
    key = d.hex_id(run_set)
    for name, value in _metric_values().items():
        row = {
            "run_uuid": key,
            "key": f"'{name}'",
            "value": value,
            "timestamp": f"{START_MS} + i",
            "step": "i % 100",
            "is_nan": d.false,
        }
        statements += [d.insert(table, row, series) for table in ("metrics", "latest_metrics")]
    for name, value in _param_values(count).items():
        row = {"run_uuid": key, "key": f"'{name}'", "value": value}
        statements.append(d.insert("params", row, series))
    tags = {
        "mlflow.user": "'seed'",
        "mlflow.source.name": "'train.py'",
        "team": "'team ' || (i % 7)",
        "stage": "'seeded'",
    }
    for name, value in tags.items():
        row = {"run_uuid": key, "key": f"'{name}'", "value": value}
        statements.append(d.insert("tags", row, series))
    return statements


def _history(d: Dialect, run: str, points: int) -> list[str]:
    row = {
        "run_uuid": f"'{run}'",
        "key": "'loss'",
        "value": "1.0 / (i + 1)",
        "timestamp": f"{START_MS} + i",
        "step": "i",
        "is_nan": d.false,
    }
    last = f"(SELECT {points - 1} AS i) AS n"
    return [
        d.insert("metrics", row, d.series(points)),
        d.insert("latest_metrics", row, last),
    ]


def statements(seeds: frozenset[Seed], d: Dialect) -> list[str]:
    """Return the SQL that writes `seeds`, in an order that foreign keys allow."""
    made: list[str] = []
    if Seed.SMALL_RUNS in seeds:
        made += _searched_runs(d, SMALL_SET, SMALL_EXPERIMENT, SMALL_RUNS)
    if Seed.LARGE_RUNS in seeds:
        made += _searched_runs(d, LARGE_SET, LARGE_EXPERIMENT, LARGE_RUNS)
    if Seed.EXPERIMENTS in seeds:
        listed = f"'{LISTED_PREFIX}' || i"
        made.append(experiment_row(d, f"{LISTED_EXPERIMENTS} + i", listed, EXPERIMENTS))
    if seeds & {Seed.HISTORY, Seed.LONG_HISTORY}:
        made.append(experiment_row(d, str(HISTORY_EXPERIMENT), "'history'"))
        made += _runs(d, HISTORY_SET, HISTORY_EXPERIMENT, 2)
    if Seed.HISTORY in seeds:
        made += _history(d, HISTORY_RUN, HISTORY_POINTS)
    if Seed.LONG_HISTORY in seeds:
        made += _history(d, LONG_RUN, LONG_POINTS)
    if Seed.POOL in seeds:
        made.append(experiment_row(d, str(POOL_EXPERIMENT), "'pool'"))
        made += _runs(d, POOL_SET, POOL_EXPERIMENT, POOL_RUNS)
    if Seed.TRACES in seeds:
        made.append(experiment_row(d, str(trace_seeds.EXPERIMENT), "'traces'"))
        made += trace_seeds.statements(d)
    if Seed.MANY_TRACES in seeds:
        made.append(experiment_row(d, str(trace_seeds.MANY_EXPERIMENT), "'many traces'"))
        made += trace_seeds.many_statements(d)
    if Seed.MODELS in seeds:
        made += catalog_seeds.models(d, catalog_seeds.ROWS)
    if Seed.LOGGED_MODELS in seeds:
        made.append(experiment_row(d, str(catalog_seeds.LOGGED_EXPERIMENT), "'logged models'"))
        made += catalog_seeds.logged_models(d, catalog_seeds.ROWS)
    return made


def pool_segment(segment: int) -> tuple[int, int]:
    """Return the first run and the number of runs of a case's part of the pool."""
    return POOL_WARMUP_RUNS + segment * POOL_SEGMENT_RUNS, POOL_SEGMENT_RUNS


def history_statements(d: Dialect, points: int) -> list[str]:
    """Return the SQL for LONG_RUN, a run with one metric of `points` points."""
    return [
        experiment_row(d, str(HISTORY_EXPERIMENT), "'history'"),
        *_runs(d, HISTORY_SET, HISTORY_EXPERIMENT, 2),
        *_history(d, LONG_RUN, points),
    ]


def probe_statements(d: Dialect, run_set: str, experiment: int) -> list[str]:
    """An experiment with empty runs for the raw-database probe to write to."""
    return [
        experiment_row(d, str(experiment), "'probe'"),
        *_runs(d, run_set, experiment, POOL_WARMUP_RUNS),
    ]
