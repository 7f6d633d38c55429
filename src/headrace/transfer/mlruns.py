"""The file store of MLflow: a directory `mlruns` (mlflow/store/tracking/file_store.py).

    <experiment id>/meta.yaml, tags/<key>, datasets/<id>/meta.yaml
    <experiment id>/<run id>/meta.yaml, params/<key>, tags/<key>, metrics/<key>, inputs/<id>/meta.yaml, artifacts/
    .trash/<experiment id>/… for deleted experiments

A line of a metric is `timestamp value [step [dataset name, dataset digest]]`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from headrace.contract.errors import ApiError
from headrace.transfer import local_files, mlruns_objects
from headrace.transfer.mlruns_files import META, keys, read_yaml, texts
from headrace.transfer.records import (
    Broken,
    Dataset,
    Experiment,
    File,
    LoggedModel,
    ModelVersion,
    Outside,
    Point,
    RegisteredModel,
    Run,
    Source,
    Trace,
    checked,
    unreadable,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

TRASH: Final = ".trash"
NO_RUNS: Final = {"tags", "datasets", "traces", "models", TRASH}
STATUSES: Final = ("", "RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED")  # by number


def is_file_store(directory: Path) -> bool:
    """Whether a directory has experiments of a file store."""
    return any(_experiment_directories(directory))


def _experiment_directories(root: Path) -> Iterator[Path]:
    for parent in (root, root / TRASH):
        if parent.is_dir():
            for entry in sorted(os.scandir(parent), key=lambda one: one.name):
                if entry.name.isdigit() and Path(entry.path, META).is_file():
                    yield Path(entry.path)


class FileStore(Source):
    """A directory of MLflow's file store."""

    def __init__(self, root: Path, artifact_roots: Sequence[Path] = ()) -> None:
        """`artifact_roots`: other directories whose files may be read as artifacts."""
        self._root = root
        self._roots = local_files.Roots([root, *artifact_roots])
        self._run = root  # the directory of the run that `runs` has returned last
        self._directories: dict[str, Path] = {}

    def experiments(self) -> Iterator[Experiment | Broken]:
        """See Source."""
        for directory in _experiment_directories(self._root):
            try:
                experiment = _experiment(directory)
            except (ApiError, OSError) as error:
                yield Broken(f"experiment {directory.name}", error)
                continue
            self._directories[experiment.experiment_id] = directory
            yield experiment

    def _run_directories(self, experiment: Experiment) -> Iterator[Path]:
        with os.scandir(self._directories[experiment.experiment_id]) as entries:
            for entry in entries:
                if entry.name not in NO_RUNS and Path(entry.path, META).is_file():
                    yield Path(entry.path)

    def count(self, experiment: Experiment) -> int | None:
        """See Source."""
        return sum(1 for _ in self._run_directories(experiment))

    def runs(self, experiment: Experiment) -> Iterator[Run | Broken]:
        """See Source. `points` and `files` are those of the run that was returned last."""
        for directory in self._run_directories(experiment):
            self._run = directory
            try:
                run = self._read_run(experiment, directory)
            except (ApiError, OSError) as error:
                yield Broken(f"run {directory.name}", error)
                continue
            yield run

    def _read_run(self, experiment: Experiment, directory: Path) -> Run:
        meta = read_yaml(directory / META)
        tags = texts(directory / "tags")
        status = meta.get("status", 1)
        if isinstance(status, int):
            if not 0 < status < len(STATUSES):
                raise unreadable(directory / META, f"there is no status {status}")
            status = STATUSES[status]
        return checked(
            Run,
            directory / META,
            {
                "run_id": str(meta.get("run_id") or meta.get("run_uuid") or directory.name),
                "name": tags.get("mlflow.runName")
                or str(meta.get("run_name") or meta.get("name") or ""),
                "user_id": str(meta.get("user_id") or ""),
                "status": str(status),
                "start_time": meta.get("start_time"),
                "end_time": meta.get("end_time"),
                "lifecycle_stage": str(meta.get("lifecycle_stage", "active")),
                "artifact_uri": str(meta.get("artifact_uri") or ""),
                "params": texts(directory / "params"),
                "tags": tags,
                "datasets": list(self._datasets(experiment, directory)),
                "model_inputs": [
                    str(one.get("source_id"))
                    for one in mlruns_objects.edges(directory / "inputs")
                    if one.get("source_type") == "MODEL"
                ],
                "model_outputs": {
                    str(one.get("destination_id")): one.get("step") or 0
                    for one in mlruns_objects.edges(directory / "outputs")
                    if one.get("destination_type") == "MODEL_OUTPUT"
                },
            },
        )

    def _datasets(self, experiment: Experiment, run: Path) -> Iterator[dict[str, Any]]:
        inputs = run / "inputs"
        if not inputs.is_dir():
            return
        datasets = self._directories[experiment.experiment_id] / "datasets"
        for directory in sorted(inputs.iterdir()):
            use = read_yaml(directory / META)
            meta = datasets / str(use.get("source_id")) / META
            if use.get("source_type") == "DATASET" and meta.is_file():
                found = read_yaml(meta)
                wanted = (name for name in Dataset.__struct_fields__ if name != "tags")
                yield {name: str(found[name]) for name in wanted if found.get(name) is not None} | {
                    "tags": _named(use.get("tags"))
                }

    def points(self, experiment: Experiment, run: Run) -> Iterator[Point]:
        """See Source."""
        root = self._run / "metrics"
        for file, key in keys(root):
            with file.open(encoding="utf-8") as lines:
                for number, line in enumerate(lines, 1):
                    if line.strip():
                        yield _point(key, line.split(), f"{file}:{number}")

    def files(self, experiment: Experiment, run: Run) -> Iterator[File | Outside]:
        """See Source."""
        return self._roots.below(_moved(run.artifact_uri, self._run))

    def logged_models(self, experiment: Experiment) -> Iterator[LoggedModel | Broken]:
        """See Source."""
        return mlruns_objects.logged_models(self._directories[experiment.experiment_id])

    def model_files(self, experiment: Experiment, model: LoggedModel) -> Iterator[File | Outside]:
        """See Source."""
        directory = self._directories[experiment.experiment_id] / "models" / model.model_id
        return self._roots.below(_moved(model.artifact_uri, directory))

    def traces(self, experiment: Experiment) -> Iterator[Trace | Broken]:
        """See Source."""
        return mlruns_objects.traces(self._directories[experiment.experiment_id])

    def spans(self, experiment: Experiment, trace: Trace) -> list[dict[str, Any]]:
        """See Source."""
        directory = self._directories[experiment.experiment_id] / "traces" / trace.trace_id
        named = (trace.info.tags or {}).get(mlruns_objects.LOCATION, "")
        return mlruns_objects.spans(_moved(named, directory), self._roots)

    def registered_models(self) -> Iterator[RegisteredModel | Broken]:
        """See Source."""
        return mlruns_objects.registered_models(self._root / "models")

    def versions(self, model: RegisteredModel) -> Iterator[ModelVersion | Broken]:
        """See Source."""
        return mlruns_objects.versions(self._root / "models" / model.name)

    def artifact_uri(self, run_id: str) -> str:
        """See Source."""
        for directory in self._directories.values():
            meta = directory / run_id / META
            if meta.is_file():
                return str(read_yaml(meta).get("artifact_uri") or "")
        return ""


def _moved(uri: str, directory: Path) -> Path:
    """Return a directory of artifacts. A file store that was moved keeps its old artifact URIs."""
    named = local_files.path_of(uri)
    return named if named and named.is_dir() else directory / "artifacts"


def _experiment(directory: Path) -> Experiment:
    meta = read_yaml(directory / META)
    deleted = directory.parent.name == TRASH
    stage = "deleted" if deleted else str(meta.get("lifecycle_stage", "active"))
    return checked(
        Experiment,
        directory / META,
        {
            "experiment_id": directory.name,
            "name": str(meta.get("name", directory.name)),
            "artifact_location": str(meta.get("artifact_location") or ""),
            "lifecycle_stage": stage,
            "creation_time": meta.get("creation_time"),
            "last_update_time": meta.get("last_update_time"),
            "tags": texts(directory / "tags"),
        },
    )


def _named(found: Any) -> dict[str, str]:
    """Return the tags of a use of a dataset as texts."""
    items = found.items() if isinstance(found, dict) else ()
    return {str(key): str(value) for key, value in items}


def _point(key: str, parts: list[str], place: str) -> Point:
    try:
        step = int(parts[2]) if len(parts) > 2 else 0
        return Point(key, step, int(parts[0]), float(parts[1]))
    except (ValueError, IndexError) as error:
        raise unreadable(place, "it is not a line of a metric") from error
