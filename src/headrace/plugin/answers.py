"""Conversion of a server's JSON to MLflow's entities, with the same result as MLflow's `from_proto`.

Every function raises Unsupported for an unexpected answer.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec
from mlflow.entities import (
    Dataset,
    DatasetInput,
    Experiment,
    ExperimentTag,
    InputTag,
    Metric,
    Param,
    Run,
    RunData,
    RunInfo,
    RunInputs,
    RunTag,
)
from mlflow.store.entities.paged_list import PagedList

from headrace.plugin.fallback import Unsupported
from headrace.plugin.mlflow_versions import (
    LoggedModelInput,
    LoggedModelOutput,
    RunOutputs,
    run_id_arguments,
)

if TYPE_CHECKING:
    from collections.abc import Callable


class _Metric(msgspec.Struct, gc=False):
    key: str
    value: float | str = 0.0
    timestamp: int = 0
    step: int = 0
    model_id: str = ""
    dataset_name: str = ""
    dataset_digest: str = ""
    run_id: str = ""


class _Pair(msgspec.Struct, gc=False):
    key: str
    value: str = ""


class _Info(msgspec.Struct, gc=False):
    run_id: str
    experiment_id: str = ""
    run_name: str = ""
    user_id: str = ""
    status: str = "RUNNING"
    start_time: int = 0
    end_time: int = 0
    artifact_uri: str = ""
    lifecycle_stage: str = ""


class _Data(msgspec.Struct):
    metrics: list[_Metric] = []
    params: list[_Pair] = []
    tags: list[_Pair] = []


class _Dataset(msgspec.Struct):
    name: str = ""
    digest: str = ""
    source_type: str = ""
    source: str = ""
    schema: str | None = None
    profile: str | None = None


class _DatasetInput(msgspec.Struct):
    dataset: _Dataset
    tags: list[_Pair] = []


class _Model(msgspec.Struct):
    model_id: str = ""
    step: int = 0


class _Inputs(msgspec.Struct):
    dataset_inputs: list[_DatasetInput] = []
    model_inputs: list[_Model] = []


class _Outputs(msgspec.Struct):
    model_outputs: list[_Model] = []


class _Run(msgspec.Struct):
    info: _Info
    data: _Data = msgspec.field(default_factory=_Data)
    inputs: _Inputs = msgspec.field(default_factory=_Inputs)
    outputs: _Outputs = msgspec.field(default_factory=_Outputs)


class _Page(msgspec.Struct):
    runs: list[_Run] = []
    next_page_token: str = ""


class _OneRun(msgspec.Struct):
    run: _Run


class _OneInfo(msgspec.Struct):
    run_info: _Info


class _History(msgspec.Struct):
    metrics: list[_Metric] = []
    next_page_token: str = ""


class _Experiment(msgspec.Struct):
    experiment_id: str
    name: str = ""
    artifact_location: str = ""
    lifecycle_stage: str = ""
    last_update_time: int = 0
    creation_time: int = 0
    tags: list[_Pair] = []
    workspace: str | None = None
    effective_trace_archival_retention: str | None = None


class _OneExperiment(msgspec.Struct):
    experiment: _Experiment


A = TypeVar("A")
# Fields of mlflow 3 that the entity of this mlflow has.
_NEWER_FIELDS: Final = {"workspace", "effective_trace_archival_retention"}.intersection(
    inspect.signature(Experiment).parameters
)


def _reader(kind: type[A]) -> Callable[[bytes], A]:
    """Return a decoder that raises Unsupported for an unexpected answer."""
    decode = msgspec.json.Decoder(kind, strict=False).decode

    def read(body: bytes) -> A:
        try:
            return decode(body)
        except msgspec.DecodeError as error:
            raise Unsupported from error

    return read


_page: Final = _reader(_Page)
_one_run: Final = _reader(_OneRun)
_one_info: Final = _reader(_OneInfo)
_history: Final = _reader(_History)
_one_experiment: Final = _reader(_OneExperiment)


def runs_page(body: bytes) -> tuple[list[Run], str | None]:
    """Read the runs of an answer to runs/search, and the token of the next page."""
    page = _page(body)
    return [_run(one) for one in page.runs], page.next_page_token or None


def run(body: bytes) -> Run:
    """Read the run of an answer to runs/create or runs/get."""
    return _run(_one_run(body).run)


def run_info(body: bytes) -> RunInfo:
    """Read the answer to runs/update."""
    return _info(_one_info(body).run_info)


def history(body: bytes) -> PagedList[Metric]:
    """Read the points of an answer to metrics/get-history, with the token of the next page."""
    found = _history(body)
    return PagedList([_metric(one) for one in found.metrics], found.next_page_token or None)


def experiment(body: bytes) -> Experiment:
    """Read the experiment of an answer to experiments/get or get-by-name."""
    found = _one_experiment(body).experiment
    return Experiment(
        found.experiment_id,
        found.name,
        found.artifact_location,
        found.lifecycle_stage,
        tags=[ExperimentTag(pair.key, pair.value) for pair in found.tags],
        creation_time=found.creation_time or None,
        last_update_time=found.last_update_time or None,
        **{name: getattr(found, name) for name in _NEWER_FIELDS},
    )


def _info(info: _Info) -> RunInfo:
    return RunInfo(
        **run_id_arguments(info.run_id),
        experiment_id=info.experiment_id,
        user_id=info.user_id,
        status=info.status,
        start_time=info.start_time,
        end_time=info.end_time or None,
        lifecycle_stage=info.lifecycle_stage,
        artifact_uri=info.artifact_uri,
        run_name=info.run_name,
    )


def _run(one: _Run) -> Run:
    of_info, data = _info(one.info), one.data
    run_data = RunData(
        [_metric(metric) for metric in data.metrics],
        [Param(pair.key, pair.value) for pair in data.params],
        [RunTag(pair.key, pair.value) for pair in data.tags],
    )
    datasets = [_dataset(found) for found in one.inputs.dataset_inputs]
    if RunOutputs is None:
        return Run(of_info, run_data, RunInputs(datasets))
    read = [LoggedModelInput(model_id=model.model_id) for model in one.inputs.model_inputs]
    wrote = [
        LoggedModelOutput(model_id=model.model_id, step=model.step)
        for model in one.outputs.model_outputs
    ]
    return Run(of_info, run_data, RunInputs(datasets, read), RunOutputs(wrote))


def _metric(found: _Metric) -> Metric:
    value: Any = found.value
    if not found.model_id and not found.dataset_name and not found.run_id:
        return Metric(found.key, float(value), found.timestamp, found.step)
    return Metric(
        found.key,
        float(value),
        found.timestamp,
        found.step,
        model_id=found.model_id or None,
        dataset_name=found.dataset_name or None,
        dataset_digest=found.dataset_digest or None,
        run_id=found.run_id or None,
    )


def _dataset(found: _DatasetInput) -> DatasetInput:
    one = found.dataset
    return DatasetInput(
        dataset=Dataset(
            name=one.name,
            digest=one.digest,
            source_type=one.source_type,
            source=one.source,
            schema=one.schema,
            profile=one.profile,
        ),
        tags=[InputTag(pair.key, pair.value) for pair in found.tags],
    )
