"""The API for programs without mlflow: `headrace.connect(uri)`.

It runs the same transactions as the server. Every method has two forms: `Connection.log_batch` returns when
its data is committed; `await Connection.asynchronous.log_batch` does not block the event loop meanwhile.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from headrace import search
from headrace.api.nouns import Tag, ViewType
from headrace.api.tracking.experiments import sql as experiments_sql
from headrace.api.tracking.experiments.view import experiment
from headrace.api.tracking.metrics import sql as metrics_sql
from headrace.api.tracking.runs import batch, create, sql, transactions, update, view
from headrace.api.tracking.runs.types import CreateRun, MetricIn, ParamIn, Run, RunStatus, TagIn
from headrace.auth.redactions import NOTHING_HIDDEN
from headrace.client import engine
from headrace.contract.clock import now_ms
from headrace.contract.errors import invalid, missing_parameter, run_not_found
from headrace.contract.experiment_ids import parse_id
from headrace.contract.limits import MAX_EXPERIMENT_NAME, SEARCH_MAX_RESULTS
from headrace.contract.names import check_length
from headrace.contract.scalars import INT64_MAX
from headrace.db.errors import UniqueViolation
from headrace.settings.defaults import FILE_STORE, absolute

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Mapping

    from headrace.api.tracking.experiments.types import Experiment
    from headrace.db.base import Row

P = ParamSpec("P")
T = TypeVar("T")
Point = tuple[int, int, float]  # step, milliseconds since the epoch, value


class Connection:
    """Experiments and runs of one database. Safe to use from many threads, and after a fork.

    Times are milliseconds since the epoch. Methods raise `headrace.ApiError`, whose `code` is MLflow's
    error code, and `headrace.db.errors.DatabaseError`; opening raises `UnusableDatabase` or `UriError`.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self._engine()  # so that the errors of opening are raised here

    def _engine(self) -> engine.Engine:
        return engine.engine_of(self.uri)

    @property
    def asynchronous(self) -> AsyncConnection:
        """The same methods as coroutines."""
        return AsyncConnection(self)

    def experiment_id(self, name: str) -> str:
        """Return the id of the experiment with this name; create it if it does not exist."""
        if not name:
            raise missing_parameter("name")
        check_length("name", MAX_EXPERIMENT_NAME, name)
        number = self._number_of(name)
        if number is None:
            root = absolute(FILE_STORE)
            try:
                number = self._engine().write(
                    experiments_sql.create, name, None, root, now_ms(), ()
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
        max_results: int = 1000,
        page_token: str | None = None,
    ) -> tuple[list[Experiment], str | None]:
        """Search active experiments with MLflow's filters; return a page and the token of the next one."""
        page = search.experiments_page(
            filter=filter,
            order_by=list(order_by),
            stages=ViewType.ACTIVE_ONLY.stages,
            max_results=_page_size(max_results),
            page_token=page_token,
            dialect=self._engine().dialect,
        )
        rows, tag_rows, token = self._engine().read(experiments_sql.search, page)
        tags: dict[int, list[Row]] = {}
        for tag in tag_rows:
            tags.setdefault(tag[0], []).append(tag)
        return [experiment(row, tags.get(row[0], ())) for row in rows], token

    def create_run(
        self, experiment_id: str, name: str | None = None, tags: Mapping[str, str] | None = None
    ) -> str:
        """Start a run; return its id."""
        request = CreateRun(
            experiment_id=experiment_id,
            run_name=name,
            start_time=now_ms(),
            tags=[Tag(key=key, value=value) for key, value in (tags or {}).items()],
        )
        new = create.NewRun(request)
        self._engine().submit(create.KIND, new, new.cost_bytes())
        return new.run_id

    def log_batch(
        self,
        run_id: str,
        metrics: Mapping[str, float] | None = None,
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
        *,
        step: int = 0,
        timestamp_ms: int | None = None,
    ) -> None:
        """Log up to 1,000 metrics, 100 params and 100 tags to a run, all or nothing."""
        now = now_ms() if timestamp_ms is None else timestamp_ms
        new = batch.from_parts(
            run_id,
            [
                MetricIn(key=key, value=value, timestamp=now, step=step)
                for key, value in (metrics or {}).items()
            ],
            [ParamIn(key=key, value=value) for key, value in (params or {}).items()],
            [TagIn(key=key, value=value) for key, value in (tags or {}).items()],
        )
        self._engine().submit(batch.KIND, new, new.cost_bytes())

    def end_run(self, run_id: str, status: RunStatus = RunStatus.FINISHED) -> None:
        """Set a run's status and end time."""
        self._engine().submit(update.KIND, update.Change(run_id, status, now_ms(), None))

    def run(self, run_id: str) -> Run:
        """Return a run with its metrics, params and tags."""
        found = self._engine().read(sql.get_whole, run_id)
        if found is None:
            raise run_not_found(run_id)
        row, logged = found
        return view.runs([row], logged, NOTHING_HIDDEN)[0]

    def search_runs(
        self,
        experiment_ids: Iterable[str],
        filter: str | None = None,
        order_by: Iterable[str] = (),
        max_results: int = 1000,
        page_token: str | None = None,
    ) -> tuple[list[Run], str | None]:
        """Search active runs with MLflow's filters; return a page and the token of the next one."""
        page = search.runs_page(
            experiment_ids=[parse_id(number) for number in experiment_ids],
            filter=filter,
            order_by=list(order_by),
            stages=ViewType.ACTIVE_ONLY.stages,
            max_results=_page_size(max_results),
            page_token=page_token,
            dialect=self._engine().dialect,
            columns=sql.COLUMNS,
        )
        rows, logged, token = self._engine().read(transactions.search, page)
        return view.runs(rows, logged, NOTHING_HIDDEN), token

    def metric_history(self, run_id: str, key: str) -> list[Point]:
        """Return every point of a metric by time. NaN is a float."""
        rows = self._engine().read(metrics_sql.page, run_id, key, INT64_MAX, 0)
        return [
            (step, timestamp, float("nan") if is_nan else value)
            for value, timestamp, step, is_nan in rows
        ]


def _page_size(rows: int) -> int:
    if not 1 <= rows <= SEARCH_MAX_RESULTS:
        raise invalid(
            f"Invalid value {rows} for parameter 'max_results' supplied. "
            f"It must be from 1 to {SEARCH_MAX_RESULTS}"
        )
    return rows


def _awaited(
    method: Callable[Concatenate[Connection, P], T],
) -> Callable[Concatenate[AsyncConnection, P], Coroutine[Any, Any, T]]:
    async def call(self: AsyncConnection, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await asyncio.to_thread(method, self.connection, *args, **kwargs)

    call.__doc__ = method.__doc__
    return call


class AsyncConnection:
    """A `Connection` whose methods are coroutines; each runs in a thread of the loop's pool."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    experiment_id = _awaited(Connection.experiment_id)
    search_experiments = _awaited(Connection.search_experiments)
    create_run = _awaited(Connection.create_run)
    log_batch = _awaited(Connection.log_batch)
    end_run = _awaited(Connection.end_run)
    run = _awaited(Connection.run)
    search_runs = _awaited(Connection.search_runs)
    metric_history = _awaited(Connection.metric_history)
