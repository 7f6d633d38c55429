"""The API for programs without mlflow: `headrace.connect(uri)`.

It runs the same transactions as the server. Every method has two forms: `Connection.log_batch` returns when
its data is committed; `await Connection.asynchronous.log_batch` does not block the event loop meanwhile.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any, Concatenate, Final, ParamSpec, TypeVar

from headrace import search
from headrace.api.nouns import Tag, ViewType
from headrace.api.tracking.artifacts import sql as artifacts_sql
from headrace.api.tracking.experiments import sql as experiments_sql
from headrace.api.tracking.experiments.view import experiments
from headrace.api.tracking.metrics import sql as metrics_sql
from headrace.api.tracking.runs import (
    assessments_sql,
    batch,
    create,
    sql,
    transactions,
    update,
    view,
)
from headrace.api.tracking.runs.types import CreateRun, MetricIn, ParamIn, Run, RunStatus, TagIn
from headrace.auth.redactions import NOTHING_HIDDEN
from headrace.client import artifacts, engine, values
from headrace.client.searches import Page, Search, experiment_record, run_record
from headrace.contract.clock import now_ms
from headrace.contract.errors import ApiError, ErrorCode, run_not_found
from headrace.contract.experiment_ids import parse_id
from headrace.contract.limits import (
    MAX_METRICS_PER_BATCH,
    MAX_PARAMS_PER_BATCH,
    MAX_TAGS_PER_BATCH,
)
from headrace.contract.names import check_experiment_name
from headrace.contract.scalars import INT64_MAX
from headrace.contract.steps import integer
from headrace.contract.texts import refuse_unstorable
from headrace.db.errors import UniqueViolation
from headrace.db.uri import parse
from headrace.db.workspaces_sql import Root
from headrace.settings.defaults import FILE_STORE, absolute

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Coroutine, Iterable, Mapping
    from types import TracebackType

    from headrace.api.tracking.experiments.types import Experiment

P = ParamSpec("P")
T = TypeVar("T")
Point = tuple[int, int, float]  # step, milliseconds since the epoch, value
PAGE_SIZE: Final = 1000


class Connection:
    """Experiments and runs of one database. Safe to use from many threads, and after a fork.

    Times are milliseconds since the epoch. Values are converted as by MLflow's client: metrics may be
    numbers of numpy or tensors with one element, params and tags any object, which `str` converts. Methods
    raise `headrace.Error`; mostly an `ApiError`, whose `code` is MLflow's error code.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self._is_open = False
        engine.hold(uri)  # so that the errors of opening are raised here
        self._is_open = True

    def __repr__(self) -> str:
        state = "" if self._is_open else " (closed)"
        return f"<headrace.Connection {parse(self.uri).shown}{state}>"

    def __enter__(self) -> Connection:
        self._engine()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Commit the queued writes; close the database unless another connection uses it."""
        if self._is_open:
            self._is_open = False
            engine.release(self.uri)

    def _engine(self) -> engine.Engine:
        if not self._is_open:
            raise ApiError(ErrorCode.INVALID_STATE, "The connection is closed.")
        return engine.engine_of(self.uri)

    @property
    def asynchronous(self) -> AsyncConnection:
        """The same methods as coroutines."""
        return AsyncConnection(self)

    # Experiments

    def experiment_id(self, name: str) -> str:
        """Return the id of the experiment with this name; create it if it does not exist."""
        check_experiment_name(values.name("name", name))
        refuse_unstorable(name, "name")
        number = self._number_of(name)
        if number is None:
            root = absolute(FILE_STORE)
            try:
                number = self._engine().write(
                    experiments_sql.create, name, None, Root(root), now_ms(), ()
                )
            except UniqueViolation:  # another process has just created it
                number = self._number_of(name)
                if number is None:
                    raise
        return str(number)

    def _number_of(self, name: str) -> int | None:
        found = self._engine().read(experiments_sql.find, experiments_sql.BY_NAME, name)
        return None if found is None else found[0].experiment_id

    def search_experiments(
        self,
        filter: str | None = None,
        order_by: Iterable[str] = (),
        max_results: int | None = None,
        *,
        page_size: int = PAGE_SIZE,
    ) -> Search[Experiment]:
        """Search active experiments with MLflow's filters."""
        clauses = values.texts("order_by", order_by)
        read = partial(self._experiments, values.optional_text("filter", filter), clauses)
        return Search(read, experiment_record, page_size, max_results)

    def _experiments(
        self, filter: str | None, order_by: list[str], size: int, token: str | None
    ) -> Page[Experiment]:
        page = search.experiments_page(
            filter=filter,
            order_by=order_by,
            stages=ViewType.ACTIVE_ONLY.stages,
            max_results=size,
            page_token=token,
            dialect=self._engine().dialect,
        )
        rows, tags, token = self._engine().read(experiments_sql.search, page)
        return experiments(rows, tags), token

    # Runs

    def create_run(
        self,
        experiment_id: str | int,
        name: str | None = None,
        tags: Mapping[str, Any] | None = None,
    ) -> str:
        """Start a run; return its id."""
        request = CreateRun(
            experiment_id=str(experiment_id),
            run_name=values.optional_text("name", name),
            start_time=now_ms(),
            tags=[Tag(key=key, value=value) for key, value in values.pairs("tags", tags)],
        )
        new = create.NewRun(request)
        self._engine().submit(create.KIND, new, new.cost_bytes())
        return new.run_id

    def end_run(self, run_id: str, status: RunStatus | str | int = RunStatus.FINISHED) -> None:
        """Set a run's status ("FINISHED", "FAILED", "KILLED" …) and its end time."""
        change = update.Change(values.name("run_id", run_id), values.status(status), now_ms(), None)
        self._engine().submit(update.KIND, change)

    def delete_run(self, run_id: str) -> None:
        """Mark a run as deleted; `headrace gc` removes it."""
        number = values.name("run_id", run_id)
        made = self._engine().read(assessments_sql.find, assessments_sql.OF_RUN, number)
        self._engine().write(transactions.delete, number, now_ms(), made)

    def run(self, run_id: str) -> Run:
        """Return a run with its metrics, params and tags."""
        found = self._engine().read(sql.get_whole, values.name("run_id", run_id))
        if found is None:
            raise run_not_found(run_id)
        row, logged = found
        return view.runs([row], logged, NOTHING_HIDDEN)[0]

    def search_runs(
        self,
        experiment_ids: Iterable[str | int],
        filter: str | None = None,
        order_by: Iterable[str] = (),
        max_results: int | None = None,
        *,
        page_size: int = PAGE_SIZE,
    ) -> Search[Run]:
        """Search active runs with MLflow's filters."""
        if not isinstance(experiment_ids, str):
            experiment_ids = [str(one) if isinstance(one, int) else one for one in experiment_ids]
        numbers = [parse_id(one) for one in values.texts("experiment_ids", experiment_ids)]
        clauses = values.texts("order_by", order_by)
        read = partial(self._runs, numbers, values.optional_text("filter", filter), clauses)
        return Search(read, run_record, page_size, max_results)

    def _runs(
        self,
        numbers: list[int],
        filter: str | None,
        order_by: list[str],
        size: int,
        token: str | None,
    ) -> Page[Run]:
        page = search.runs_page(
            experiment_ids=numbers,
            filter=filter,
            order_by=order_by,
            stages=ViewType.ACTIVE_ONLY.stages,
            max_results=size,
            page_token=token,
            dialect=self._engine().dialect,
            columns=sql.COLUMNS,
        )
        rows, logged, token = self._engine().read(transactions.search, page)
        return view.runs(rows, logged, NOTHING_HIDDEN), token

    def metric_history(self, run_id: str, key: str) -> list[Point]:
        """Return every point of a metric by time. NaN is a float."""
        of = (values.name("run_id", run_id), values.name("key", key))
        rows = self._engine().read(metrics_sql.page, *of, INT64_MAX, 0)
        return [
            (integer(step), timestamp, float("nan") if is_nan else value)
            for value, timestamp, step, is_nan in rows
        ]

    # Logging

    def log_batch(
        self,
        run_id: str,
        metrics: Mapping[str, Any] | None = None,
        params: Mapping[str, Any] | None = None,
        tags: Mapping[str, Any] | None = None,
        *,
        step: Any = 0,
        timestamp_ms: Any = None,
    ) -> None:
        """Log up to 1,000 metrics, 100 params and 100 tags to a run, all or nothing.

        `step` is an integer of any library.
        """
        given = values.mapping("metrics", metrics)
        new = batch.from_parts(
            values.name("run_id", run_id),
            [
                MetricIn(
                    key=values.name("metrics", key),
                    value=values.metric_value(key, value),
                    timestamp=values.now_or(key, timestamp_ms),
                    step=0 if step is None else values.step(key, step),
                )
                for key, value in given.items()
            ],
            [ParamIn(key=key, value=value) for key, value in values.pairs("params", params)],
            [TagIn(key=key, value=value) for key, value in values.pairs("tags", tags)],
        )
        if new.points or new.params or new.tags:
            self._engine().submit(batch.KIND, new, new.cost_bytes())
        else:
            self._engine().read(transactions.check_active, run_id)

    def log_metric(
        self, run_id: str, key: str, value: Any, step: Any = 0, *, timestamp_ms: Any = None
    ) -> None:
        """Log one point of a metric."""
        self.log_batch(run_id, {key: value}, step=step, timestamp_ms=timestamp_ms)

    def log_metrics(
        self,
        run_id: str,
        metrics: Mapping[str, Any],
        step: Any = 0,
        *,
        timestamp_ms: Any = None,
    ) -> None:
        """Log a point of each metric. More than 1,000 are logged in several batches."""
        if timestamp_ms is None:
            timestamp_ms = now_ms()
        for some in _parts(values.mapping("metrics", metrics), MAX_METRICS_PER_BATCH):
            self.log_batch(run_id, some, step=step, timestamp_ms=timestamp_ms)

    def log_params(self, run_id: str, params: Mapping[str, Any]) -> None:
        """Log params, as texts. More than 100 are logged in several batches."""
        for some in _parts(values.mapping("params", params), MAX_PARAMS_PER_BATCH):
            self.log_batch(run_id, params=some)

    def set_tag(self, run_id: str, key: str, value: Any) -> None:
        """Set a tag to a text."""
        self.log_batch(run_id, tags={key: value})

    def set_tags(self, run_id: str, tags: Mapping[str, Any]) -> None:
        """Set tags to texts. More than 100 are set in several batches."""
        for some in _parts(values.mapping("tags", tags), MAX_TAGS_PER_BATCH):
            self.log_batch(run_id, tags=some)

    # Artifacts

    def log_artifact(
        self, run_id: str, local_path: str | os.PathLike[str], artifact_path: str | None = None
    ) -> None:
        """Copy a file to the run's artifacts, below the directory `artifact_path`."""
        files = artifacts.of_file(local_path, artifact_path)
        artifacts.upload(self._artifact_uri(run_id), files)

    def log_artifacts(
        self, run_id: str, local_dir: str | os.PathLike[str], artifact_path: str | None = None
    ) -> None:
        """Copy all files below a directory to the run's artifacts, below the directory `artifact_path`."""
        files = artifacts.of_directory(local_dir, artifact_path)
        artifacts.upload(self._artifact_uri(run_id), files)

    def _artifact_uri(self, run_id: str) -> str:
        run_id = values.name("run_id", run_id)
        self._engine().read(transactions.check_active, run_id)
        root = self._engine().read(artifacts_sql.run_root, run_id)
        if root is None:
            raise run_not_found(run_id)
        return root


def _parts(found: Mapping[str, Any], most: int) -> list[dict[str, Any]]:
    items = list(found.items())
    return [dict(items[n : n + most]) for n in range(0, len(items), most)]


def _awaited(
    method: Callable[Concatenate[Connection, P], T],
) -> Callable[Concatenate[AsyncConnection, P], Coroutine[Any, Any, T]]:
    async def call(self: AsyncConnection, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await asyncio.to_thread(method, self.connection, *args, **kwargs)

    call.__doc__ = method.__doc__
    call.__name__ = method.__name__
    return call


class AsyncConnection:
    """A `Connection` whose methods are coroutines; each runs in a thread of the loop's pool.

    Searches are not coroutines: iterate over their result with `async for`.
    """

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def __repr__(self) -> str:
        return f"{self.connection!r}.asynchronous"

    async def __aenter__(self) -> AsyncConnection:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def search_experiments(self, *args: Any, **kwargs: Any) -> Search[Experiment]:
        """See `Connection.search_experiments`."""
        return self.connection.search_experiments(*args, **kwargs)

    def search_runs(self, *args: Any, **kwargs: Any) -> Search[Run]:
        """See `Connection.search_runs`."""
        return self.connection.search_runs(*args, **kwargs)

    close = _awaited(Connection.close)
    experiment_id = _awaited(Connection.experiment_id)
    create_run = _awaited(Connection.create_run)
    end_run = _awaited(Connection.end_run)
    delete_run = _awaited(Connection.delete_run)
    run = _awaited(Connection.run)
    metric_history = _awaited(Connection.metric_history)
    log_batch = _awaited(Connection.log_batch)
    log_metric = _awaited(Connection.log_metric)
    log_metrics = _awaited(Connection.log_metrics)
    log_params = _awaited(Connection.log_params)
    set_tag = _awaited(Connection.set_tag)
    set_tags = _awaited(Connection.set_tags)
    log_artifact = _awaited(Connection.log_artifact)
    log_artifacts = _awaited(Connection.log_artifacts)
