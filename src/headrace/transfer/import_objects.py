"""The import of logged models and traces of an experiment, and of the model registry."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Final, TypeVar

from headrace.error import Error
from headrace.transfer.records import Broken, Outside
from headrace.transfer.target import Target
from headrace.transfer.target_objects import ObjectTarget

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from headrace.transfer.importing import Request
    from headrace.transfer.records import (
        Experiment,
        File,
        LoggedModel,
        ModelVersion,
        RegisteredModel,
        Source,
        Trace,
    )
    from headrace.transfer.report import Report

T = TypeVar("T")
EXPERIMENTS: Final = "_mlflow_experiment_ids"


def inside(files: Iterable[File | Outside], owner: str, report: Report) -> Iterator[File]:
    """Yield the files that may be read; report the others."""
    for file in files:
        if isinstance(file, Outside):
            report.failures.append(f"artifacts of {owner} lie in {file.reason}")
        else:
            yield file


class Objects:
    """The part of an import for the objects that are no runs. Failures are reported."""

    def __init__(
        self,
        source: Source,
        target: Target | None,
        request: Request,
        report: Report,
        progress: Callable[[Report], None],
    ) -> None:
        """`target` is None if it does not exist yet, for a dry run only."""
        self._source = source
        self._whole = target
        self._target = None if target is None else target.objects
        self._request = request
        self.report = report
        self._progress = progress

    def of_experiment(self, number: int, experiment: Experiment) -> bool:
        """Import logged models and traces; return whether all succeeded."""
        models = self._each(
            self._source.logged_models(experiment),
            lambda one: f"logged model {one.model_id}",
            lambda one: self._logged(number, experiment, one),
            f"logged models of the experiment '{experiment.name}'",
            is_served=self._target is None or self._target.has_logged_models,
        )
        traces = self._each(
            self._source.traces(experiment),
            lambda one: f"trace {one.trace_id}",
            lambda one: self._trace(number, experiment, one),
            f"traces of the experiment '{experiment.name}'",
            is_served=self._target is None or self._target.has_traces,
        )
        return models and traces

    def registry(self) -> None:
        """Import the registered models and their versions."""
        self._each(
            self._source.registered_models(),
            lambda one: f"registered model '{one.name}'",
            self._registered,
            "registered models",
        )

    def _each(
        self,
        found: Iterator[T | Broken],
        name: Callable[[T], str],
        work: Callable[[T], None],
        all_: str,
        *,
        is_served: bool = True,
    ) -> bool:
        """Call `work` for everything that can be read; return whether all succeeded."""
        failures = self.report.failures
        before = len(failures)
        try:
            first = next(found, None)
            if first is not None and not is_served:
                failures.append(f"{all_}: the schema of the database is too old for them")
                return False
            for one in chain([] if first is None else [first], found):
                if isinstance(one, Broken):
                    failures.append(f"{one.name}: {one.reason}")
                    continue
                try:
                    work(one)
                except (Error, OSError) as error:
                    failures.append(f"{name(one)}: {error}")
                self._progress(self.report)
        except (Error, OSError) as error:
            failures.append(f"{all_}: {error}")
        return len(failures) == before

    @property
    def _writes(self) -> ObjectTarget | None:
        """The target, None if nothing is written."""
        return None if self._request.dry_run else self._target

    def _logged(self, number: int, experiment: Experiment, model: LoggedModel) -> None:
        ObjectTarget.check_logged(model)
        if self._target is not None and not self._request.again and self._target.is_complete(model):
            self.report.objects_present += 1
            return
        keep, target = self._request.artifacts == "keep", self._writes
        root = ""
        if target is not None:
            root = target.begin_logged(number, model, (keep and model.artifact_uri) or None)
        if self._request.artifacts == "copy":
            files = self._source.model_files(experiment, model)
            for file in inside(files, f"logged model {model.model_id}", self.report):
                if target is not None and self._whole is not None:
                    self._whole.put_below(root, file)
                else:
                    Target.check_file(file)
                self.report.count_file(file.size)
        if target is not None:
            target.finish_logged(model)
        self.report.models += 1

    def _trace(self, number: int, experiment: Experiment, trace: Trace) -> None:
        if self._target is not None and not self._request.again and self._target.has_trace(trace):
            self.report.objects_present += 1
            return
        spans, target = self._source.spans(experiment, trace), self._writes
        if target is None:
            ObjectTarget.check_trace(trace, number, spans)
        else:
            target.add_trace(trace, number, spans)
        self.report.traces += 1

    def _registered(self, model: RegisteredModel) -> None:
        ObjectTarget.check_registered(model)
        target = self._writes
        ids = {old: str(new) for _, old, new in self.report.renumbered}
        if EXPERIMENTS in model.tags:  # of a prompt: ",1,2,"
            listed = model.tags[EXPERIMENTS].split(",")
            model.tags[EXPERIMENTS] = ",".join(ids.get(one, one) for one in listed)
        if target is None or target.register(model):
            self.report.registered += 1
        self._each(
            self._source.versions(model),
            lambda one: f"version {one.version} of the registered model '{model.name}'",
            lambda one: self._version(model, one),
            f"versions of the registered model '{model.name}'",
        )
        if target is not None:
            target.set_aliases(model)

    def _version(self, model: RegisteredModel, version: ModelVersion) -> None:
        ObjectTarget.check_version(version)
        target = self._writes
        uri = ""
        if version.run_id and self._request.artifacts == "copy":
            uri = self._source.artifact_uri(version.run_id)
        if target is None or target.add_version(model, version, uri):
            self.report.versions += 1
        else:
            self.report.objects_present += 1
