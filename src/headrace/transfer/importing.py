"""The import of a source into a target, experiment by experiment and run by run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from headrace.error import Error
from headrace.transfer.records import Broken, Outside, Run
from headrace.transfer.target import Target

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from headrace.transfer.records import Experiment, File, Left, Source


def counted(count: int, noun: str) -> str:
    """Format a number of things."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _left(one: Left) -> str:
    if one.number is None:
        return f"{one.noun}s, which the source does not let us count"
    return f"{'' if one.is_all else 'at least '}{counted(one.number, one.noun)}"


@dataclass
class Report:
    """The results of an import so far; in a dry run, the results that it would have."""

    experiments: int = 0
    runs: int = 0
    present: int = 0  # runs that the target had already
    points: int = 0
    files: int = 0
    file_bytes: int = 0
    total_runs: int | None = 0  # None: unknown
    renumbered: list[tuple[str, str, int]] = field(default_factory=list)  # name, old id, new id
    left_out: list[Left] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def line(self) -> str:
        """Format the counts for people."""
        were = "was" if self.present == 1 else "were"
        return f"{self.counts()}; {counted(self.present, 'run')} {were} there already"

    def counts(self) -> str:
        """Format what was written."""
        numbers = [
            counted(self.experiments, "experiment"),
            counted(self.runs, "run"),
            counted(self.points, "point"),
            f"{counted(self.files, 'file')} ({counted(self.file_bytes, 'byte')})",
        ]
        return ", ".join(numbers)

    def lines(self, *, dry_run: bool) -> list[str]:
        """Format the report for people."""
        lines = [f"{'Would import' if dry_run else 'Imported'} {self.line()}."]
        lines += [
            f"The experiment '{name}' has the id {new} instead of {old}."
            for name, old, new in self.renumbered
        ]
        left = [_left(one) for one in self.left_out if one.number != 0]
        if left:
            lines.append(f"Not imported: {', '.join(left)}.")
        return lines + [f"NOT IMPORTED: {text}" for text in self.failures]


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
        ids = []
        for experiment in self._experiments():
            if self._request.names and experiment.name not in self._request.names:
                continue
            missing.discard(experiment.name)
            ids.append(experiment.experiment_id)
            try:
                self._experiment(experiment)
            except (Error, OSError) as error:
                self.report.failures.append(f"experiment '{experiment.name}': {error}")
            self._progress(self.report)
        self.report.failures += [
            f"experiment '{name}': the source has none of this name" for name in sorted(missing)
        ]
        self.report.left_out = self._source.left_out(ids)
        return self.report

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
                report.files += 1
                report.file_bytes += file.size or 0

    def _files(self, experiment: Experiment, run: Run) -> Iterator[File]:
        for file in self._source.files(experiment, run):
            if isinstance(file, Outside):
                text = f"artifacts of run {run.run_id} lie in {file.reason}"
                self.report.failures.append(text)
            else:
                yield file

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
                report.files += 1
                report.file_bytes += file.size or 0
                self._progress(report)
        target.finish_run(run)
        report.runs += 1
