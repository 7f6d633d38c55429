"""Handlers of the endpoints for inputs and outputs of runs: datasets, models, the log-model tag."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import uuid4

from msgspec import Meta

from headrace.api.context import Context
from headrace.api.tracking.runs import input_ids, inputs_sql, sql
from headrace.api.tracking.runs.batch import RUN_ID
from headrace.api.tracking.runs.transactions import check_active
from headrace.api.tracking.runs.types import (
    Dataset,
    DatasetInput,
    LogInputs,
    LogModel,
    LogOutputs,
    ModelInput,
    ModelOutput,
)
from headrace.contract.errors import ApiError, ErrorCode, invalid
from headrace.contract.experiment_ids import parse_ids
from headrace.contract.limits import (
    MAX_DATASET_DIGEST,
    MAX_DATASET_NAME,
    MAX_DATASET_PROFILE,
    MAX_DATASET_SCHEMA,
    MAX_DATASET_SOURCE,
    MAX_INPUT_TAG_KEY,
    MAX_INPUT_TAG_VALUE,
    MAX_MODEL_JSON,
    MAX_SEARCH_DATASETS_EXPERIMENTS,
    MAX_SEARCH_DATASETS_ROWS,
)
from headrace.contract.names import check_length, invalid_value
from headrace.contract.scalars import DEMANDED, Empty, ExperimentNumbers, Message
from headrace.db.base import Tx

HISTORY_TAG = "mlflow.log-model.history"
EMPTY = Empty()


class SearchDatasets(Message):
    """POST experiments/search-datasets"""

    experiment_ids: Annotated[
        ExperimentNumbers,
        Meta(
            extra=DEMANDED,
            extra_json_schema={"minItems": 1, "maxItems": MAX_SEARCH_DATASETS_EXPERIMENTS},
        ),
    ] = []


class DatasetSummary(Message):
    """A dataset that runs of an experiment read, and the context in which they read it."""

    experiment_id: str
    name: str
    digest: str
    context: str | None = None


class DatasetSummaries(Message):
    """At most 1,000 summaries of datasets."""

    dataset_summaries: list[DatasetSummary] = []


def _check_dataset(found: DatasetInput) -> Dataset:
    dataset = found.dataset or Dataset()
    check_length("name", MAX_DATASET_NAME, dataset.name)
    check_length("digest", MAX_DATASET_DIGEST, dataset.digest)
    check_length("source", MAX_DATASET_SOURCE, dataset.source)
    check_length("schema", MAX_DATASET_SCHEMA, dataset.schema)
    check_length("profile", MAX_DATASET_PROFILE, dataset.profile)
    for tag in found.tags:
        check_length("key", MAX_INPUT_TAG_KEY, tag.key)
        check_length("value", MAX_INPUT_TAG_VALUE, tag.value)
    return dataset


async def _log_datasets(
    tx: Tx, run_id: str, experiment_id: int, datasets: Sequence[DatasetInput]
) -> None:
    seen: set[tuple[str, str]] = set()
    for found in datasets:
        dataset = found.dataset or Dataset()
        name, digest = dataset.name or "", dataset.digest or ""
        if (name, digest) in seen:
            continue
        seen.add((name, digest))
        await tx.execute(
            inputs_sql.INSERT_DATASET,
            uuid4().hex,
            experiment_id,
            name,
            digest,
            dataset.source_type or "",
            dataset.source or "",
            dataset.schema or None,
            dataset.profile or None,
        )
        row = await tx.fetchrow(inputs_sql.DATASET, experiment_id, name, digest)
        assert row is not None, "the dataset was inserted or there already"
        input_id = input_ids.new()
        if await tx.execute(inputs_sql.INSERT_DATASET_EDGE, input_id, row[0], run_id):
            for tag in found.tags:
                await tx.execute(
                    inputs_sql.INSERT_INPUT_TAG, input_id, tag.key or "", tag.value or ""
                )


async def _log_inputs(
    tx: Tx, run_id: str, datasets: Sequence[DatasetInput], models: Sequence[ModelInput]
) -> None:
    run = await check_active(tx, run_id)
    await _log_datasets(tx, run_id, run.experiment_id, datasets)
    for model in models:
        await tx.execute(
            inputs_sql.INSERT_MODEL_INPUT, input_ids.new(), run_id, model.model_id or ""
        )


async def log_inputs(req: LogInputs, ctx: Context) -> Empty:
    """POST /2.0/mlflow/runs/log-inputs

    A dataset that exists in the experiment (by name and digest) is reused; an existing edge is not
    changed.
    """
    if RUN_ID.fullmatch(req.run_id) is None:
        raise invalid(invalid_value("run_id", req.run_id))
    for found in req.datasets:
        _check_dataset(found)
    await ctx.db.write(_log_inputs, req.run_id, req.datasets, req.models)
    return EMPTY


async def _log_outputs(tx: Tx, run_id: str, models: Sequence[ModelOutput]) -> None:
    await check_active(tx, run_id)
    for model in models:
        await tx.execute(
            inputs_sql.INSERT_MODEL_OUTPUT,
            input_ids.new(),
            run_id,
            model.model_id or "",
            model.step or 0,
        )


async def log_outputs(req: LogOutputs, ctx: Context) -> Empty:
    """POST /2.0/mlflow/runs/outputs

    As in stock, the existence of the models is not checked.
    """
    await ctx.db.write(_log_outputs, req.run_id, req.models)
    return EMPTY


async def search_datasets(req: SearchDatasets, ctx: Context) -> DatasetSummaries:
    """POST /ajax-api/2.0/mlflow/experiments/search-datasets"""
    if not req.experiment_ids:
        raise invalid("SearchDatasets request must specify at least one experiment_id.")
    if len(req.experiment_ids) > MAX_SEARCH_DATASETS_EXPERIMENTS:
        raise invalid(
            "SearchDatasets request cannot specify more than "
            f"{MAX_SEARCH_DATASETS_EXPERIMENTS} experiment_ids. "
            f"Received {len(req.experiment_ids)} experiment_ids."
        )
    ids = parse_ids(req.experiment_ids)
    rows = await ctx.db.read(_summaries, ids)
    return DatasetSummaries(
        dataset_summaries=[
            DatasetSummary(experiment_id=str(number), name=name, digest=digest, context=context)
            for number, name, digest, context in rows
        ]
    )


async def _summaries(tx: Tx, ids: Sequence[int]) -> list[Any]:
    return await tx.fetch(inputs_sql.SUMMARIES, tx.array(ids), MAX_SEARCH_DATASETS_ROWS)


def _model_info(text: str) -> dict[str, Any]:
    try:
        model = json.loads(text)
    except ValueError:
        raise invalid(f"Malformed model info. \n {text} \n is not a valid JSON.") from None
    if not isinstance(model, dict):
        raise invalid(f"Malformed model info. \n {text} \n is not a JSON object.")
    missing = {"artifact_path", "flavors", "utc_time_created", "run_id"} - set(model)
    if missing:
        raise invalid(f"Model json is missing mandatory fields: {missing}")
    flavors = {} if model["flavors"] is None else model["flavors"]
    if not isinstance(flavors, dict):
        raise invalid("Malformed model info. 'flavors' must be a JSON object.")
    return {
        **{key: model[key] for key in ("run_id", "artifact_path") if model[key] is not None},
        "utc_time_created": str(
            model["utc_time_created"] or datetime.now(UTC).replace(tzinfo=None)
        ),
        "model_uuid": model.get("model_uuid"),
        "flavors": {name: _without_config(flavor) for name, flavor in flavors.items()},
    }


def _without_config(flavor: Any) -> Any:
    if not isinstance(flavor, dict):
        return flavor
    return {key: value for key, value in flavor.items() if key != "config"}


async def _append_model(tx: Tx, run_id: str, model: dict[str, Any]) -> None:
    await check_active(tx, run_id)
    row = await tx.fetchrow(sql.CLAIM_TAG, run_id, HISTORY_TAG, "[]")
    assert row is not None, "the tag was inserted or there already"
    try:
        history = json.loads(row[0])
    except (TypeError, ValueError):
        history = None
    if not isinstance(history, list):
        raise ApiError(
            ErrorCode.INVALID_PARAMETER_VALUE,
            f"The tag '{HISTORY_TAG}' of run {run_id} does not hold a JSON list.",
        )
    await tx.execute(sql.UPSERT_TAG, run_id, HISTORY_TAG, json.dumps([*history, model]))


async def log_model(req: LogModel, ctx: Context) -> Empty:
    """POST /2.0/mlflow/runs/log-model

    Appends to the JSON list in the tag mlflow.log-model.history.
    """
    check_length("model_json", MAX_MODEL_JSON, req.model_json)
    await ctx.db.write(_append_model, req.run_id, _model_info(req.model_json))
    return EMPTY
