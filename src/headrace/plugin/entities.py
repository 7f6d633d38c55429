"""Conversion of rows to MLflow's entities."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from mlflow.entities import (
    Dataset,
    DatasetInput,
    Experiment,
    ExperimentTag,
    InputTag,
    Metric,
    Param,
    Run,
    RunData,
    RunInfo,
    RunInputs,
    RunTag,
)

from headrace.contract.steps import integer
from headrace.plugin.mlflow_versions import (
    LoggedModelInput,
    LoggedModelOutput,
    RunOutputs,
    run_id_arguments,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.api.tracking.runs.sql import Logged
    from headrace.db.base import Row

NAN: Final = float("nan")
RUN_NAME: Final = "mlflow.runName"


def metric(key: str, value: float, timestamp: int, step: int, is_nan: bool) -> Metric:
    """Convert one point."""
    return Metric(key, NAN if is_nan else value, timestamp, integer(step))


def experiment(row: Row, tags: Sequence[Row]) -> Experiment:
    """Convert a row of `experiments` (sql.BY_ID) and its tags."""
    number, name, location, stage, created, updated = row
    return Experiment(
        experiment_id=str(number),
        name=name,
        artifact_location=location,
        lifecycle_stage=stage,
        tags=[ExperimentTag(key, value) for _, key, value in tags],
        creation_time=created,
        last_update_time=updated,
    )


def info(row: Row, name: str | None = None) -> RunInfo:
    """Convert the columns of a run (api/tracking/runs/sql.COLUMNS)."""
    run_id, experiment_id, run_name, user, status, start, end, artifact_uri, stage = row
    return RunInfo(
        **run_id_arguments(run_id),
        experiment_id=str(experiment_id),
        user_id=user,
        status=status,
        start_time=start,
        end_time=end,
        lifecycle_stage=stage,
        artifact_uri=artifact_uri,
        run_name=run_name or name or run_name,
    )


def _with_outputs(of_info: RunInfo, data: RunData, inputs: RunInputs, outputs: Any) -> Run:
    if RunOutputs is None:
        return Run(of_info, data, inputs)
    return Run(of_info, data, inputs, RunOutputs(outputs))


def _inputs(datasets: list[DatasetInput], models: list[Any] | None) -> RunInputs:
    if models is None or RunOutputs is None:
        return RunInputs(dataset_inputs=datasets)
    return RunInputs(dataset_inputs=datasets, model_inputs=models)


def new_run(row: Row, tags: Sequence[tuple[str, str]]) -> Run:
    """Convert the row of a new run."""
    data = RunData([], [], [RunTag(key, value) for key, value in tags])
    return Run(info(row), data, RunInputs(dataset_inputs=[]))


def runs(rows: Sequence[Row], logged: Logged, *, with_models: bool) -> list[Run]:
    """Convert runs and their contents in the order of `rows`. `with_models` adds their input models."""
    data: dict[str, tuple[list[Metric], list[Param], list[RunTag]]] = {
        row[0]: ([], [], []) for row in rows
    }
    for run_id, key, value, timestamp, step, is_nan in logged.metrics:
        data[run_id][0].append(Metric(key, NAN if is_nan else value, timestamp, step))
    for run_id, key, value in logged.params:
        data[run_id][1].append(Param(key, value))
    for run_id, key, value in logged.tags:
        data[run_id][2].append(RunTag(key, value))
    datasets = _datasets(logged)
    read: dict[str, list[Any]] = {}
    wrote: dict[str, list[Any]] = {}
    for run_id, model_id, _ in logged.models_in:
        read.setdefault(run_id, []).append(LoggedModelInput(model_id=model_id))
    for run_id, model_id, step in logged.models_out:
        wrote.setdefault(run_id, []).append(LoggedModelOutput(model_id=model_id, step=step))
    found = []
    for row in rows:
        run_id = row[0]
        run_data = RunData(*data[run_id])
        found.append(
            _with_outputs(
                info(row, run_data.tags.get(RUN_NAME)),
                run_data,
                _inputs(datasets.get(run_id, []), read.get(run_id, []) if with_models else None),
                wrote.get(run_id, []),
            )
        )
    return found


def _datasets(logged: Logged) -> dict[str, list[DatasetInput]]:
    tags: dict[str, list[InputTag]] = {}
    for input_id, key, value in logged.input_tags:
        tags.setdefault(input_id, []).append(InputTag(key, value))
    found: dict[str, list[DatasetInput]] = {}
    for run_id, input_id, name, digest, source_type, source, schema, profile, _ in logged.datasets:
        dataset = Dataset(
            name=name,
            digest=digest,
            source_type=source_type,
            source=source,
            schema=schema,
            profile=profile,
        )
        found.setdefault(run_id, []).append(
            DatasetInput(dataset=dataset, tags=tags.get(input_id, []))
        )
    return found
