"""An export of headrace as a source: see `export` for the files."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import msgspec

from headrace.contract.errors import ApiError
from headrace.contract.scalars import Int64  # noqa: TC001 - msgspec reads it
from headrace.transfer import local_files, tables
from headrace.transfer.records import (
    Broken,
    Experiment,
    File,
    Outside,
    Point,
    Run,
    Source,
    checked,
    unreadable,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MANIFEST: Final = "headrace-export.json"
VERSION: Final = 1


class Manifest(msgspec.Struct, kw_only=True):
    """The contents of an export. It is written last."""

    version: int
    format: str
    experiments: list[Experiment]
    runs: dict[str, int]  # number of runs, by experiment id


class _Metric(msgspec.Struct):
    key: str
    step: Int64
    timestamp: Int64
    value: float


class _Grouped:
    """The rows of a table that is sorted as the table of runs, run by run."""

    def __init__(self, directory: Path, table: str, kind: str) -> None:
        self._rows = tables.rows(directory, table, kind)
        self._next = next(self._rows, None)

    def of(self, run_id: str) -> Iterator[tables.Row]:
        """Yield the rows of a run. Call it once for each run, in order."""
        while self._next is not None and self._next["run_id"] == run_id:
            row = self._next
            self._next = next(self._rows, None)
            yield row


class Export(Source):
    """A directory that `headrace export` wrote."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._roots = local_files.Roots([root])
        try:
            self._manifest = msgspec.json.decode((root / MANIFEST).read_bytes(), type=Manifest)
        except msgspec.DecodeError as error:
            raise unreadable(root / MANIFEST, error) from error
        if self._manifest.version != VERSION:
            raise unreadable(root, f"its version is {self._manifest.version}, not {VERSION}")
        self._metrics: _Grouped | None = None

    def experiments(self) -> Iterator[Experiment]:
        """See Source."""
        return iter(self._manifest.experiments)

    def count(self, experiment: Experiment) -> int | None:
        """See Source."""
        return self._manifest.runs.get(experiment.experiment_id)

    def runs(self, experiment: Experiment) -> Iterator[Run | Broken]:
        """See Source."""
        directory, kind = self._root / experiment.experiment_id, self._manifest.format
        params, tags, datasets, self._metrics = (
            _Grouped(directory, table, kind) for table in ("params", "tags", "datasets", "metrics")
        )
        for row in tables.rows(directory, "runs", kind):
            run_id = row["run_id"]
            fields = {
                **row,
                "params": {one["key"]: one["value"] for one in params.of(run_id)},
                "tags": {one["key"]: one["value"] for one in tags.of(run_id)},
                "datasets": [_dataset(one) for one in datasets.of(run_id)],
            }
            try:
                yield checked(Run, f"The run {run_id}", fields)
            except ApiError as error:
                yield Broken(f"run {run_id}", error)
            for _ in self._metrics.of(run_id):  # of a run that was not imported
                pass

    def points(self, experiment: Experiment, run: Run) -> Iterator[Point]:
        """See Source. Call it for the run that `runs` has just returned."""
        assert self._metrics is not None, "runs() opens the metrics"
        for row in self._metrics.of(run.run_id):
            try:
                point = msgspec.convert(row, _Metric, strict=False)
            except msgspec.ValidationError as error:
                raise unreadable(f"A point of the run {run.run_id}", error) from error
            yield Point(point.key, point.step, point.timestamp, point.value)

    def files(self, experiment: Experiment, run: Run) -> Iterator[File | Outside]:
        """See Source."""
        return self._roots.below(self._root / experiment.experiment_id / "artifacts" / run.run_id)


def _dataset(row: tables.Row) -> dict[str, Any]:
    given = {name: value for name, value in row.items() if name != "run_id"}
    try:
        return {**given, "tags": json.loads(row["tags"])}
    except (ValueError, TypeError, KeyError) as error:
        raise unreadable(f"A dataset of the run {row['run_id']}", error) from error
