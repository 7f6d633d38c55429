"""The export of experiments into a directory.

    headrace-export.json                  the experiments and the format
    <experiment id>/runs.jsonl, params.jsonl, tags.jsonl, metrics.jsonl, datasets.jsonl (or .parquet)
    <experiment id>/artifacts/<run id>/…

Every table is sorted by run, in the order of `runs`. A point of a metric is a row of `metrics`.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final

import msgspec

from headrace import search
from headrace.api.nouns import ViewType
from headrace.api.tracking.experiments import sql as experiments_sql
from headrace.api.tracking.experiments.view import experiments as shown
from headrace.api.tracking.metrics import sql as metrics_sql
from headrace.api.tracking.runs import sql, transactions, view
from headrace.auth.redactions import NOTHING_HIDDEN
from headrace.client import engine
from headrace.contract.errors import invalid, not_found
from headrace.contract.file_names import native
from headrace.contract.scalars import INT64_MAX
from headrace.contract.steps import integer
from headrace.storage.locations import Locations
from headrace.transfer import tables
from headrace.transfer.exported import MANIFEST, VERSION, Manifest
from headrace.transfer.records import Dataset, Experiment, Run
from headrace.transfer.report import Report

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from headrace.api.tracking.runs.types import DatasetInput
    from headrace.db.base import Row
    from headrace.settings.table import Settings
    from headrace.storage.base import Store

RUNS: Final = 50  # per page
EXPERIMENTS: Final = 1000  # per page


class Exporter:
    """One export. `progress` is called after each run."""

    def __init__(
        self, settings: Settings, kind: str, artifacts: bool, progress: Callable[[Report], None]
    ) -> None:
        """`kind` is one of `tables.FORMATS`."""
        self._engine = engine.engine_of(settings.backend_store_uri)
        self._locations = Locations(settings, anywhere=True)
        self._kind = kind
        self._artifacts = artifacts
        self._progress = progress
        self.report = Report()

    def run(self, directory: Path, names: Sequence[str]) -> Report:
        """Export the experiments with these names, or all. The directory must be new or empty.

        After an error the directory has no manifest and cannot be imported.
        """
        if directory.exists() and any(directory.iterdir()):
            raise invalid(f"The directory {directory} is not empty.")
        chosen = list(self._experiments(names))
        counts = {}
        self.report.total_runs = None
        for experiment in chosen:
            place = directory / experiment.experiment_id
            place.mkdir(parents=True)
            counts[experiment.experiment_id] = self._experiment(experiment, place)
            self.report.experiments += 1
        directory.mkdir(parents=True, exist_ok=True)
        manifest = Manifest(version=VERSION, format=self._kind, experiments=chosen, runs=counts)
        text = msgspec.json.format(msgspec.json.encode(manifest))
        (directory / MANIFEST).write_bytes(text + b"\n")
        self._locations.close()
        return self.report

    def _experiments(self, names: Sequence[str]) -> Iterator[Experiment]:
        left = set(names)
        token: str | None = None
        while True:
            page = search.experiments_page(
                filter=None,
                order_by=["experiment_id"],
                stages=ViewType.ALL.stages,
                max_results=EXPERIMENTS,
                page_token=token,
                dialect=self._engine.dialect,
            )
            rows, tags, token = self._engine.read(experiments_sql.search, page)
            for one in shown(rows, tags):
                if names and one.name not in left:
                    continue
                left.discard(one.name)
                yield Experiment(
                    experiment_id=one.experiment_id,
                    name=one.name,
                    artifact_location=one.artifact_location,
                    lifecycle_stage=one.lifecycle_stage,
                    creation_time=one.creation_time,
                    last_update_time=one.last_update_time,
                    tags={tag.key or "": tag.value or "" for tag in one.tags},
                )
            if token is None:
                break
        if left:
            raise not_found(f"There is no experiment '{min(left)}'.")

    def _experiment(self, experiment: Experiment, directory: Path) -> int:
        count = 0
        with ExitStack() as stack:
            writers = {}
            for table in tables.TABLES:
                writers[table] = tables.writer(directory, table, self._kind)
                stack.callback(writers[table].close)
            for run in self._runs(int(experiment.experiment_id)):
                self._run(run, writers)
                if self._artifacts:
                    self._files(run, directory / "artifacts" / run.run_id)
                count += 1
                self.report.runs += 1
                self._progress(self.report)
        return count

    def _runs(self, number: int) -> Iterator[Run]:
        token: str | None = None
        while True:
            page = search.runs_page(
                experiment_ids=[number],
                filter=None,
                order_by=["start_time ASC"],  # then by id; new runs come last
                stages=ViewType.ALL.stages,
                max_results=RUNS,
                page_token=token,
                dialect=self._engine.dialect,
                columns=sql.COLUMNS,
            )
            rows, logged, token = self._engine.read(transactions.search, page)
            for row, one in zip(rows, view.runs(rows, logged, NOTHING_HIDDEN), strict=True):
                yield _record(row, one)
            if token is None:
                return

    def _run(self, run: Run, writers: dict[str, tables.Writer]) -> None:
        run_id = run.run_id
        row = {name: getattr(run, name) for name in tables.TABLES["runs"]}
        writers["runs"].write([row])
        for table, pairs in (("params", run.params), ("tags", run.tags)):
            writers[table].write(
                [{"run_id": run_id, "key": key, "value": pairs[key]} for key in sorted(pairs)]
            )
        writers["datasets"].write(
            [
                {
                    "run_id": run_id,
                    **{name: getattr(one, name) for name in Dataset.__struct_fields__},
                    "tags": json.dumps(one.tags),
                }
                for one in run.datasets
            ]
        )
        keys = [key for _, key, *_ in self._engine.read(_metrics, run_id)]
        for key in sorted(keys):
            for points in self._points(run_id, key):
                self.report.points += len(points)
                writers["metrics"].write(
                    [
                        {
                            "run_id": run_id,
                            "key": key,
                            "step": integer(step),
                            "timestamp": timestamp,
                            "value": float("nan") if is_nan else value,
                        }
                        for value, timestamp, step, is_nan in points
                    ]
                )

    def _points(self, run_id: str, key: str) -> Iterator[list[Row]]:
        """Yield the points of a history in parts, each a short read."""
        rows = self._engine.read(metrics_sql.page, run_id, key, metrics_sql.PART_ROWS, 0)
        yield rows
        if len(rows) < metrics_sql.PART_ROWS:
            return
        last = rows[-1]
        for part in self._engine.read(metrics_sql.parts, run_id, key, len(rows), INT64_MAX):
            while rows := self._engine.read(
                metrics_sql.after, run_id, key, part, last, metrics_sql.PART_ROWS
            ):
                yield rows
                last = rows[-1]

    def _files(self, run: Run, directory: Path) -> None:
        place = self._locations.resolve(run.artifact_uri, None)
        count, size = asyncio.run(_copy(place.store, place.path, directory))
        self.report.files += count
        self.report.file_bytes += size


async def _metrics(tx: Any, run_id: str) -> list[Row]:
    rows: list[Row] = await tx.fetch(sql.METRICS, tx.array([run_id]), INT64_MAX)
    return rows


async def _copy(store: Store, root: str, directory: Path) -> tuple[int, int]:
    """Copy the files below a path of a store; return their number and bytes."""
    count = size = 0
    pending = [""]
    while pending:
        below = pending.pop()
        async for entries in store.listing("/".join(filter(None, (root, below)))):
            for entry in entries:
                path = f"{below}/{entry.name}" if below else entry.name
                if entry.is_dir:
                    pending.append(path)
                    continue
                target = directory / native(path)
                target.parent.mkdir(parents=True, exist_ok=True)
                size += await _copy_file(store, "/".join(filter(None, (root, path))), target)
                count += 1
    return count, size


async def _copy_file(store: Store, path: str, target: Path) -> int:
    found = await store.open(path)
    try:
        whole = await found.whole()
        with target.open("wb") as file:
            if whole is not None:
                return file.write(whole)
            size = 0
            async for chunk in found.chunks(0, found.size):
                size += await asyncio.to_thread(file.write, chunk)
            return size
    finally:
        await found.close()


def _record(row: Row, one: Any) -> Run:
    run_id, _, name, user, status, start, end, artifact_uri, stage = row
    return Run(
        run_id=run_id,
        name=name or "",
        user_id=user or "",
        status=status,
        start_time=start,
        end_time=end,
        lifecycle_stage=stage,
        artifact_uri=artifact_uri or "",
        params={pair.key: pair.value for pair in one.data.params},
        tags={pair.key: pair.value for pair in one.data.tags},
        datasets=[_dataset(found) for found in one.inputs.dataset_inputs],
    )


def _dataset(found: DatasetInput) -> Dataset:
    dataset = found.dataset
    assert dataset is not None, "a dataset input of a run has a dataset"
    return Dataset(
        name=dataset.name or "",
        digest=dataset.digest or "",
        source_type=dataset.source_type or "",
        source=dataset.source or "",
        schema=dataset.schema,
        profile=dataset.profile,
        tags={tag.key or "": tag.value or "" for tag in found.tags},
    )
