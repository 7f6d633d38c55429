"""The part of MLflow's GraphQL types that native queries use.

A field is `name: kind`; its source is the REST name, which is the same in snake_case. Kinds: text,
long (a 64-bit integer, sent as a string), float, finite (a float that is null for NaN), texts (a
list of strings), a type name for an object and [type] for a list of them. A text or long that REST
omits is "" or "0" here.
"""

from __future__ import annotations

import re
from typing import Final

TYPES: Final = {
    "ApiError": "code: text, message: text, helpUrl: text, traceId: text",
    "MlflowExperiment": (
        "experimentId: text, name: text, artifactLocation: text, lifecycleStage: text, "
        "lastUpdateTime: long, creationTime: long, tags: [MlflowExperimentTag], "
        "effectiveTraceArchivalRetention: text, workspace: text"
    ),
    "MlflowExperimentTag": "key: text, value: text",
    "MlflowGetExperimentResponse": "experiment: MlflowExperiment, apiError: ApiError",
    "MlflowMetricWithRunId": "key: text, value: float, timestamp: long, step: long, runId: text",
    "MlflowGetMetricHistoryBulkIntervalResponse": (
        "metrics: [MlflowMetricWithRunId], apiError: ApiError"
    ),
    "MlflowGetRunResponse": "run: MlflowRunExtension, apiError: ApiError",
    "MlflowSearchRunsResponse": (
        "runs: [MlflowRunExtension], nextPageToken: text, apiError: ApiError"
    ),
    "MlflowRunExtension": (
        "info: MlflowRunInfo, data: MlflowRunData, inputs: MlflowRunInputs, "
        "outputs: MlflowRunOutputs, experiment: MlflowExperiment, "
        "modelVersions: [MlflowModelVersion]"
    ),
    "MlflowRunInfo": (
        "runId: text, runUuid: text, runName: text, experimentId: text, userId: text, "
        "status: text, startTime: long, endTime: long, artifactUri: text, lifecycleStage: text"
    ),
    "MlflowRunData": "metrics: [MlflowMetricExtension], params: [MlflowParam], tags: [MlflowRunTag]",
    "MlflowMetricExtension": (
        "key: text, value: finite, timestamp: long, step: long, datasetName: text, "
        "datasetDigest: text, modelId: text, runId: text"
    ),
    "MlflowParam": "key: text, value: text",
    "MlflowRunTag": "key: text, value: text",
    "MlflowRunInputs": "datasetInputs: [MlflowDatasetInput], modelInputs: [MlflowModelInput]",
    "MlflowDatasetInput": "tags: [MlflowInputTag], dataset: MlflowDataset",
    "MlflowInputTag": "key: text, value: text",
    "MlflowDataset": (
        "name: text, digest: text, sourceType: text, source: text, schema: text, profile: text"
    ),
    "MlflowModelInput": "modelId: text",
    "MlflowRunOutputs": "modelOutputs: [MlflowModelOutput]",
    "MlflowModelOutput": "modelId: text, step: long",
    "MlflowModelVersion": (
        "name: text, version: text, creationTimestamp: long, lastUpdatedTimestamp: long, "
        "userId: text, currentStage: text, description: text, source: text, runId: text, "
        "status: text, statusMessage: text, tags: [MlflowModelVersionTag], runLink: text, "
        "aliases: texts"
    ),
    "MlflowModelVersionTag": "key: text, value: text",
}

_SNAKE: Final = re.compile(r"(?<=[a-z])(?=[A-Z])")


def snake(name: str) -> str:
    """`experimentId` → `experiment_id`"""
    return _SNAKE.sub("_", name).lower()


FIELDS: Final = {
    type_name: dict(field.strip().split(": ") for field in fields.split(","))
    for type_name, fields in TYPES.items()
}

# Members of each input object: text, texts or int (32 bits). Queries with `runViewType` are left to
# stock, which always fails on it.
INPUTS: Final = {
    "MlflowGetExperimentInput": {"experimentId": "text"},
    "MlflowGetMetricHistoryBulkIntervalInput": {
        "runIds": "texts",
        "metricKey": "text",
        "startStep": "int",
        "endStep": "int",
        "maxResults": "int",
    },
    "MlflowGetRunInput": {"runId": "text", "runUuid": "text"},
    "MlflowSearchRunsInput": {
        "experimentIds": "texts",
        "filter": "text",
        "maxResults": "int",
        "orderBy": "texts",
        "pageToken": "text",
    },
}
