"""Creation of runs, as an operation of the group commit: one statement for many runs (SQLite: three)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from operator import attrgetter
from typing import Final
from uuid import uuid4

from headrace.api.tracking.runs import create_sql
from headrace.api.tracking.runs.batch import RUN_NAME
from headrace.api.tracking.runs.create_sql import Location, RunIn, Tag
from headrace.api.tracking.runs.random_name import random_name
from headrace.api.tracking.runs.types import CreateRun
from headrace.commit.kinds import Kind, bytes_of
from headrace.contract import errors
from headrace.contract.artifact_uri import append_path
from headrace.contract.errors import ApiError, ErrorCode, invalid
from headrace.contract.experiment_ids import not_active, parse_id
from headrace.contract.texts import NUL, refuse_unstorable
from headrace.db.base import Tx


class NewRun:
    """A run to insert; `artifact_uri` is None until its experiment has been read."""

    __slots__ = (
        "artifact_uri",
        "experiment_id",
        "name",
        "run_id",
        "start_time",
        "tags",
        "two_names",
        "user_id",
    )

    def __init__(self, req: CreateRun) -> None:
        self.experiment_id = parse_id(req.experiment_id) if req.experiment_id else 0
        self.run_id = uuid4().hex
        self.user_id = req.user_id or ""
        self.start_time = req.start_time or 0
        self.artifact_uri: str | None = None
        self.tags = [(tag.key or "", tag.value or "") for tag in req.tags]
        # The Python API has no decoder that checks this.
        if NUL in "".join([req.run_name or "", self.user_id, *chain.from_iterable(self.tags)]):
            refuse_unstorable(req)
        tagged = next((value for key, value in self.tags if key == RUN_NAME), "")
        self.two_names: ApiError | None = None
        if req.run_name and tagged and req.run_name != tagged:
            self.two_names = invalid(
                "Both 'run_name' argument and 'mlflow.runName' tag are specified, but with "
                f"different values (run_name='{req.run_name}', mlflow.runName='{tagged}')."
            )
        if not req.experiment_id:
            raise self.two_names or ApiError(
                ErrorCode.BAD_REQUEST, "A run needs an experiment: 'experiment_id' is missing."
            )
        self.name = req.run_name or tagged or random_name()
        if not tagged:
            self.tags.append((RUN_NAME, self.name))

    def cost_bytes(self) -> int:
        """Return the approximate memory use of the waiting run."""
        text = sum(bytes_of(key) + bytes_of(value) for key, value in self.tags)
        return 600 + 64 * len(self.tags) + bytes_of(self.name) + bytes_of(self.user_id) + text

    def row(self) -> RunIn:
        """Return the row for `create_sql`."""
        return (
            self.run_id,
            self.experiment_id,
            self.name,
            self.user_id,
            self.start_time,
            self.artifact_uri,
        )


async def apply(tx: Tx, new: Sequence[NewRun]) -> list[ApiError | None]:
    """Insert the runs whose experiment is active; return one answer for each. See `Kind.apply`."""
    experiment_ids = sorted({run.experiment_id for run in new})
    runs = sorted((run for run in new if not run.two_names), key=attrgetter("run_id"))
    locations, are_created = await create_sql.try_create(tx, experiment_ids, *_rows(runs))
    good = _located(runs, locations)
    if good and not are_created:
        locations = await create_sql.create(tx, locations, *_rows(good))
    return [_refusal(run, locations) or run.two_names for run in new]


def _located(runs: Sequence[NewRun], locations: Mapping[int, Location]) -> list[NewRun]:
    """Return the runs that may be created, and set their artifact URIs."""
    good = [run for run in runs if _refusal(run, locations) is None]
    for run in good:
        root = locations[run.experiment_id].artifact_location or ""
        run.artifact_uri = append_path(root, run.run_id, "artifacts")
    return good


def _refusal(run: NewRun, locations: Mapping[int, Location]) -> ApiError | None:
    location = locations.get(run.experiment_id)
    if location is None:
        return errors.experiment_not_found(run.experiment_id)
    if location.lifecycle_stage != "active":
        return not_active(run.experiment_id, location.lifecycle_stage)
    return None


def _rows(runs: Sequence[NewRun]) -> tuple[list[RunIn], list[Tag]]:
    return (
        [run.row() for run in runs],
        [(run.run_id, key, value) for run in runs for key, value in run.tags],
    )


def _subject(run: NewRun) -> tuple[str, int]:
    return "experiment", run.experiment_id


KIND: Final = Kind("create_run", 0, apply, subject=_subject, single=lambda ops: True, once=True)
