"""Random sequences of calls leave the same rows through MLflow's store and through headrace's."""

from __future__ import annotations

import re
import shutil
import sqlite3
import tempfile
import warnings
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    precondition,
    rule,
    run_state_machine_as_test,
)
from tests.fix_postgres import fresh_database

from headrace.client import engine

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # mlflow uses deprecated functions of its dependencies
    from mlflow.entities import (
        Dataset,
        DatasetInput,
        ExperimentTag,
        InputTag,
        Metric,
        Param,
        RunTag,
    )
    from mlflow.exceptions import MlflowException
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    from headrace.plugin.tracking_store import TrackingStore

if TYPE_CHECKING:
    from collections.abc import Iterator

# A call costs milliseconds, 300 of them a few seconds. Hypothesis takes pytest's timeout for a failure of the
# example that it interrupts, and reports it as flaky data: the limit must be out of a busy machine's reach.
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.timeout(900)]

NOW = 1_700_000_000_000
KEYS = st.sampled_from(["a", "b", "c/d", "bad\nkey", "../up", "k" * 251])
VALUES = st.sampled_from(["", "1", "2", "x" * 6001, "ü"])
NUMBERS = st.one_of(
    st.floats(), st.integers(-3, 3), st.sampled_from([float("nan"), float("inf"), True, "text"])
)
METRICS = st.builds(Metric, KEYS, NUMBERS, st.sampled_from([NOW, NOW + 1, -1]), st.integers(-1, 3))
STATUSES = st.one_of(st.none(), st.integers(1, 5))
FILTERS = st.sampled_from(
    ["", "metrics.a > 0", "params.a = '1'", "tags.b != '2'", "status = 'RUNNING'", "nonsense"]
)
# A database's own refusal: the driver's text, to which SQLAlchemy adds the statement; headrace's sentence instead.
DRIVER = re.compile(
    r"(?:\((?:sqlite3|psycopg2?|asyncpg)[\w.]*\)|The database (?:holds|rejected)\b).*", re.DOTALL
)
TABLES = {  # the compared columns, without times and random ids
    "experiments": "SELECT experiment_id, name, artifact_location, lifecycle_stage FROM experiments",
    "experiment_tags": "SELECT experiment_id, key, value FROM experiment_tags",
    "runs": "SELECT name, user_id, status, start_time, end_time, lifecycle_stage, experiment_id,"
    " deleted_time IS NULL, source_type, source_name, entry_point_name, source_version FROM runs",
    "metrics": "SELECT r.name, key, value, timestamp, step, is_nan FROM metrics JOIN runs r USING (run_uuid)",
    "latest_metrics": "SELECT r.name, key, value, timestamp, step, is_nan FROM latest_metrics"
    " JOIN runs r USING (run_uuid)",
    "params": "SELECT r.name, key, value FROM params JOIN runs r USING (run_uuid)",
    "tags": "SELECT r.name, key, value FROM tags JOIN runs r USING (run_uuid)",
    "inputs": "SELECT r.name, d.experiment_id, d.name, d.digest, d.dataset_source_type, t.name, t.value"
    " FROM inputs i JOIN runs r ON r.run_uuid = i.destination_id JOIN datasets d ON d.dataset_uuid = i.source_id"
    " LEFT JOIN input_tags t USING (input_uuid)",
}
CLEAR = (
    *(f"DELETE FROM {table}" for table in ("metrics", "latest_metrics", "params", "tags")),
    *(f"DELETE FROM {table}" for table in ("input_tags", "inputs", "datasets", "runs")),
    "DELETE FROM experiment_tags",
    "DELETE FROM experiments WHERE experiment_id <> 0",
    "UPDATE experiments SET name = 'Default', lifecycle_stage = 'active'",
)


class Databases:
    """A database with MLflow's store and one with headrace's, emptied before every example."""

    def __init__(self, uris: tuple[str, str]) -> None:
        self.uris = uris
        self.stores = (
            SqlAlchemyStore(uris[0], "s3://bucket"),
            TrackingStore(uris[1], "s3://bucket"),
        )

    def _connect(self, uri: str) -> Any:
        if uri.startswith("sqlite"):
            return closing(sqlite3.connect(uri.removeprefix("sqlite:///"), isolation_level=None))
        return psycopg.connect(uri, autocommit=True)

    def clear(self) -> None:
        for uri in self.uris:
            with self._connect(uri) as connection:
                for statement in CLEAR:
                    connection.execute(statement)
                if not uri.startswith("sqlite"):
                    connection.execute("ALTER SEQUENCE experiments_experiment_id_seq RESTART")

    def rows(self) -> list[dict[str, list[Any]]]:
        found = []
        for uri in self.uris:
            with self._connect(uri) as connection:
                found.append(
                    {
                        table: sorted(connection.execute(text).fetchall(), key=repr)
                        for table, text in TABLES.items()
                    }
                )
        return found

    def close(self) -> None:
        engine.close_all()
        for store in self.stores:
            store.engine.dispose()


@pytest.fixture
def databases(database: str, request: pytest.FixtureRequest) -> Iterator[Databases]:
    with ExitStack() as stack:
        if database == "postgres":
            server = request.getfixturevalue("postgres_server")
            template = request.getfixturevalue("postgres_template")
            uris = [stack.enter_context(fresh_database(server, template)) for _ in range(2)]
        else:
            # In memory if possible, because durability does not matter here.
            memory = "/dev/shm" if Path("/dev/shm").is_dir() else None
            directory = stack.enter_context(tempfile.TemporaryDirectory(dir=memory))
            first, second = Path(directory) / "stock.db", Path(directory) / "ours.db"
            SqlAlchemyStore(f"sqlite:///{first}", "s3://bucket").engine.dispose()
            shutil.copyfile(first, second)
            uris = [f"sqlite:///{first}", f"sqlite:///{second}"]
        both = Databases((uris[0], uris[1]))
        stack.callback(both.close)
        yield both


def shown(run: Any) -> tuple[Any, ...]:
    """The parts of a run that must be equal on both sides."""
    info, data = run.info, run.data
    return (
        (info.run_name, info.status, info.end_time, info.lifecycle_stage),
        *(sorted(part.items()) for part in (data.metrics, data.params, data.tags)),
        sorted((one.dataset.name, one.dataset.digest) for one in run.inputs.dataset_inputs),
    )


class Machine(RuleBasedStateMachine):
    """Each rule makes one call on both stores; outcomes are compared at once, rows at the end."""

    def __init__(self, databases: Databases) -> None:
        super().__init__()
        databases.clear()
        self.databases = databases
        self.runs: list[tuple[str, str]] = []
        self.experiments = ["0"]

    def both(self, method: str, *args: Any, run: int | None = None) -> list[Any]:
        outcomes: list[Any] = []
        results: list[Any] = []
        for side, store in enumerate(self.databases.stores):
            run_id = () if run is None else (self.runs[run % len(self.runs)][side],)
            try:
                results.append(getattr(store, method)(*run_id, *args))
                outcomes.append("done")
            except MlflowException as error:
                results.append(None)
                text = error.message
                for one in run_id:
                    text = text.replace(one, "<run>")
                outcomes.append((error.error_code, DRIVER.sub("<driver>", text)))
        assert outcomes[0] == outcomes[1], (method, args)
        return results

    @rule(name=st.sampled_from(["one", "two", "", "n" * 501]))
    def create_experiment(self, name: str) -> None:
        stock, ours = self.both("create_experiment", name)
        assert stock == ours
        if stock is not None:
            self.experiments.append(stock)

    @rule(n=st.integers(0, 3), verb=st.sampled_from(["delete_experiment", "restore_experiment"]))
    def stage_of_experiment(self, n: int, verb: str) -> None:
        self.both(verb, self.experiments[n % len(self.experiments)])

    @rule(n=st.integers(0, 3), name=st.sampled_from(["three", "four", ""]))
    def rename_experiment(self, n: int, name: str) -> None:
        self.both("rename_experiment", self.experiments[n % len(self.experiments)], f"{name}{n}")

    @rule(n=st.integers(0, 3), key=KEYS, value=VALUES)
    def tag_experiment(self, n: int, key: str, value: str) -> None:
        experiment = self.experiments[n % len(self.experiments)]
        self.both("set_experiment_tag", experiment, ExperimentTag(key, value))

    @rule(n=st.integers(0, 3), tags=st.dictionaries(st.sampled_from("abc"), VALUES))
    def create_run(self, n: int, tags: dict[str, str]) -> None:
        experiment = self.experiments[n % len(self.experiments)]
        entities = [RunTag(key, value) for key, value in tags.items()]
        name = f"run {len(self.runs)}"
        made = self.both("create_run", experiment, "me", NOW, entities, name)
        if made[0] is not None:
            self.runs.append((made[0].info.run_id, made[1].info.run_id))

    @precondition(lambda self: self.runs)
    @rule(run=st.integers(0, 3), metric=METRICS)
    def log_metric(self, run: int, metric: Metric) -> None:
        self.both("log_metric", metric, run=run)

    @precondition(lambda self: self.runs)
    @rule(
        run=st.integers(0, 3),
        metrics=st.lists(METRICS, max_size=5),
        params=st.dictionaries(KEYS, VALUES, max_size=2),
        tags=st.dictionaries(KEYS, VALUES, max_size=2),
    )
    def log_batch(
        self, run: int, metrics: list[Metric], params: dict[str, str], tags: dict[str, str]
    ) -> None:
        entities = [Param(k, v) for k, v in params.items()], [RunTag(k, v) for k, v in tags.items()]
        self.both("log_batch", metrics, *entities, run=run)

    @precondition(lambda self: self.runs)
    @rule(run=st.integers(0, 3), key=KEYS, value=VALUES)
    def log_param(self, run: int, key: str, value: str) -> None:
        self.both("log_param", Param(key, value), run=run)

    @precondition(lambda self: self.runs)
    @rule(run=st.integers(0, 3), key=KEYS, value=VALUES)
    def set_tag(self, run: int, key: str, value: str) -> None:
        self.both("set_tag", RunTag(key, value), run=run)

    @precondition(lambda self: self.runs)
    @rule(run=st.integers(0, 3), key=KEYS)
    def delete_tag(self, run: int, key: str) -> None:
        self.both("delete_tag", key, run=run)

    @precondition(lambda self: self.runs)
    @rule(run=st.integers(0, 3), status=STATUSES, end=st.one_of(st.none(), st.just(NOW + 9)))
    def update_run(self, run: int, status: int | None, end: int | None) -> None:
        self.both("update_run_info", status, end, None, run=run)

    @precondition(lambda self: self.runs)
    @rule(run=st.integers(0, 3), verb=st.sampled_from(["delete_run", "restore_run"]))
    def stage_of_run(self, run: int, verb: str) -> None:
        self.both(verb, run=run)

    @precondition(lambda self: self.runs)
    @rule(run=st.integers(0, 3), digest=st.sampled_from(["1", "2", ""]), tag=VALUES)
    def log_inputs(self, run: int, digest: str, tag: str) -> None:
        dataset = Dataset("d", digest, "local", "{}")
        self.both("log_inputs", [DatasetInput(dataset, [InputTag("context", tag)])], run=run)

    @precondition(lambda self: self.runs)
    @rule(run=st.integers(0, 3))
    def read(self, run: int) -> None:
        stock, ours = self.both("get_run", run=run)
        assert repr(shown(ours)) == repr(shown(stock))

    @rule(text=FILTERS, stages=st.integers(1, 3))
    def search(self, text: str, stages: int) -> None:
        order = ["attributes.run_name"]
        stock, ours = self.both("search_runs", self.experiments, text, stages, 100, order)
        if stock is not None:
            assert repr([*map(shown, ours)]) == repr([*map(shown, stock)])

    def teardown(self) -> None:
        stock, ours = self.databases.rows()
        assert ours == stock


def play(databases: Databases, examples: int) -> None:
    run_state_machine_as_test(
        lambda: Machine(databases),  # type: ignore[arg-type] # a factory will do
        settings=settings(
            max_examples=examples,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_random_sequences_leave_the_same(databases: Databases) -> None:
    play(databases, 12)


@pytest.mark.soak
def test_many_random_sequences_leave_the_same(databases: Databases) -> None:
    play(databases, 300)
