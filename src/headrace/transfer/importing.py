"""The import of a source into a target, experiment by experiment and run by run; then the model registry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.error import Error
from headrace.transfer import import_objects
from headrace.transfer.records import Broken, Run
from headrace.transfer.report import Report
from headrace.transfer.target import Target

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from headrace.transfer.records import Experiment, File, Source


@dataclass(frozen=True)
class Request:
    """The choices of an import. `artifacts`: "copy", "keep" (runs name the source's location) or "none"."""

    names: Collection[str] = ()  # of experiments; empty for all
    artifacts: str = "copy"
    again: bool = False  # also write runs that the target has
    dry_run: bool = False


class Import:
    """One import. `progress` is called after each run and each part of a run."""

    def __init__(
        self,
        source: Source,
        target: Target | None,
        request: Request,
        progress: Callable[[Report], None],
    ) -> None:
        """`target` is None if it does not exist yet, for a dry run only."""
        self._source = source
        self._target = target
        self._request = request
        self._progress = progress
        self.report = Report()

    def run(self) -> Report:
        """Import everything. A run or experiment that fails is reported, and the others are imported."""
        missing = set(self._request.names)
        for experiment in self._experiments():
            if self._request.names and experiment.name not in self._request.names:
                continue
            missing.discard(experiment.name)
            try:
                self._experiment(experiment)
            except (Error, OSError) as error:
                self.report.failures.append(f"experiment '{experiment.name}': {error}")
            self._progress(self.report)
        self.report.failures += [
            f"experiment '{name}': the source has none of this name" for name in sorted(missing)
        ]
        if not self._request.names:
            self._objects().registry()
        return self.report

    def _objects(self) -> import_objects.Objects:
        return import_objects.Objects(
            self._source, self._target, self._request, self.report, self._progress
        )

    def _experiments(self) -> Iterator[Experiment]:
        """Yield the experiments that can be read. An error before the first is raised, others are reported."""
        failures, seen = self.report.failures, False
        found = self._source.experiments()
        while True:
            try:
                experiment = next(found, None)
            except (Error, OSError) as error:
                if not seen:
                    raise
                failures.append(f"all further experiments: {error}")
                return
            if experiment is None:
                return
            seen = True
            if isinstance(experiment, Broken):
                failures.append(f"{experiment.name}: {experiment.reason}")
            else:
                yield experiment

    def _experiment(self, experiment: Experiment) -> None:
        report, dry_run = self.report, self._request.dry_run
        count = self._source.count(experiment)
        if report.total_runs is not None:
            report.total_runs = None if count is None else report.total_runs + count
        number = 0
        if self._target is not None and not dry_run:
            found = self._target.find(experiment.name)
            if found and "deleted" == found.lifecycle_stage == experiment.lifecycle_stage:
                # It was deleted when all of its runs were there.
                report.present += sum(isinstance(run, Run) for run in self._source.runs(experiment))
                return
            keep = self._request.artifacts == "keep"
            number = self._target.experiment(experiment, keep_location=keep).experiment_id
            if experiment.experiment_id and str(number) != experiment.experiment_id:
                report.renumbered.append((experiment.name, experiment.experiment_id, number))
        whole = True
        for run in self._source.runs(experiment):
            if isinstance(run, Broken):
                report.failures.append(f"{run.name}: {run.reason}")
                whole = False
                continue
            before = report.points, report.files, report.file_bytes
            try:
                self._run(number, experiment, run)
            except (Error, OSError) as error:
                report.points, report.files, report.file_bytes = before
                report.failures.append(f"run {run.run_id}: {error}")
                whole = False
            self._progress(report)
        report.experiments += 1
        whole = self._objects().of_experiment(number, experiment) and whole
        if self._target is not None and not dry_run and whole:
            self._target.finish(number, experiment)

    def _read(self, experiment: Experiment, run: Run) -> None:
        """Count what an import of the run would write. Raises the errors of its values."""
        report = self.report
        for points in Target.points(run.run_id, self._source.points(experiment, run)):
            report.points += len(points.points)
        if self._request.artifacts == "copy":
            for file in self._files(experiment, run):
                Target.check_file(file)
                report.count_file(file.size)

    def _files(self, experiment: Experiment, run: Run) -> Iterator[File]:
        return import_objects.inside(
            self._source.files(experiment, run), f"run {run.run_id}", self.report
        )

    def _run(self, number: int, experiment: Experiment, run: Run) -> None:
        target, request, report = self._target, self._request, self.report
        Target.check(run)
        if target is not None and not request.again and target.is_complete(run):
            report.present += 1
            return
        if target is None or request.dry_run:
            self._read(experiment, run)
            report.runs += 1
            return
        target.begin(number, run, keep_location=request.artifacts == "keep")
        for count in target.log_points(run.run_id, self._source.points(experiment, run)):
            report.points += count
            self._progress(report)
        if request.artifacts == "copy":
            for file in self._files(experiment, run):
                target.put(run.run_id, file)
                report.count_file(file.size)
                self._progress(report)
        target.finish_run(run)
        report.runs += 1
