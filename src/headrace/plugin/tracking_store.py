"""MLflow's tracking store of a database, with headrace's engine for frequent calls.

All other methods are inherited and use the same database. Signatures are MLflow's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlflow.entities import RunStatus, ViewType
from mlflow.store.entities.paged_list import PagedList
from mlflow.store.tracking import SEARCH_MAX_RESULTS_DEFAULT
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from mlflow.utils.uri import resolve_uri_if_local

from headrace import search
from headrace.api.nouns import Tag
from headrace.api.tracking.experiments import sql as experiments_sql
from headrace.api.tracking.experiments import transactions as experiments
from headrace.api.tracking.experiments.tag_rules import check_tag
from headrace.api.tracking.metrics import sql as metrics_sql
from headrace.api.tracking.runs import (
    assessments_sql,
    batch,
    create,
    inputs,
    sql,
    transactions,
    update,
)
from headrace.api.tracking.runs import types as run_types
from headrace.client import engine
from headrace.contract.clock import now_ms
from headrace.contract.errors import experiment_not_found, run_not_found
from headrace.contract.names import check_experiment_name
from headrace.contract.scalars import INT64_MAX
from headrace.db.errors import UniqueViolation
from headrace.db.workspaces_sql import Root
from headrace.plugin import arguments, entities, new_database
from headrace.plugin.fallback import Unsupported, with_fallback
from headrace.plugin.fork_safety import reset_after_fork
from headrace.plugin.mlflow_versions import IS_3

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlflow.entities import Experiment, Metric, Run, RunInfo


class TrackingStore(SqlAlchemyStore):
    """`SqlAlchemyStore` that logs and reads with headrace's engine."""

    def __init__(self, db_uri: str, default_artifact_root: str) -> None:
        self._ready = False  # MLflow first creates the tables and the experiment "Default"
        new_database.create(db_uri, default_artifact_root)
        super().__init__(db_uri, default_artifact_root)
        reset_after_fork(self)
        engine.keep(db_uri)
        self._ready = True

    @property
    def inherited(self) -> Any:
        """MLflow's own methods on this store."""
        return super()

    @property
    def _headrace(self) -> engine.Engine:
        if not self._ready:
            raise Unsupported
        return engine.engine_of(self.db_uri)

    # Runs

    @with_fallback
    def log_batch(
        self, run_id: str, metrics: Sequence[Any], params: Sequence[Any], tags: Sequence[Any]
    ) -> None:
        new = arguments.batch(run_id, metrics, params, tags)
        if new.points or new.params or new.tags:
            self._headrace.submit(batch.KIND, new, new.cost_bytes())
        else:
            self._headrace.read(transactions.check_active, run_id)

    @with_fallback
    def log_metric(self, run_id: str, metric: Metric) -> None:
        new = batch.Batch(arguments.text(run_id))
        new.add_points([arguments.Point(metric)], "")  # type: ignore[list-item] # same attributes
        self._headrace.submit(batch.KIND, new, 360)

    @with_fallback
    def log_param(self, run_id: str, param: Any) -> None:
        new = batch.Batch(arguments.text(run_id))
        new.single_param = True
        new.add_params([arguments.pair(param)], "")
        self._headrace.submit(batch.KIND, new, new.cost_bytes())

    @with_fallback
    def set_tag(self, run_id: str, tag: Any) -> None:
        new = batch.Batch(arguments.text(run_id))
        new.add_tags([arguments.pair(tag)], "")
        self._headrace.submit(batch.KIND, new, new.cost_bytes())

    @with_fallback
    def delete_tag(self, run_id: str, key: str) -> None:
        self._headrace.write(transactions.delete_tag, arguments.text(run_id), arguments.text(key))

    @with_fallback
    def create_run(
        self, experiment_id: Any, user_id: Any, start_time: Any, tags: Any, run_name: Any
    ) -> Run:
        new = create.NewRun(
            run_types.CreateRun(
                experiment_id=str(arguments.experiment(experiment_id)),
                user_id=arguments.text(user_id),
                start_time=arguments.int64(start_time),
                run_name=arguments.optional_text(run_name),
                tags=[Tag(key=tag.key, value=tag.value) for tag in map(arguments.pair, tags or ())],
            )
        )
        if len(dict(new.tags)) != len(new.tags):
            raise Unsupported
        self._headrace.submit(create.KIND, new, new.cost_bytes())
        row = (
            new.run_id, new.experiment_id, new.name, new.user_id, "RUNNING", new.start_time, None,
            new.artifact_uri, "active",
        )  # fmt: skip
        return entities.new_run(row, new.tags)

    @with_fallback
    def get_run(self, run_id: str) -> Run:
        found = self._headrace.read(sql.get_whole, arguments.text(run_id))
        if found is None:
            raise run_not_found(run_id)
        row, logged = found
        return entities.runs([row], logged, with_models=True)[0]

    @with_fallback
    def update_run_info(
        self, run_id: str, run_status: Any, end_time: Any, run_name: Any
    ) -> RunInfo:
        status = None if run_status is None else RunStatus.to_string(run_status)
        change = update.Change(
            arguments.text(run_id),
            None if status is None else run_types.RunStatus(status),
            None if end_time is None else arguments.int64(end_time),
            arguments.optional_text(run_name),
        )
        return entities.info(self._headrace.submit(update.KIND, change))

    @with_fallback
    def delete_run(self, run_id: str) -> None:
        run_id = arguments.text(run_id)
        made = self._headrace.read(assessments_sql.find, assessments_sql.OF_RUN, run_id)
        self._headrace.write(transactions.delete, run_id, now_ms(), made)

    @with_fallback
    def restore_run(self, run_id: str) -> None:
        self._headrace.write(transactions.restore, arguments.text(run_id))

    @with_fallback
    def _search_runs(
        self,
        experiment_ids: Sequence[Any],
        filter_string: Any,
        run_view_type: Any,
        max_results: Any,
        order_by: Any,
        page_token: Any,
    ) -> tuple[list[Run], bytes | None]:
        page = search.runs_page(
            experiment_ids=[arguments.experiment(number) for number in experiment_ids],
            filter=arguments.optional_text(filter_string),
            order_by=[arguments.text(clause) for clause in order_by or ()],
            stages=arguments.stages(run_view_type),
            max_results=arguments.page_size(max_results),
            page_token=arguments.token(page_token),
            dialect=self._headrace.dialect,
            columns=sql.COLUMNS,
        )
        if not experiment_ids:
            return [], None
        rows, logged, token = self._headrace.read(transactions.search, page)
        return entities.runs(rows, logged, with_models=False), arguments.stock_token(token)

    @with_fallback
    def log_inputs(
        self, run_id: str, datasets: Any = None, models: Any = None, **more: Any
    ) -> None:
        if more or batch.RUN_ID.fullmatch(arguments.text(run_id)) is None:
            raise Unsupported
        request = run_types.LogInputs(
            run_id=run_id,
            datasets=arguments.datasets(datasets),
            models=[run_types.ModelInput(model_id=model.model_id) for model in models or ()],
        )
        self._headrace.handle(inputs.log_inputs, request)

    # Metrics

    @with_fallback
    def get_metric_history(
        self, run_id: str, metric_key: str, max_results: Any = None, page_token: Any = None
    ) -> Any:
        if not IS_3:  # mlflow 2 rejects page tokens and always returns the whole history
            if page_token is not None:
                raise Unsupported
            max_results = None
        offset = search.offset_of(arguments.token(page_token))
        limit = INT64_MAX - 1 if max_results is None else arguments.page_size(max_results)
        rows = self._headrace.read(
            metrics_sql.page, arguments.text(run_id), arguments.text(metric_key), limit + 1, offset
        )
        token = search.page_token(offset + limit) if len(rows) > limit else None
        key = metric_key
        return PagedList(
            [entities.metric(key, *row) for row in rows[:limit]], arguments.stock_token(token)
        )

    # Experiments

    @with_fallback
    def create_experiment(self, name: str, artifact_location: Any = None, tags: Any = None) -> str:
        check_experiment_name(arguments.text(name))
        root = arguments.root(self.artifact_root_uri)
        where = None
        if artifact_location:
            where = arguments.location(resolve_uri_if_local(artifact_location))
        pairs = [(tag.key, tag.value) for tag in map(arguments.pair, tags or ())]
        for key, value in pairs:
            check_tag(key, value)
        if len(dict(pairs)) != len(pairs):
            raise Unsupported
        try:
            number = self._headrace.write(
                experiments_sql.create, name, where, Root(root), now_ms(), pairs
            )
        except UniqueViolation as error:
            raise experiments.not_created(name, error) from error
        return str(number)

    @with_fallback
    def get_experiment(self, experiment_id: Any) -> Experiment:
        if self._archives_traces():
            raise Unsupported
        number = arguments.experiment(experiment_id)
        found = self._headrace.read(experiments_sql.find, experiments_sql.BY_ID, number)
        if found is None:
            raise experiment_not_found(experiment_id)
        return entities.experiment(*found)

    @with_fallback
    def get_experiment_by_name(self, experiment_name: Any) -> Experiment | None:
        if self._archives_traces():
            raise Unsupported
        found = self._headrace.read(
            experiments_sql.find, experiments_sql.BY_NAME, arguments.text(experiment_name)
        )
        return None if found is None else entities.experiment(*found)

    def _archives_traces(self) -> bool:
        """Whether experiments show the retention of their traces (mlflow 3.17), which only MLflow computes."""
        known = getattr(self, "_get_effective_experiment_trace_archival_retention_context", None)
        return known is not None and known() is not None

    @with_fallback
    def search_experiments(
        self,
        view_type: Any = ViewType.ACTIVE_ONLY,
        max_results: Any = SEARCH_MAX_RESULTS_DEFAULT,
        filter_string: Any = None,
        order_by: Any = None,
        page_token: Any = None,
    ) -> Any:
        if self._archives_traces():
            raise Unsupported
        page = search.experiments_page(
            filter=arguments.optional_text(filter_string),
            order_by=[arguments.text(clause) for clause in order_by or ()],
            stages=arguments.stages(view_type),
            max_results=arguments.page_size(max_results),
            page_token=arguments.token(page_token),
            dialect=self._headrace.dialect,
        )
        rows, tag_rows, token = self._headrace.read(experiments_sql.search, page)
        tags: dict[int, list[Any]] = {}
        for tag in tag_rows:
            tags.setdefault(tag[0], []).append(tag)
        return PagedList(
            [entities.experiment(row, tags.get(row[0], ())) for row in rows],
            arguments.stock_token(token),
        )

    @with_fallback
    def rename_experiment(self, experiment_id: Any, new_name: Any) -> None:
        check_experiment_name(arguments.text(new_name))
        self._headrace.write(experiments.rename, arguments.experiment(experiment_id), new_name)

    @with_fallback
    def delete_experiment(self, experiment_id: Any) -> None:
        number = arguments.experiment(experiment_id)
        made = self._headrace.read(assessments_sql.find, assessments_sql.OF_EXPERIMENT, number)
        self._headrace.write(experiments.delete, number, made)

    @with_fallback
    def restore_experiment(self, experiment_id: Any) -> None:
        self._headrace.write(experiments.restore, arguments.experiment(experiment_id))

    @with_fallback
    def set_experiment_tag(self, experiment_id: Any, tag: Any) -> None:
        key, value = arguments.pair(tag).key, tag.value
        check_tag(key, value)
        self._headrace.write(experiments.set_tag, arguments.experiment(experiment_id), key, value)

    @with_fallback
    def delete_experiment_tag(self, experiment_id: Any, key: Any) -> None:
        number = arguments.experiment(experiment_id)
        self._headrace.write(experiments.delete_tag, number, arguments.text(key))
