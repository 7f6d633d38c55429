"""The answers of a tracking server. Protobuf's JSON has 64-bit numbers as numbers or texts, and NaN as a text."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from headrace.contract.scalars import Int64  # noqa: TC001 - msgspec reads it
from headrace.transfer.records import (
    Dataset,
    Experiment,
    LoggedModel,
    ModelMetric,
    ModelVersion,
    RegisteredModel,
    Run,
    unreadable,
)

T = TypeVar("T")


class _Pair(msgspec.Struct):
    key: str
    value: str | None = None


class _Experiment(msgspec.Struct, kw_only=True):
    experiment_id: str | int
    name: str
    artifact_location: str | None = None
    lifecycle_stage: str | None = None
    creation_time: Int64 | None = None
    last_update_time: Int64 | None = None
    tags: list[_Pair] | None = None


class _Info(msgspec.Struct, kw_only=True):
    run_id: str
    run_name: str | None = None
    user_id: str | None = None
    status: str | None = None
    start_time: Int64 | None = None
    end_time: Int64 | None = None
    lifecycle_stage: str | None = None
    artifact_uri: str | None = None


class _Key(msgspec.Struct):
    key: str


class _Data(msgspec.Struct):
    metrics: list[_Key] | None = None
    params: list[_Pair] | None = None
    tags: list[_Pair] | None = None


class _Dataset(msgspec.Struct, kw_only=True):
    name: str
    digest: str
    source_type: str | None = None
    source: str | None = None
    schema: str | None = None
    profile: str | None = None


class _DatasetInput(msgspec.Struct):
    dataset: _Dataset
    tags: list[_Pair] | None = None


class _ModelEdge(msgspec.Struct):
    model_id: str
    step: Int64 = 0


class _Inputs(msgspec.Struct):
    dataset_inputs: list[_DatasetInput] | None = None
    model_inputs: list[_ModelEdge] | None = None


class _Outputs(msgspec.Struct):
    model_outputs: list[_ModelEdge] | None = None


class _Run(msgspec.Struct):
    info: _Info
    data: _Data = msgspec.field(default_factory=_Data)
    inputs: _Inputs = msgspec.field(default_factory=_Inputs)
    outputs: _Outputs = msgspec.field(default_factory=_Outputs)


class _ModelMetric(msgspec.Struct, kw_only=True):
    key: str
    value: float = 0.0
    timestamp: Int64 = 0
    step: Int64 = 0
    run_id: str
    dataset_name: str | None = None
    dataset_digest: str | None = None


class _ModelInfo(msgspec.Struct, kw_only=True):
    model_id: str
    name: str = ""
    creation_timestamp_ms: Int64 = 0
    last_updated_timestamp_ms: Int64 = 0
    artifact_uri: str | None = None
    status: str | None = None
    status_message: str | None = None
    model_type: str | None = None
    source_run_id: str | None = None
    tags: list[_Pair] | None = None


class _ModelData(msgspec.Struct):
    params: list[_Pair] | None = None
    metrics: list[_ModelMetric] | None = None


class _Model(msgspec.Struct):
    info: _ModelInfo
    data: _ModelData = msgspec.field(default_factory=_ModelData)


class _Alias(msgspec.Struct):
    alias: str
    version: Int64


class _Registered(msgspec.Struct, kw_only=True):
    name: str
    creation_timestamp: Int64 = 0
    last_updated_timestamp: Int64 = 0
    description: str | None = None
    tags: list[_Pair] | None = None
    aliases: list[_Alias] | None = None


class _Version(msgspec.Struct, kw_only=True):
    version: Int64
    creation_timestamp: Int64 = 0
    last_updated_timestamp: Int64 = 0
    description: str | None = None
    user_id: str | None = None
    current_stage: str | None = None
    source: str | None = None
    run_id: str | None = None
    run_link: str | None = None
    status: str | None = None
    status_message: str | None = None
    tags: list[_Pair] | None = None


class Metric(msgspec.Struct):
    """A point of a history. Protobuf's JSON can leave out a field that is 0."""

    value: float = 0.0
    step: Int64 = 0
    timestamp: Int64 = 0


class ListedFile(msgspec.Struct):
    """A file or directory of a listing; `path` is below the run's artifact location, `file_size` in bytes."""

    path: str
    is_dir: bool = False
    file_size: Int64 | None = None


class Page(msgspec.Struct):
    """A page of any kind of object. Experiments and runs are checked one by one: `experiment` and `run`."""

    next_page_token: str | None = None
    experiments: list[Any] | None = None
    runs: list[Any] | None = None
    metrics: list[Metric] | None = None
    files: list[ListedFile] | None = None
    registered_models: list[Any] | None = None
    models: list[Any] | None = None
    model_versions: list[Any] | None = None
    traces: list[Any] | None = None
    run: Any = None


def converted(place: str, found: Any, kind: type[T]) -> T:
    """Return decoded JSON as a Struct. Raises INVALID_PARAMETER_VALUE, which names `place`."""
    try:
        return msgspec.convert(found, kind, strict=False)
    except msgspec.ValidationError as error:
        raise unreadable(place, f"the server's answer is malformed: {error}") from error


def named(found: Any, *path: str) -> str:
    """Return the text at a path in decoded JSON for a message, "" if there is none."""
    for name in path:
        found = found.get(name) if isinstance(found, dict) else None
    return str(found or "")


def experiment(found: Any) -> Experiment:
    """Return an experiment of a page. Raises as `converted`."""
    one = converted(f"The experiment {named(found, 'experiment_id')}", found, _Experiment)
    return Experiment(
        experiment_id=str(one.experiment_id),
        name=one.name,
        artifact_location=one.artifact_location or "",
        lifecycle_stage=one.lifecycle_stage or "active",
        creation_time=one.creation_time,
        last_update_time=one.last_update_time,
        tags=_pairs(one.tags),
    )


def run(found: Any) -> tuple[Run, list[str]]:
    """Return a run of a page and the keys of its metrics. Raises as `converted`."""
    one = converted(f"The run {named(found, 'info', 'run_id')}", found, _Run)
    info, data = one.info, one.data
    tags = _pairs(data.tags)
    return Run(
        run_id=info.run_id,
        name=info.run_name or tags.get("mlflow.runName", ""),
        user_id=info.user_id or "",
        status=info.status or "RUNNING",
        start_time=info.start_time,
        end_time=info.end_time,
        lifecycle_stage=info.lifecycle_stage or "active",
        artifact_uri=info.artifact_uri or "",
        params=_pairs(data.params),
        tags=tags,
        datasets=[_dataset(use) for use in one.inputs.dataset_inputs or ()],
        model_inputs=[model.model_id for model in one.inputs.model_inputs or ()],
        model_outputs={model.model_id: model.step for model in one.outputs.model_outputs or ()},
    ), [metric.key for metric in data.metrics or ()]


def logged_model(found: Any) -> LoggedModel:
    """Return a logged model of a page. Raises as `converted`."""
    one = converted(f"The logged model {named(found, 'info', 'model_id')}", found, _Model)
    info = one.info
    return LoggedModel(
        model_id=info.model_id,
        name=info.name,
        creation_time=info.creation_timestamp_ms,
        last_update_time=info.last_updated_timestamp_ms,
        artifact_uri=info.artifact_uri or "",
        status=(info.status or "STATUS_UNSPECIFIED").removeprefix("LOGGED_MODEL_"),
        status_message=info.status_message,
        model_type=info.model_type,
        source_run_id=info.source_run_id,
        params=_pairs(one.data.params),
        tags=_pairs(info.tags),
        metrics=[ModelMetric(**msgspec.structs.asdict(each)) for each in one.data.metrics or ()],
    )


def registered_model(found: Any) -> RegisteredModel:
    """Return a registered model of a page. Raises as `converted`."""
    one = converted(f"The registered model '{named(found, 'name')}'", found, _Registered)
    return RegisteredModel(
        name=one.name,
        creation_time=one.creation_timestamp,
        last_update_time=one.last_updated_timestamp,
        description=one.description,
        tags=_pairs(one.tags),
        aliases={each.alias: each.version for each in one.aliases or ()},
    )


def model_version(found: Any) -> ModelVersion:
    """Return a version of a page. Raises as `converted`."""
    place = f"The version {named(found, 'version')} of '{named(found, 'name')}'"
    one = converted(place, found, _Version)
    return ModelVersion(
        version=one.version,
        creation_time=one.creation_timestamp,
        last_update_time=one.last_updated_timestamp,
        description=one.description,
        user_id=one.user_id or None,
        stage=one.current_stage or "None",
        source=one.source or "",
        run_id=one.run_id or None,
        run_link=one.run_link or None,
        status=one.status or "READY",
        status_message=one.status_message,
        tags=_pairs(one.tags),
    )


def _dataset(use: _DatasetInput) -> Dataset:
    one = use.dataset
    return Dataset(
        name=one.name,
        digest=one.digest,
        source_type=one.source_type or "",
        source=one.source or "",
        schema=one.schema,
        profile=one.profile,
        tags=_pairs(use.tags),
    )


def _pairs(found: list[_Pair] | None) -> dict[str, str]:
    return {pair.key: pair.value or "" for pair in found or ()}
