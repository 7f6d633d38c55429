"""Conversion of rows to answers: runs and the data logged to them, as the API shows them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from headrace.api.nouns import KeyValue, Tag
from headrace.api.tracking.runs.sql import Logged
from headrace.api.tracking.runs.types import (
    Dataset,
    DatasetInput,
    Metric,
    ModelInput,
    ModelOutput,
    Run,
    RunData,
    RunInfo,
    RunInfoOpen,
    RunInputs,
    RunOutputs,
)
from headrace.auth.redactions import Hidden
from headrace.contract.steps import integer
from headrace.db.base import Row


def info(row: Row) -> RunInfo | RunInfoOpen:
    """Return the info of a run from its row (`sql.COLUMNS`)."""
    run_id, experiment_id, name, user, status, start, end, artifact_uri, stage = row
    if not end:  # stock also omits a 0
        return RunInfoOpen(
            run_id,
            str(experiment_id),
            name or "",
            user or "",
            status,
            start or 0,
            artifact_uri or "",
            stage,
            run_id,
        )
    return RunInfo(
        run_id,
        str(experiment_id),
        name or "",
        user or "",
        status,
        start or 0,
        end,
        artifact_uri or "",
        stage,
        run_id,
    )


def runs(rows: Sequence[Row], logged: Logged, hidden: Hidden) -> list[Run]:
    """Return the runs in the order of `rows`, with the data logged to them that is not hidden."""
    run_ids = [row[0] for row in rows]
    data = {run_id: RunData([], [], []) for run_id in run_ids}
    for run_id, key, value, timestamp, step, is_nan in logged.metrics:
        data[run_id].metrics.append(Metric(key, "NaN" if is_nan else value, timestamp, step))
    for run_id, key, value in logged.params:
        data[run_id].params.append(KeyValue(key, value))
    for run_id, key, value in logged.tags:
        data[run_id].tags.append(KeyValue(key, value or ""))
    inputs, outputs = links(run_ids, logged, hidden)
    return [
        Run(info(row), data[run_id], inputs[run_id], outputs[run_id])
        for row in rows
        for run_id in (row[0],)
    ]


def links(
    run_ids: Sequence[str], logged: Logged, hidden: Hidden
) -> tuple[dict[str, RunInputs], dict[str, RunOutputs]]:
    """Return the datasets and models that each run read, and the models that it wrote."""
    inputs = {run_id: RunInputs([], []) for run_id in run_ids}
    outputs = {run_id: RunOutputs([]) for run_id in run_ids}
    for run_id, found in datasets(logged):
        inputs[run_id].dataset_inputs.append(found)
    if not hidden.logged_models:
        for run_id, model_id, _ in logged.models_in:
            inputs[run_id].model_inputs.append(ModelInput(model_id=model_id))
        for run_id, model_id, step in logged.models_out:
            outputs[run_id].model_outputs.append(ModelOutput(model_id=model_id, step=step))
    return inputs, outputs


def metric(key: str, value: float, timestamp: int, step: int, is_nan: bool) -> Metric:
    """Return a metric from the columns of a row of `latest_metrics`."""
    return Metric(key, "NaN" if is_nan else value, timestamp, integer(step))


def pair(key: str, value: str | None) -> KeyValue:
    """Return a param or tag from the columns of a row of `params` or `tags`."""
    return KeyValue(key, value or "")


def datasets(logged: Logged) -> Iterable[tuple[str, DatasetInput]]:
    """Yield (run id, dataset with its tags) in the order of the rows."""
    tags: dict[str, list[Tag]] = {}
    for input_id, key, value in logged.input_tags:
        tags.setdefault(input_id, []).append(Tag(key=key, value=value))
    for run_id, input_id, name, digest, source_type, source, schema, profile, _ in logged.datasets:
        dataset = Dataset(
            name=name,
            digest=digest,
            source_type=source_type,
            source=source,
            schema=schema,
            profile=profile,
        )
        yield run_id, DatasetInput(tags=tags.get(input_id, []), dataset=dataset)
