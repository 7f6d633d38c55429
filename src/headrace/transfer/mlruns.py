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
from headrace.contract.file_names import from_native
from headrace.extras import own_install_command
from headrace.transfer import local_files
from headrace.transfer.records import (
    Broken,
    Dataset,
    Experiment,
    File,
    Left,
    Outside,
    Point,
    Run,
    Source,
    checked,
    unreadable,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

META: Final = "meta.yaml"
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
        meta = _read_yaml(directory / META)
        tags = _texts(directory / "tags")
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
                "params": _texts(directory / "params"),
                "tags": tags,
                "datasets": list(self._datasets(experiment, directory)),
            },
        )

    def _datasets(self, experiment: Experiment, run: Path) -> Iterator[dict[str, Any]]:
        inputs = run / "inputs"
        if not inputs.is_dir():
            return
        datasets = self._directories[experiment.experiment_id] / "datasets"
        for directory in sorted(inputs.iterdir()):
            use = _read_yaml(directory / META)
            meta = datasets / str(use.get("source_id")) / META
            if use.get("source_type") == "DATASET" and meta.is_file():
                found = _read_yaml(meta)
                wanted = (name for name in Dataset.__struct_fields__ if name != "tags")
                yield {name: str(found[name]) for name in wanted if found.get(name) is not None} | {
                    "tags": _named(use.get("tags"))
                }

    def points(self, experiment: Experiment, run: Run) -> Iterator[Point]:
        """See Source."""
        root = self._run / "metrics"
        for file, key in _keys(root):
            with file.open(encoding="utf-8") as lines:
                for number, line in enumerate(lines, 1):
                    if line.strip():
                        yield _point(key, line.split(), f"{file}:{number}")

    def files(self, experiment: Experiment, run: Run) -> Iterator[File | Outside]:
        """See Source."""
        named = local_files.path_of(run.artifact_uri)
        # A file store that was moved keeps its old artifact URIs.
        return self._roots.below(named if named and named.is_dir() else self._run / "artifacts")

    def left_out(self, experiment_ids: Sequence[str]) -> list[Left]:
        """See Source."""
        chosen = [self._directories[id_] for id_ in experiment_ids]
        return [
            Left("registered model", _number_in(self._root / "models")),
            Left("logged model", sum(_number_in(one / "models") for one in chosen)),
            Left("trace", sum(_number_in(one / "traces") for one in chosen)),
        ]


def _experiment(directory: Path) -> Experiment:
    meta = _read_yaml(directory / META)
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
            "tags": _texts(directory / "tags"),
        },
    )


def _named(found: Any) -> dict[str, str]:
    """Return the tags of a use of a dataset as texts."""
    items = found.items() if isinstance(found, dict) else ()
    return {str(key): str(value) for key, value in items}


def _number_in(root: Path) -> int:
    """Return the number of directories in a directory that need not exist."""
    if not root.is_dir():
        return 0
    return sum(entry.is_dir() and not entry.name.startswith(".") for entry in root.iterdir())


def _point(key: str, parts: list[str], place: str) -> Point:
    try:
        step = int(parts[2]) if len(parts) > 2 else 0
        return Point(key, step, int(parts[0]), float(parts[1]))
    except (ValueError, IndexError) as error:
        raise unreadable(place, "it is not a line of a metric") from error


def _keys(root: Path) -> Iterator[tuple[Path, str]]:
    """Yield the files below a directory and the keys that their paths are."""
    for parent, directories, names in os.walk(root):
        directories.sort()
        for name in sorted(names):
            file = Path(parent) / name
            if file.is_symlink():  # a source could name any file of this machine
                raise unreadable(file, "it is a symbolic link")
            yield file, from_native(file.relative_to(root).as_posix())


def _texts(root: Path) -> dict[str, str]:
    return {key: file.read_text(encoding="utf-8", errors="replace") for file, key in _keys(root)}


def _read_yaml(file: Path) -> dict[str, Any]:
    try:
        import yaml
    except ImportError as error:
        raise unreadable(
            file, f"PyYAML is not installed. To add it: {own_install_command('import')}"
        ) from error
    try:
        with file.open(encoding="utf-8") as opened:
            found = yaml.load(opened, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise unreadable(file, error) from error
    if not isinstance(found, dict):
        raise unreadable(file, "it is empty" if found is None else "it is not a mapping")
    return found
