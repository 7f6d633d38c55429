"""Logged models, traces and registered models of MLflow's file store.

    <experiment id>/models/<model id>/meta.yaml, params/<key>, tags/<key>, metrics/<key>, artifacts/
    <experiment id>/traces/<trace id>/trace_info.yaml, tags/<key>, request_metadata/<key>,
        assessments/<assessment id>.yaml, artifacts/traces.json
    models/<name>/meta.yaml, tags/<key>, aliases/<alias>, version-<number>/meta.yaml, version-<number>/tags/<key>

A line of a metric is `timestamp value step run [dataset name, dataset digest]`.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from headrace.contract.errors import ApiError
from headrace.transfer.mlruns_files import META, keys, read_yaml, texts
from headrace.transfer.records import (
    Broken,
    LoggedModel,
    ModelMetric,
    ModelVersion,
    RegisteredModel,
    checked,
    unreadable,
)
from headrace.transfer.trace_info import trace_of
from headrace.transfer.trace_spans import FILE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from headrace.transfer.local_files import Roots
    from headrace.transfer.records import Trace

T = TypeVar("T")
LOCATION: Final = "mlflow.artifactLocation"
TRACE_INFO: Final = "trace_info.yaml"
STATUSES: Final = ("STATUS_UNSPECIFIED", "PENDING", "READY", "UPLOAD_FAILED")  # by number
DELETED_STAGE: Final = "Deleted_Internal"
MAX_SPANS_BYTES: Final = 256 << 20  # of a file with the spans of a trace, which is held in memory


def _directories(root: Path, file: str) -> Iterator[Path]:
    """Yield the directories below a directory that have a file of this name."""
    if root.is_dir():
        for entry in sorted(os.scandir(root), key=lambda one: one.name):
            if entry.is_dir() and Path(entry.path, file).is_file():
                yield Path(entry.path)


def _each(
    root: Path, file: str, noun: str, read: Callable[[Path], T | None]
) -> Iterator[T | Broken]:
    """Yield what `read` returns for each directory; None is left out."""
    for directory in _directories(root, file):
        try:
            found = read(directory)
        except (ApiError, OSError) as error:
            yield Broken(f"{noun} {directory.name}", error)
            continue
        if found is not None:
            yield found


def edges(root: Path) -> Iterator[dict[str, Any]]:
    """Yield the inputs or outputs of a run."""
    for directory in _directories(root, META):
        yield read_yaml(directory / META)


def logged_models(experiment: Path) -> Iterator[LoggedModel | Broken]:
    """Yield the logged models of an experiment's directory."""
    return _each(experiment / "models", META, "logged model", _logged_model)


def _logged_model(directory: Path) -> LoggedModel | None:
    meta = read_yaml(directory / META)
    if meta.get("lifecycle_stage") == "deleted":
        return None
    status = meta.get("status", 0)
    if isinstance(status, int):
        if not 0 <= status < len(STATUSES):
            raise unreadable(directory / META, f"there is no status {status}")
        status = STATUSES[status]
    return checked(
        LoggedModel,
        directory / META,
        {
            "model_id": directory.name,
            "name": str(meta.get("name") or ""),
            "creation_time": meta.get("creation_timestamp") or 0,
            "last_update_time": meta.get("last_updated_timestamp") or 0,
            "artifact_uri": str(meta.get("artifact_location") or ""),
            "status": str(status),
            "status_message": meta.get("status_message"),
            "model_type": meta.get("model_type"),
            "source_run_id": meta.get("source_run_id"),
            "params": texts(directory / "params"),
            "tags": texts(directory / "tags"),
            "metrics": list(_metrics(directory / "metrics")),
        },
    )


def _metrics(root: Path) -> Iterator[ModelMetric]:
    for file, key in keys(root):
        with file.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                parts = line.split()
                if parts:
                    yield _metric(key, parts, f"{file}:{number}")


def _metric(key: str, parts: list[str], place: str) -> ModelMetric:
    name, digest = parts[4:6] if len(parts) == 6 else (None, None)
    try:
        return ModelMetric(
            key=key,
            timestamp=int(parts[0]),
            value=float(parts[1]),
            step=int(parts[2]),
            run_id=parts[3],
            dataset_name=name,
            dataset_digest=digest,
        )
    except (ValueError, IndexError) as error:
        raise unreadable(place, "it is not a line of a metric") from error


def traces(experiment: Path) -> Iterator[Trace | Broken]:
    """Yield the traces of an experiment's directory."""
    return _each(experiment / "traces", TRACE_INFO, "trace", _trace)


def _trace(directory: Path) -> Trace:
    info = read_yaml(directory / TRACE_INFO)
    assessments = directory / "assessments"
    return trace_of(
        directory / TRACE_INFO,
        {
            **info,
            "trace_id": directory.name,
            "tags": texts(directory / "tags"),
            "trace_metadata": texts(directory / "request_metadata"),
            "assessments": [read_yaml(file) for file in sorted(assessments.glob("*.yaml"))],
        },
    )


def spans(directory: Path, roots: Roots) -> list[dict[str, Any]]:
    """Return the spans in a directory of a trace's artifacts; none if the file does not exist."""
    file = directory / FILE
    if not file.is_file():
        return []
    if not roots.contain(file):
        raise unreadable(file, "it lies outside of the directories that may be read")
    if file.stat().st_size > MAX_SPANS_BYTES:
        raise unreadable(file, f"it has more than {MAX_SPANS_BYTES:,} bytes")
    return spans_in(file.read_bytes(), file)


def spans_in(content: bytes, place: object) -> list[dict[str, Any]]:
    """Return the spans of a file `traces.json`. Raises INVALID_PARAMETER_VALUE."""
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise unreadable(place, "it is not JSON") from error
    listed = found.get("spans") if isinstance(found, dict) else None
    if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
        raise unreadable(place, "it has no list of spans")
    return listed


def registered_models(root: Path) -> Iterator[RegisteredModel | Broken]:
    """Yield the registered models of a directory."""
    return _each(root, META, "registered model", _registered_model)


def _registered_model(directory: Path) -> RegisteredModel:
    meta = read_yaml(directory / META)
    aliases = texts(directory / "aliases")
    return checked(
        RegisteredModel,
        directory / META,
        {
            "name": directory.name,
            "creation_time": meta.get("creation_timestamp") or 0,
            "last_update_time": meta.get("last_updated_timestamp") or 0,
            "description": meta.get("description"),
            "tags": texts(directory / "tags"),
            "aliases": {
                alias: int(number) if number.strip().isdecimal() else number
                for alias, number in aliases.items()
            },
        },
    )


def versions(model: Path) -> Iterator[ModelVersion | Broken]:
    """Yield the versions of a registered model's directory."""
    return _each(model, META, f"registered model '{model.name}',", _version)


def _version(directory: Path) -> ModelVersion | None:
    meta = read_yaml(directory / META)
    if meta.get("current_stage") == DELETED_STAGE:
        return None
    return checked(
        ModelVersion,
        directory / META,
        {
            "version": meta.get("version"),
            "creation_time": meta.get("creation_timestamp") or 0,
            "last_update_time": meta.get("last_updated_timestamp") or 0,
            "description": meta.get("description"),
            "user_id": meta.get("user_id"),
            "stage": str(meta.get("current_stage") or "None"),
            "source": str(meta.get("source") or ""),
            "run_id": meta.get("run_id"),
            "run_link": meta.get("run_link"),
            "status": str(meta.get("status") or "READY"),
            "status_message": meta.get("status_message"),
            "tags": texts(directory / "tags"),
        },
    )
