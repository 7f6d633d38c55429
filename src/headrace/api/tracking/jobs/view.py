"""Jobs as answers show them. No I/O."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from headrace.api.tracking.jobs.sql import CALLS, FINAL, INITIAL, JobRow, status_of
from headrace.api.tracking.jobs.types import (
    Job,
    JobProgress,
    JobState,
    JobStatus,
    Optimization,
    OptimizationConfig,
    OptimizationState,
    Progress,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from headrace.db.base import Row

FAILURES: Final = (JobStatus.FAILED, JobStatus.TIMEOUT)
_OF_OPTIMIZATION: Final = {
    JobStatus.PENDING: "JOB_STATUS_PENDING",
    JobStatus.RUNNING: "JOB_STATUS_IN_PROGRESS",
    JobStatus.NEEDS_RECOVERY: "JOB_STATUS_NEEDS_RECOVERY",
    JobStatus.SUCCEEDED: "JOB_STATUS_COMPLETED",
    JobStatus.FAILED: "JOB_STATUS_FAILED",
    JobStatus.TIMEOUT: "JOB_STATUS_FAILED",
    JobStatus.CANCELED: "JOB_STATUS_CANCELED",
}
_OPTIMIZERS: Final = {"gepa": "OPTIMIZER_TYPE_GEPA", "metaprompt": "OPTIMIZER_TYPE_METAPROMPT"}


def _read(text: str | None) -> Any:
    """The value of a JSON column, in which null may be a JSON text too."""
    return None if text is None else json.loads(text)


def _result(row: JobRow, status: JobStatus) -> Any:
    return _read(row.result) if status is JobStatus.SUCCEEDED else row.result


def _error(row: JobRow, status: JobStatus) -> str | None:
    return row.result if status in FAILURES else None


def _progress(row: JobRow) -> dict[str, Any] | None:
    """The known fields of the progress; None if the job reports none."""
    given = _read(row.progress)
    if given is None:
        return None
    names = JobProgress.__struct_fields__
    return {name: given[name] for name in names if given.get(name) is not None}


def job(row: JobRow) -> Job:
    """A job with its parameters."""
    status = status_of(row)
    progress = _progress(row)
    return Job(
        job_id=row.id,
        creation_time=row.creation_time,
        job_name=row.job_name,
        params=json.loads(row.params),
        timeout=None if row.timeout is None else float(row.timeout),
        status=status,
        result=_result(row, status),
        error_message=_error(row, status),
        retry_count=row.retry_count,
        last_update_time=row.last_update_time,
        status_details=_read(row.status_details),
        creator=row.creator,
        status_message=row.status_message,
        progress=None if progress is None else JobProgress(**progress),
        progress_updated_at=row.progress_updated_at,
    )


def state(row: JobRow) -> JobState:
    """A job without its parameters."""
    status = status_of(row)
    return JobState(
        error_message=_error(row, status),
        progress=_progress(row),
        progress_updated_at=row.progress_updated_at,
        result=_result(row, status),
        status=status,
        status_details=_read(row.status_details),
        status_message=row.status_message,
    )


def optimization(row: JobRow, scores: Iterable[Row] = ()) -> Optimization:
    """A job that optimizes a prompt; `scores` are the metrics of its run."""
    status = status_of(row)
    params = json.loads(row.params)
    result = _result(row, status)
    progress = _progress(row)
    initial, final, calls = _by_stage(scores)
    succeeded = status is JobStatus.SUCCEEDED and isinstance(result, dict)
    fraction = _fraction(calls, params.get("optimizer_config", {}))
    return Optimization(
        job_id=row.id,
        run_id=_text(params.get("run_id")) or None,
        state=OptimizationState(
            status=_OF_OPTIMIZATION[status],
            error_message=_error(row, status),
            metadata={} if fraction is None else {"progress": fraction},
            status_message=row.status_message,
            progress=Progress(**progress) if progress else None,
            progress_updated_at=row.progress_updated_at,
        ),
        experiment_id=_text(params.get("experiment_id")),
        source_prompt_uri=_text(params.get("prompt_uri")),
        optimized_prompt_uri=_text(result.get("optimized_prompt_uri")) or None
        if succeeded
        else None,
        config=_config(params),
        creation_timestamp_ms=row.creation_time,
        initial_eval_scores=initial,
        final_eval_scores=final,
    )


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _config(params: dict[str, Any]) -> OptimizationConfig | None:
    scorers = params.get("scorer_names")
    if isinstance(scorers, str):
        with suppress(ValueError):
            scorers = json.loads(scorers)
    given = params.get("optimizer_config") or None
    kind = params.get("optimizer_type")
    config = OptimizationConfig(
        optimizer_type=_OPTIMIZERS.get(kind) if isinstance(kind, str) else None,
        dataset_id=_text(params.get("dataset_id")) or None,
        scorers=[one for one in scorers if isinstance(one, str)]
        if isinstance(scorers, list)
        else [],
        optimizer_config_json=json.dumps(given) if isinstance(given, dict) else _text(given),
    )
    return config if config != OptimizationConfig() else None


Scores = dict[str, float | str]


def _by_stage(rows: Iterable[Row]) -> tuple[Scores, Scores, float | None]:
    """The scores before and after, by scorer, and the number of calls of metrics."""
    found: dict[str, Scores] = {INITIAL: {}, FINAL: {}}
    calls: float | None = None
    for key, value, is_nan in rows:
        stage, dot, scorer = key.partition(".")
        if stage in found:
            found[stage][scorer if dot else "aggregate"] = "NaN" if is_nan else value
        elif stage == CALLS:
            calls = float("nan") if is_nan else value
    return found[INITIAL], found[FINAL], calls


def _fraction(calls: float | None, config: Any) -> str | None:
    """How much of the permitted calls of metrics an optimization has made, as text."""
    most = config.get("max_metric_calls") if isinstance(config, dict) else None
    if calls is None or not isinstance(most, int | float) or not most:
        return None
    return str(round(min(calls / most, 1.0), 2))
