"""The writes of log-batch, log-metric, log-parameter and set-tag: one checked batch for one run.

The group commit applies many batches in one transaction with `KIND`. Each batch is written
completely or not at all.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import Final

from headrace.api.tracking.runs import batch_sql
from headrace.api.tracking.runs.sql import RunStage
from headrace.api.tracking.runs.sql import stages as stages_of
from headrace.api.tracking.runs.types import LogBatch, MetricIn, ParamIn, TagIn
from headrace.commit.kinds import Excluded, Kind, bytes_of
from headrace.contract import errors
from headrace.contract.errors import ApiError, ErrorCode, invalid
from headrace.contract.limits import (
    MAX_ENTITIES_PER_BATCH,
    MAX_ENTITY_KEY,
    MAX_METRICS_PER_BATCH,
    MAX_PARAM_VALUE,
    MAX_PARAMS_PER_BATCH,
    MAX_TAG_VALUE,
    MAX_TAGS_PER_BATCH,
)
from headrace.contract.names import check_length, check_name, invalid_value, is_known
from headrace.contract.texts import refuse_unstorable
from headrace.db.base import COPY_ROWS, Tx

RUN_NAME: Final = "mlflow.runName"
MAX_DOUBLE: Final = 1.7976931348623157e308  # MLflow stores ±Infinity as ±MAX_DOUBLE
RUN_ID: Final = re.compile(r"[a-zA-Z0-9][\w\-]{0,255}")
TRUNCATE_VARIABLE: Final = "MLFLOW_TRUNCATE_LONG_VALUES"

Point = tuple[str, int, int, str, float, bool]  # key, timestamp, step, run, stored value, is_nan
ModelPoint = tuple[str, str, int, int, float, str | None, str | None]


def _check_dataset(metric: MetricIn) -> None:
    if bool(metric.dataset_name) != bool(metric.dataset_digest):
        raise invalid("Both dataset_name and dataset_digest must be provided if one is provided")


class Batch:
    """Checked rows for one run; `single_param` selects MLflow's message for one changed param."""

    __slots__ = ("model_points", "params", "points", "run_id", "single_param", "tags")

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        self.points: list[Point] = []
        self.model_points: list[ModelPoint] = []
        self.params: list[tuple[str, str]] = []
        self.tags: dict[str, str] = {}
        self.single_param = False

    def cost_bytes(self) -> int:
        """Return the approximate memory use of the waiting batch."""
        text = sum(bytes_of(key) + bytes_of(value) for key, value in self.params)
        text += sum(bytes_of(key) + bytes_of(value) for key, value in self.tags.items())
        return 200 + 160 * (len(self.points) + len(self.params) + len(self.tags)) + text

    def add_points(self, metrics: Sequence[MetricIn], path: str) -> None:
        """Check and add metrics; `path` is the format of their position in the request."""
        run_id, add = self.run_id, self.points.append
        for n, metric in enumerate(metrics):
            key = metric.key
            if metric.dataset_name is not metric.dataset_digest:
                _check_dataset(metric)
            known = is_known(key)
            if not known:
                check_name(key, path.format(n) + "name")
            value, timestamp = metric.value, metric.timestamp
            if timestamp < 0:
                raise invalid(
                    invalid_value(
                        path.format(n) + "timestamp",
                        timestamp,
                        f"metric '{key}' (value={value}). "
                        "Timestamp must be a nonnegative long (64-bit integer) ",
                    )
                )
            if not known:
                check_length("Metric name", MAX_ENTITY_KEY, key)
            is_nan = value != value
            if is_nan:
                stored = 0.0
            elif math.isinf(value):
                stored = math.copysign(MAX_DOUBLE, value)
            else:
                stored = value + 0.0  # turns -0.0 into 0.0, for every database
            add((key, timestamp, metric.step, run_id, stored, is_nan))
            if metric.model_id:
                self.model_points.append(
                    (
                        metric.model_id,
                        key,
                        timestamp,
                        metric.step,
                        stored,
                        metric.dataset_name or None,
                        metric.dataset_digest or None,
                    )
                )

    def add_params(self, params: Iterable[ParamIn], path: str) -> None:
        """Check and add params; long values are truncated, as by MLflow's default."""
        for n, param in enumerate(params):
            if not is_known(param.key):
                check_name(param.key, path.format(n) + "key")
                check_length("Param key", MAX_ENTITY_KEY, param.key)
            self.params.append((param.key, fitted("Param value", MAX_PARAM_VALUE, param.value)))

    def add_tags(self, tags: Iterable[TagIn], path: str) -> None:
        """Check and add tags; if a key is given more than once, the last value is used."""
        for n, tag in enumerate(tags):
            where = path.format(n)
            check_name(tag.key, where + "key")
            check_length(where + "key", MAX_ENTITY_KEY, tag.key)
            value = fitted(where + "value", MAX_TAG_VALUE, tag.value)
            if value or tag.key != RUN_NAME:  # an empty name neither renames nor sets the tag
                self.tags[tag.key] = value


def fitted(what: str, limit: int, value: str | None) -> str:
    """Return the value, truncated to `limit` characters. Raises if truncation is disabled."""
    if value is None:
        return ""
    refuse_unstorable(value, what)
    if len(value) > limit:
        if os.environ.get(TRUNCATE_VARIABLE, "true").lower() not in ("true", "1"):
            raise errors.too_long(what, limit)
        return value[:limit]
    return value


def _check_count(what: str, limit: int, count: int) -> None:
    if count > limit:
        raise invalid(
            f"A batch logging request can contain at most {limit} {what}. Got {count} {what}. "
            f"Please split up {what} across multiple requests and try again."
        )


def from_request(req: LogBatch) -> Batch:
    """Return the batch of a log-batch request. Raises MLflow's error for the first problem."""
    if RUN_ID.fullmatch(req.run_id) is None:
        raise invalid(invalid_value("run_id", req.run_id))
    return from_parts(req.run_id, req.metrics, req.params, req.tags)


def from_parts(
    run_id: str, metrics: Sequence[MetricIn], params: Sequence[ParamIn], tags: Sequence[TagIn]
) -> Batch:
    """Return a checked batch. Raises MLflow's error for the first problem."""
    batch = Batch(run_id)
    batch.add_points(metrics, "metrics[{}].")
    batch.add_params(params, "params[{}].")
    batch.add_tags(tags, "tags[{}].")
    _check_count("metrics", MAX_METRICS_PER_BATCH, len(metrics))
    _check_count("params", MAX_PARAMS_PER_BATCH, len(params))
    _check_count("tags", MAX_TAGS_PER_BATCH, len(tags))
    total = len(metrics) + len(params) + len(tags)
    _check_count("metrics, params, and tags", MAX_ENTITIES_PER_BATCH, total)
    if len(params) > 1:
        _check_unique([param.key for param in params])
    return batch


def _check_unique(keys: list[str]) -> None:
    seen: set[str] = set()
    again = [key for key in keys if key in seen or seen.add(key)]  # type: ignore[func-returns-value]
    if again:
        raise invalid(
            f"Duplicate parameter keys have been submitted: {again}. Please ensure "
            "the request contains only one param value per param key."
        )


def changed_params(batch: Batch, stored: dict[str, str]) -> ApiError | None:
    """Return MLflow's error if the batch would change one of the `stored` params, else None."""
    changed = [
        {"key": key, "old_value": stored[key], "new_value": value}
        for key, value in batch.params
        if key in stored and stored[key] != value
    ]
    if not changed:
        return None
    if batch.single_param:
        one = changed[0]
        return invalid(
            f"Changing param values is not allowed. Param with key='{one['key']}' was already "
            f"logged with value='{one['old_value']}' for run ID='{batch.run_id}'. "
            f"Attempted logging new value '{one['new_value']}'."
        )
    return invalid(
        f"Changing param values is not allowed. Params were already logged='{changed}' "
        f"for run ID='{batch.run_id}'."
    )


def not_active(run_id: str, stage: str) -> ApiError:
    """Return the error for a write to a deleted run."""
    return invalid(f"The run {run_id} must be in the 'active' state. Current state is {stage}.")


def _is_statement(batches: Sequence[Batch]) -> bool:
    """Whether one PostgreSQL statement is enough: for a small group that contains only points."""
    points = 0
    for batch in batches:
        if batch.params or batch.tags or batch.model_points:
            return False
        points += len(batch.points)
    return 0 < points < COPY_ROWS


async def apply(tx: Tx, batches: Sequence[Batch]) -> list[ApiError | None]:
    """Write the batches and return one answer for each. See `Kind.apply`."""
    if _is_statement(batches):
        stages = await batch_sql.insert_points_of_active(tx, batches)
        return [_refusal(batch, stages) for batch in batches]
    stages = await stages_of(tx, {batch.run_id for batch in batches})
    models = await batch_sql.logged_models(tx, batches)
    answers = [_refusal(batch, stages) or _unknown_model(batch, models) for batch in batches]
    good, params = _without_clashes(batches, answers)
    if not good:
        return answers
    await _write_params(tx, good, params)
    await batch_sql.insert_points(tx, good)
    await batch_sql.insert_model_points(tx, good, stages)
    names = {b.run_id: b.tags[RUN_NAME] for b in good if RUN_NAME in b.tags}
    if names:  # before the tags, as in `update`
        await batch_sql.rename(tx, names)
    await batch_sql.upsert_tags(tx, good)
    return answers


def _refusal(batch: Batch, stages: dict[str, RunStage]) -> ApiError | None:
    found = stages.get(batch.run_id)
    if found is None:
        return errors.run_not_found(batch.run_id)
    stage = found.lifecycle_stage
    return None if stage == "active" else not_active(batch.run_id, stage)


def _unknown_model(batch: Batch, known: set[str] | None) -> ApiError | None:
    """Return the error for a metric of an unknown logged model; `known` is None on old schemas."""
    unknown = known is not None and next(
        (p[0] for p in batch.model_points if p[0] not in known), None
    )
    if not unknown:
        return None
    return ApiError(ErrorCode.BAD_REQUEST, f"Logged model with ID '{unknown}' not found.")


def _without_clashes(
    batches: Sequence[Batch], answers: list[ApiError | None]
) -> tuple[list[Batch], batch_sql.Params]:
    """Return the batches that are not rejected, and their params by run and key.

    Also rejects a batch that changes a param set by an earlier batch of the same group.
    """
    merged: batch_sql.Params = {}
    kept: list[Batch] = []
    for n, batch in enumerate(batches):
        if answers[n] is not None:
            continue
        if batch.params:
            params = merged.setdefault(batch.run_id, {})
            answers[n] = changed_params(batch, params) if params else None
            if answers[n] is not None:
                continue
            params.update(batch.params)
        kept.append(batch)
    return kept, merged


async def _write_params(tx: Tx, batches: Sequence[Batch], params: batch_sql.Params) -> None:
    """Insert params. Raises `Excluded` with the batches that would change an existing param."""
    if not params or await batch_sql.insert_params(tx, params):
        return
    stored = await batch_sql.stored_params(tx, params)
    changed = {
        id(b): error
        for b in batches
        if b.params and (error := changed_params(b, stored.get(b.run_id, {}))) is not None
    }
    if changed:
        raise Excluded(changed)


KIND: Final = Kind("log_batch", 1, apply, subject=attrgetter("run_id"), single=_is_statement)
