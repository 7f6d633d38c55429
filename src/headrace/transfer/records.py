"""The records that are moved: experiments, runs, points of metrics, files, models, traces.

Times are milliseconds since the epoch. The Structs are also the lines of an export.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import msgspec

from headrace.contract.errors import ApiError, ErrorCode, invalid
from headrace.contract.scalars import Int64  # noqa: TC001 - msgspec reads it

if TYPE_CHECKING:
    from collections.abc import Iterator

    from headrace.api.traces.traces.write_types import TraceInfoIn

R = TypeVar("R")


class Experiment(msgspec.Struct, kw_only=True, omit_defaults=True):
    """An experiment of a source, under the id that it has there."""

    experiment_id: str
    name: str
    artifact_location: str = ""
    lifecycle_stage: str = "active"
    creation_time: Int64 | None = None
    last_update_time: Int64 | None = None
    tags: dict[str, str] = {}


class Dataset(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A dataset that a run read, and the tags of that use."""

    name: str
    digest: str
    source_type: str = ""
    source: str = ""
    schema: str | None = None
    profile: str | None = None
    tags: dict[str, str] = {}


class Run(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A run without the points of its metrics. `status` is a name of MLflow's enum."""

    run_id: str
    name: str = ""
    user_id: str = ""
    status: str = "FINISHED"
    start_time: Int64 | None = None
    end_time: Int64 | None = None
    lifecycle_stage: str = "active"
    artifact_uri: str = ""
    params: dict[str, str] = {}
    tags: dict[str, str] = {}
    datasets: list[Dataset] = []
    model_inputs: list[str] = []  # ids of the logged models that it read
    model_outputs: dict[str, Int64] = {}  # ids of those that it wrote, with the step


class ModelMetric(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A point of a metric of a logged model."""

    key: str
    value: float
    timestamp: Int64
    step: Int64 = 0
    run_id: str
    dataset_name: str | None = None
    dataset_digest: str | None = None


class LoggedModel(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A logged model. `status` is the end of a name of MLflow's enum: READY, PENDING, FAILED."""

    model_id: str
    name: str
    creation_time: Int64
    last_update_time: Int64
    artifact_uri: str = ""
    status: str = "READY"
    status_message: str | None = None
    model_type: str | None = None
    source_run_id: str | None = None
    params: dict[str, str] = {}
    tags: dict[str, str] = {}
    metrics: list[ModelMetric] = []


class RegisteredModel(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A registered model without its versions. Its aliases name versions by number."""

    name: str
    creation_time: Int64
    last_update_time: Int64
    description: str | None = None
    tags: dict[str, str] = {}
    aliases: dict[str, Int64] = {}


class ModelVersion(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A version of a registered model."""

    version: Int64
    creation_time: Int64
    last_update_time: Int64
    description: str | None = None
    user_id: str | None = None
    stage: str = "None"
    source: str = ""
    run_id: str | None = None
    run_link: str | None = None
    status: str = "READY"
    status_message: str | None = None
    tags: dict[str, str] = {}


class Trace(NamedTuple):
    """A trace without its spans. `ended`: the source does not say that it still runs."""

    trace_id: str
    info: TraceInfoIn
    ended: bool


class Point(NamedTuple):
    """A point of a metric. The value may be NaN or infinite."""

    key: str
    step: int
    timestamp: int
    value: float


class File(ABC):
    """An artifact of a run. `path` is below the run's artifact location; `size` in bytes, if known."""

    path: str
    size: int | None

    @abstractmethod
    def chunks(self) -> Iterator[bytes]:
        """The contents, in pieces of bounded size."""


class Broken(NamedTuple):
    """An experiment or run that cannot be read: its name for people, and why."""

    name: str
    reason: Exception


class CutOff(ApiError):
    """The contents of a file ended too early. Reading them again may succeed."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(
            ErrorCode.TEMPORARILY_UNAVAILABLE, f"The artifact '{path}' is not complete: {reason}"
        )


class Outside(NamedTuple):
    """Artifacts of a run that are not read, because they lie outside of the directories that may be read."""

    reason: str


class Source(ABC):
    """A place with experiments. Every method reads as the caller iterates, so memory is bounded.

    Raises `headrace.Error` and OSError.
    """

    @abstractmethod
    def experiments(self) -> Iterator[Experiment | Broken]:
        """Every experiment, deleted ones too."""

    @abstractmethod
    def count(self, experiment: Experiment) -> int | None:
        """The number of its runs; None if counting them means reading them."""

    @abstractmethod
    def runs(self, experiment: Experiment) -> Iterator[Run | Broken]:
        """Every run of an experiment, deleted ones too."""

    @abstractmethod
    def points(self, experiment: Experiment, run: Run) -> Iterator[Point]:
        """Every point of a run's metrics, in the order of logging if it is known."""

    def files(self, experiment: Experiment, run: Run) -> Iterator[File | Outside]:
        """Every artifact of a run."""
        return iter(())

    def logged_models(self, experiment: Experiment) -> Iterator[LoggedModel | Broken]:
        """Every logged model of an experiment that is not deleted."""
        return iter(())

    def model_files(self, experiment: Experiment, model: LoggedModel) -> Iterator[File | Outside]:
        """Every artifact of a logged model."""
        return iter(())

    def traces(self, experiment: Experiment) -> Iterator[Trace | Broken]:
        """Every trace of an experiment."""
        return iter(())

    def spans(self, experiment: Experiment, trace: Trace) -> list[dict[str, Any]]:
        """The spans of a trace, each as in MLflow's file `traces.json`."""
        return []

    def registered_models(self) -> Iterator[RegisteredModel | Broken]:
        """Every registered model, prompts too."""
        return iter(())

    def versions(self, model: RegisteredModel) -> Iterator[ModelVersion | Broken]:
        """Every version of a registered model that is not deleted."""
        return iter(())

    def artifact_uri(self, run_id: str) -> str:
        """The artifact location of a run in the source; "" if it is unknown."""
        return ""

    def close(self) -> None:
        """Release connections and files."""
        self.is_closed = True


def checked(kind: type[R], place: object, fields: dict[str, Any]) -> R:
    """Return a record of fields that a source names. Raises INVALID_PARAMETER_VALUE for one of a wrong type."""
    try:
        return msgspec.convert(fields, kind)
    except msgspec.ValidationError as error:
        raise unreadable(place, error) from error


def unreadable(place: object, reason: object) -> Exception:
    """Return the error for a part of a source that cannot be read."""
    return invalid(f"{place} cannot be imported: {reason}")
