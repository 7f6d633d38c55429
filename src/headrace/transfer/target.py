"""The database that experiments are imported into. Each write may be repeated, so an import can be resumed.

A run is written in many small transactions; its status is set in the last one. So a run that has ended in the
target is complete.
"""

from __future__ import annotations

import asyncio
import threading
import time
from itertools import chain, islice
from typing import TYPE_CHECKING, Final

import msgspec

from headrace.api.nouns import Tag
from headrace.api.tracking.artifacts import sql as artifacts_sql
from headrace.api.tracking.runs import batch, create, inputs
from headrace.api.tracking.runs.types import (
    CreateRun,
    DatasetInput,
    LogInputs,
    LogOutputs,
    MetricIn,
    ModelInput,
    ModelOutput,
    ParamIn,
    TagIn,
)
from headrace.api.tracking.runs.types import Dataset as DatasetIn
from headrace.client import engine
from headrace.contract.clock import now_ms
from headrace.contract.errors import invalid
from headrace.contract.limits import MAX_METRICS_PER_BATCH, MAX_PARAMS_PER_BATCH, MAX_TAGS_PER_BATCH
from headrace.contract.names import invalid_value
from headrace.contract.paths import climbs
from headrace.contract.scalars import INT32_MAX, INT64_MAX, INT64_MIN
from headrace.contract.texts import refuse_unstorable
from headrace.db.upkeep import transfer as sql
from headrace.storage import paths
from headrace.storage.locations import Locations
from headrace.transfer.records import CutOff, unreadable
from headrace.transfer.target_objects import ObjectTarget

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine, Iterable, Iterator
    from typing import Any, TypeVar

    from headrace.settings.table import Settings
    from headrace.transfer.records import Experiment, File, Point, Run

    T = TypeVar("T")

POINTS: Final = 5 * MAX_METRICS_PER_BATCH  # of a transaction
FIRST_PAUSE_S: Final = 0.5  # before the second attempt; each further one is twice as long
ATTEMPTS: Final = 4  # to read a file whose contents are cut off
ENDED: Final = ("FINISHED", "FAILED", "KILLED")


class Target:
    """A database, and the artifact store of its server."""

    def __init__(self, settings: Settings) -> None:
        self._root = settings.default_artifact_root
        engine.create(settings.backend_store_uri, settings.default_artifact_root)
        self._engine = engine.engine_of(settings.backend_store_uri)
        self.objects = ObjectTarget(self._engine, self.put_below)
        self._locations = Locations(settings, anywhere=True)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Wait for the threads of uploads."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._locations.close()

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    # Experiments

    def find(self, name: str) -> sql.StoredExperiment | None:
        """Return the experiment with a name, deleted or not."""
        return self._engine.read(sql.find_experiment, name)

    def experiment(self, experiment: Experiment, *, keep_location: bool) -> sql.StoredExperiment:
        """Return the active experiment with the name, created if there is none, with the tags.

        Its id is that of the source if that is free. Raises INVALID_PARAMETER_VALUE if it is deleted.
        """
        found = self.find(experiment.name)
        if found is None:
            number = experiment.experiment_id
            created = experiment.creation_time or now_ms()
            found = self._engine.write(
                sql.create_experiment,
                sql.NewExperiment(
                    int(number) if number.isdecimal() and int(number) <= INT32_MAX else None,
                    experiment.name,
                    experiment.artifact_location if keep_location else None,
                    self._root,
                    created,
                    experiment.last_update_time or created,
                ),
            )
        elif found.lifecycle_stage != "active":
            raise unreadable(
                f"The experiment '{experiment.name}'",
                "the target has a deleted experiment of this name; restore it or rename it first",
            )
        if experiment.tags:
            self._engine.write(sql.tag_experiment, found.experiment_id, experiment.tags.items())
        return found

    def finish(self, number: int, experiment: Experiment) -> None:
        """Set the stage of an experiment whose runs are all there."""
        times = (experiment.last_update_time, experiment.creation_time)
        self._engine.write(sql.finish_experiment, number, experiment.lifecycle_stage, *times)

    # Runs

    def is_complete(self, run: Run) -> bool:
        """Whether the target has the whole run already. A run that has not ended, nor is deleted, never is."""
        found = self._engine.read(sql.find_run, run.run_id)
        if found is None:
            return False
        if "deleted" == found.lifecycle_stage == run.lifecycle_stage:
            return True
        return found.status in ENDED and run.status in ENDED

    def begin(self, number: int, run: Run, *, keep_location: bool) -> None:
        """Create the run, if it is not there, with its params, tags and datasets."""
        request = CreateRun(
            experiment_id=str(number),
            run_name=run.name or "unnamed",
            user_id=run.user_id,
            start_time=run.start_time,
            tags=[],
        )
        new = create.NewRun(request)
        new.run_id = run.run_id
        if not run.name:  # create-run needs a tag; `_log` writes all of them
            new.name, new.tags = "", list(run.tags.items())[:1] or [(batch.RUN_NAME, "")]
        self._engine.submit(create.KIND, new, new.cost_bytes())
        stored = self._engine.read(sql.find_run, run.run_id)
        if stored is not None and stored.experiment_id != number:
            raise unreadable(
                f"The run {run.run_id}",
                f"the target has it in the experiment {stored.experiment_id} already",
            )
        if stored is not None and stored.lifecycle_stage != "active":
            self._engine.write(
                sql.finish_run, run.run_id, "RUNNING", None, "active", None, run.name
            )
        if keep_location and run.artifact_uri:
            self._engine.write(sql.set_artifact_uri, run.run_id, run.artifact_uri)
        self._log(run)

    def _log(self, run: Run) -> None:
        for some in _parts(run.params.items(), MAX_PARAMS_PER_BATCH):
            params = [ParamIn(key=key, value=value) for key, value in some]
            self._submit(batch.from_parts(run.run_id, [], params, []))
        for some in _parts(run.tags.items(), MAX_TAGS_PER_BATCH):
            tags = [TagIn(key=key, value=value) for key, value in some]
            self._submit(batch.from_parts(run.run_id, [], [], tags))
        for one in run.datasets:
            dataset = DatasetIn(
                name=one.name,
                digest=one.digest,
                source_type=one.source_type,
                source=one.source,
                schema=one.schema,
                profile=one.profile,
            )
            tagged = [Tag(key=key, value=value) for key, value in one.tags.items()]
            self._engine.handle(
                inputs.log_inputs,
                LogInputs(run_id=run.run_id, datasets=[DatasetInput(dataset=dataset, tags=tagged)]),
            )
        if run.model_inputs:
            read = [ModelInput(model_id=one) for one in run.model_inputs]
            self._engine.handle(inputs.log_inputs, LogInputs(run_id=run.run_id, models=read))
        if run.model_outputs:
            written = [
                ModelOutput(model_id=one, step=step) for one, step in run.model_outputs.items()
            ]
            self._engine.handle(inputs.log_outputs, LogOutputs(run_id=run.run_id, models=written))

    @staticmethod
    def check(run: Run) -> None:
        """Raise the error that `begin` would raise for the values of a run. Writes nothing."""
        if batch.RUN_ID.fullmatch(run.run_id) is None:
            raise invalid(invalid_value("run_id", run.run_id))
        try:
            msgspec.convert(msgspec.to_builtins(run), type(run))
        except msgspec.ValidationError as error:
            raise unreadable(f"The run {run.run_id}", error) from error
        refuse_unstorable([run.name, run.user_id])
        for key, value in run.params.items():
            batch.from_parts(run.run_id, [], [ParamIn(key=key, value=value)], [])
        for key, value in run.tags.items():
            batch.from_parts(run.run_id, [], [], [TagIn(key=key, value=value)])

    @staticmethod
    def points(run_id: str, points: Iterable[Point]) -> Iterator[batch.Batch]:
        """Yield checked batches of points. Raises INVALID_PARAMETER_VALUE for the first that MLflow refuses."""
        for some in _parts(points, POINTS):
            new = batch.Batch(run_id)
            for p in some:
                if not (INT64_MIN <= p.step <= INT64_MAX and p.timestamp <= INT64_MAX):
                    raise unreadable(
                        f"A point of the metric '{p.key}'",
                        f"the step {p.step} or the time {p.timestamp} has more than 64 bits",
                    )
            new.add_points(
                [
                    MetricIn(key=p.key, value=p.value, timestamp=p.timestamp, step=p.step)
                    for p in some
                ],
                "metrics[{}].",
            )
            yield new

    def log_points(self, run_id: str, points: Iterable[Point]) -> Iterator[int]:
        """Write points; yield the number of each part that is committed."""
        for new in self.points(run_id, points):
            self._submit(new)
            yield len(new.points)

    def _submit(self, new: batch.Batch) -> None:
        self._engine.submit(batch.KIND, new, new.cost_bytes())

    def finish_run(self, run: Run) -> None:
        """Set status, end time and stage of a run that is complete otherwise."""
        deleted = now_ms() if run.lifecycle_stage == "deleted" else None
        self._engine.write(
            sql.finish_run,
            run.run_id,
            run.status,
            run.end_time,
            run.lifecycle_stage,
            deleted,
            run.name,
        )

    # Artifacts

    @staticmethod
    def check_file(file: File) -> None:
        """Raise INVALID_PARAMETER_VALUE for a file whose path leaves the run's artifacts, or is none."""
        if climbs(file.path) or file.path.startswith("/"):
            raise paths.refused()
        paths.upload_target(file.path)

    def put(self, run_id: str, file: File) -> None:
        """Copy one artifact of a run, replacing an existing one."""
        self.put_below(self._engine.read(artifacts_sql.run_root, run_id) or "", file)

    def put_below(self, root: str, file: File) -> None:
        """Copy a file below an artifact URI, replacing an existing one."""
        self.check_file(file)
        place = self._locations.resolve(root, file.path)
        for attempt in range(1, ATTEMPTS + 1):
            try:
                self._wait(place.store.put(place.path, _pieces(file), file.size))
            except CutOff:
                if attempt == ATTEMPTS:
                    raise
                time.sleep(FIRST_PAUSE_S * 2.0 ** (attempt - 1))
            else:
                return


async def _pieces(file: File) -> AsyncIterator[bytes]:
    pieces = file.chunks()
    while piece := await asyncio.to_thread(lambda: next(pieces, b"")):
        yield piece


def _parts(items: Iterable[T], most: int) -> Iterator[list[T]]:
    """Yield lists of at most `most` items."""
    rest = iter(items)
    for first in rest:
        yield list(chain([first], islice(rest, most - 1)))
