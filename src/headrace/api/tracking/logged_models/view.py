"""Conversion of rows to answers: logged models as the API shows them."""

from __future__ import annotations

from collections.abc import Sequence

from headrace.api.nouns import KeyValue
from headrace.api.tracking.logged_models.sql import Logged
from headrace.api.tracking.logged_models.types import (
    STATUSES,
    LoggedModel,
    LoggedModelData,
    LoggedModelInfo,
    ModelMetric,
)
from headrace.auth.redactions import Hidden
from headrace.contract.steps import integer
from headrace.db.base import Row


def models(rows: Sequence[Row], logged: Logged, hidden: Hidden) -> list[LoggedModel]:
    """Return the models in the order of `rows` (`sql.COLUMNS`), with the data logged to them.

    The ids of runs are omitted if they are hidden.
    """
    data = {row[0]: LoggedModelData([], []) for row in rows}
    tags: dict[str, list[KeyValue]] = {row[0]: [] for row in rows}
    for model_id, key, value in logged.params:
        data[model_id].params.append(KeyValue(key, value))
    for model_id, key, value in logged.tags:
        tags[model_id].append(KeyValue(key, value))
    for model_id, key, value, timestamp, step, dataset, digest, run_id in logged.metrics:
        data[model_id].metrics.append(
            ModelMetric(
                key,
                value,
                timestamp,
                integer(step),
                dataset,
                digest,
                model_id,
                hidden.run_id(run_id),
            )
        )
    return [LoggedModel(_info(row, tags[row[0]], hidden), data[row[0]]) for row in rows]


def _info(row: Row, tags: list[KeyValue], hidden: Hidden) -> LoggedModelInfo:
    model_id, experiment_id, name, location, created, updated, status, _, kind, run, message = row
    return LoggedModelInfo(
        model_id=model_id,
        experiment_id=str(experiment_id),
        name=name,
        creation_timestamp_ms=created,
        last_updated_timestamp_ms=updated,
        artifact_uri=location,
        status=STATUSES[status],
        model_type=kind,
        source_run_id=hidden.run_id(run),
        status_message=message,
        tags=tags,
    )
