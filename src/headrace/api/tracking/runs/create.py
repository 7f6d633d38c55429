"""Creation of runs, as an operation of the group commit: two statements for many runs (SQLite: three)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Final
from uuid import uuid4

from headrace.api.tracking.runs import sql
from headrace.api.tracking.runs.batch import RUN_NAME
from headrace.api.tracking.runs.random_name import random_name
from headrace.api.tracking.runs.types import CreateRun
from headrace.commit.kinds import Kind, bytes_of
from headrace.contract import errors
from headrace.contract.artifact_uri import append_path
from headrace.contract.errors import ApiError, ErrorCode, invalid
from headrace.contract.experiment_ids import not_active, parse_id
from headrace.contract.texts import NUL, refuse_nul
from headrace.db.base import Tx


class NewRun:
    """A run to insert; `artifact_uri` is set when its experiment has been read."""

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
        self.artifact_uri = ""
        self.tags = [(tag.key or "", tag.value or "") for tag in req.tags]
        # The Python API has no decoder that checks this.
        if NUL in "".join([req.run_name or "", self.user_id, *chain.from_iterable(self.tags)]):
            refuse_nul(req)
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

    def row(self) -> tuple[str, int, str, str, int, str]:
        """Return the parameters of `sql.INSERT_RUN`."""
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
    locations = await sql.locations(tx, {run.experiment_id for run in new})
    answers: list[ApiError | None] = []
    good: list[NewRun] = []
    for run in new:
        location = locations.get(run.experiment_id)
        if location is None:
            answers.append(errors.experiment_not_found(run.experiment_id))
        elif location.lifecycle_stage != "active":
            answers.append(not_active(run.experiment_id, location.lifecycle_stage))
        elif run.two_names:
            answers.append(run.two_names)
        else:
            root = location.artifact_location or ""
            run.artifact_uri = append_path(root, run.run_id, "artifacts")
            answers.append(None)
            good.append(run)
    if good:
        good.sort(key=lambda run: run.run_id)
        tags = [(run.run_id, key, value) for run in good for key, value in run.tags]
        await sql.insert(tx, [run.row() for run in good], tags)
    return answers


def _subject(run: NewRun) -> tuple[str, int]:
    return "experiment", run.experiment_id


KIND: Final = Kind("create_run", 0, apply, subject=_subject, once=True)
