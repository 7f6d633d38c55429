"""Requests and answers of the experiment endpoints (MLflow's service.proto)."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from headrace.api.nouns import Tag, ViewType
from headrace.contract.limits import SEARCH_MAX_RESULTS
from headrace.contract.scalars import (
    DEMANDED,
    ExperimentNumber,
    LongStr,
    Message,
    OptionalInt64,
    OptionalStr,
    RequiredStr,
)


class Experiment(Message):
    """One experiment; times in milliseconds since the epoch."""

    experiment_id: str
    name: str
    artifact_location: str
    lifecycle_stage: str
    last_update_time: int | None = None
    creation_time: int | None = None
    tags: list[Tag] = []
    workspace: str | None = None


class CreateExperiment(Message):
    """POST experiments/create"""

    name: RequiredStr
    artifact_location: OptionalStr = None
    tags: Annotated[list[Tag], Meta(extra={"checks": ("array",)})] = []


class CreatedExperiment(Message):
    """The id of a new experiment."""

    experiment_id: str


class ExperimentId(Message):
    """GET experiments/get; POST experiments/delete and restore"""

    experiment_id: ExperimentNumber


class ExperimentName(Message):
    """GET experiments/get-by-name"""

    experiment_name: RequiredStr


class ExperimentAnswer(Message):
    """An answer with one experiment."""

    experiment: Experiment


class UpdateExperiment(Message):
    """POST experiments/update"""

    experiment_id: ExperimentNumber
    new_name: RequiredStr


class SetExperimentTag(Message):
    """POST experiments/set-experiment-tag"""

    experiment_id: ExperimentNumber
    key: RequiredStr
    value: LongStr = None


class DeleteExperimentTag(Message):
    """POST experiments/delete-experiment-tag"""

    experiment_id: ExperimentNumber
    key: RequiredStr


class SearchExperiments(Message):
    """GET and POST experiments/search"""

    max_results: Annotated[
        OptionalInt64,
        Meta(extra=DEMANDED, extra_json_schema={"minimum": 1, "maximum": SEARCH_MAX_RESULTS}),
    ] = None
    page_token: OptionalStr = None
    filter: LongStr = None
    order_by: Annotated[list[str], Meta(extra={"checks": ("array",)})] = []
    view_type: Annotated[ViewType | None, Meta(extra={"checks": ("intlike",)})] = None


class ExperimentPage(Message):
    """One page of a search; `next_page_token` is present only if there are more results."""

    experiments: list[Experiment] = []
    next_page_token: str | None = None
