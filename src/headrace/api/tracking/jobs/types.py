"""Requests and answers of jobs. Times are milliseconds since the epoch."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec

from headrace.contract.scalars import Message, PathOnly, RequiredStr


class JobStatus(StrEnum):
    """The state of a job, in the order in which MLflow lists them."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    NEEDS_RECOVERY = "NEEDS_RECOVERY"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    TIMEOUT = "TIMEOUT"
    CANCELED = "CANCELED"


class JobId(PathOnly):
    """GET jobs/{job_id} and the like"""

    job_id: str


class SearchJobs(msgspec.Struct, kw_only=True):
    """POST jobs/search: each field that is set narrows the search.

    `params`: the values of some parameters of the jobs.
    """

    job_name: str | None = None
    params: dict[str, Any] | None = None
    statuses: list[JobStatus] | None = None


class JobProgress(msgspec.Struct):
    """How far a job is, as far as it says so."""

    phase: str | None = None
    completed: int | None = None
    total: int | None = None
    unit: str | None = None


class Job(msgspec.Struct, kw_only=True, gc=False):
    """A job. `timeout` is in seconds; `result` is any JSON if it succeeded, else a text."""

    job_id: str
    creation_time: int
    job_name: str
    params: dict[str, Any]
    timeout: float | None
    status: JobStatus
    result: Any
    error_message: str | None
    retry_count: int
    last_update_time: int
    status_details: dict[str, Any] | None
    creator: str | None
    status_message: str | None
    progress: JobProgress | None
    progress_updated_at: int | None


class JobList(msgspec.Struct):
    """All jobs that fit, the oldest first."""

    jobs: list[Job]


class JobState(msgspec.Struct, kw_only=True, gc=False):
    """The state of a job without its parameters; `progress` has only what is known."""

    error_message: str | None
    progress: dict[str, Any] | None
    progress_updated_at: int | None
    result: Any
    status: JobStatus
    status_details: dict[str, Any] | None
    status_message: str | None


class SearchOptimizations(Message):
    """GET, POST prompt-optimization/jobs/search"""

    experiment_id: RequiredStr


class Progress(Message):
    """How far an optimization is."""

    phase: str | None = None
    completed: int | None = None
    total: int | None = None
    unit: str | None = None


class OptimizationState(Message):
    """The state of an optimization; `metadata.progress` is a fraction as text."""

    status: str
    error_message: str | None = None
    metadata: dict[str, str] = {}
    status_message: str | None = None
    progress: Progress | None = None
    progress_updated_at: int | None = None


class OptimizationConfig(Message):
    """The configuration of an optimization; `optimizer_config_json` is JSON."""

    optimizer_type: str | None = None
    dataset_id: str | None = None
    scorers: list[str] = []
    optimizer_config_json: str | None = None


class Optimization(Message, kw_only=True):
    """A job that optimizes a prompt; its scores are by scorer, and `aggregate`."""

    job_id: str
    run_id: str | None = None
    state: OptimizationState
    experiment_id: str | None = None
    source_prompt_uri: str | None = None
    optimized_prompt_uri: str | None = None
    config: OptimizationConfig | None = None
    creation_timestamp_ms: int
    initial_eval_scores: dict[str, float | str] = {}
    final_eval_scores: dict[str, float | str] = {}


class OptimizationAnswer(Message):
    """One optimization."""

    job: Optimization


class OptimizationList(Message):
    """All optimizations of an experiment, the oldest first."""

    jobs: list[Optimization] = []
