"""The records that are moved: experiments, runs, the points of their metrics, their files.

Times are milliseconds since the epoch. The Structs are also the lines of an export.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import msgspec

from headrace.contract.errors import ApiError, ErrorCode, invalid
from headrace.contract.scalars import Int64  # noqa: TC001 - msgspec reads it

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


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


class Left(NamedTuple):
    """Objects of a source that an import leaves out: how many, at least how many, or None if unknown."""

    noun: str
    number: int | None
    is_all: bool = True


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

    def left_out(self, experiment_ids: Sequence[str]) -> list[Left]:
        """Logged models and traces of these experiments, and registered models, which are not imported."""
        return []

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
