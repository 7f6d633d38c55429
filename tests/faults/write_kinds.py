"""A table of every kind of write: its request, its rows, and whether clients repeat it without an answer.

Texts contain `$names`: `$u` is unique for each attempt; the others are ids that `STAGES` creates for each attempt
or `SHARED` creates once. `$answer` is the server's answer.
"""

from __future__ import annotations

import json
import re
import uuid
from dataclasses import dataclass, field
from string import Template
from typing import TYPE_CHECKING, Any, Final

from tests.faults.load import API, JSON
from tests.faults.stored import execute, rows

if TYPE_CHECKING:
    from tests.faults.load import Once
    from tests.wire import Answer

# Private addresses are allowed so that a webhook can have one; none of the webhooks here is active.
ENVIRONMENT: Final = {
    "MLFLOW_WEBHOOK_ALLOWED_SCHEMES": "http",
    "MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS": "true",
}

# POST requests that read, or that write files only.
NOT_WRITES: Final = frozenset(
    {
        "POST experiments/search",
        "POST experiments/search-datasets",
        "POST runs/search",
        "POST logged-models/search",
        "POST /api/3.0/mlflow/traces/batchGetInfos",
        "POST /api/3.0/mlflow/traces/search",
        "POST /api/3.0/mlflow/traces/calculate-filter-correlation",
        "POST /api/3.0/mlflow/traces/metrics",
        "POST /api/3.0/mlflow/datasets/search",
        "POST /api/3.0/mlflow/issues/search",
        "POST /ajax-api/3.0/jobs/search",
        "POST /api/3.0/mlflow/prompt-optimization/jobs/search",
        "POST registered-models/get-latest-versions",
        "POST webhooks/*/test",
        "POST artifacts/presigned-upload-url",
        "POST artifacts/presigned-download-url",
        "POST mpu/create/*",
        "POST mpu/complete/*",
        "POST mpu/abort/*",
        "DELETE artifacts/*",  # of the artifact store, not of the database; repeating it is no error
        # nothing is stored, and a server without workspaces refuses those
        "POST /graphql",
        "POST gateway-proxy",
        "POST /ajax-api/3.0/mlflow/ui-telemetry",
        "POST /api/3.0/mlflow/workspaces",
        "PATCH /api/3.0/mlflow/workspaces/*",
        "DELETE /api/3.0/mlflow/workspaces/*",
    }
)


@dataclass(frozen=True)
class Step:
    """A request that makes something; `answer` is the way to its id in the answer."""

    request: str
    body: dict[str, Any]
    answer: tuple[str | int, ...] = ()


@dataclass(frozen=True)
class Insert:
    """A row that only stock makes, with an LLM."""

    statement: str


def job(params: str = "{}", status: int = 1) -> Insert:
    """A job with the id `$short`, by default a running one."""
    return Insert(
        "INSERT INTO jobs (id, creation_time, job_name, params, status, retry_count,"
        f" last_update_time, workspace) VALUES ('$short', 1, 'n', '{params}', {status}, 0, 1, 'default')"
    )


@dataclass(frozen=True)
class Kind:
    """A kind of write. `stored` is a query that gives `rows` once it is written, and others before.

    `repeatable`: all MLflow clients, including 3.18 and later, repeat it when no answer arrives.
    """

    request: str
    body: dict[str, Any]
    stored: str
    rows: list[tuple[str, ...]]
    stages: tuple[str, ...] = ()
    answer: tuple[str | int, ...] = ()
    repeatable: bool = False

    @property
    def name(self) -> str:
        """Method and path, with `*` for what differs from one to the next."""
        return generic(self.request)


def generic(request: str) -> str:
    """A request, or the row of a route, with `*` for each of its arguments."""
    return re.sub(r"(tr-)?\$\w+|\{[^}]*\}", "*", request)


RUN: Final = ("run", "info", "run_id")
MODEL: Final = ("model", "info", "model_id")
VERSION: Final = ("model_version", "version")
WEBHOOK: Final = ("webhook", "webhook_id")
HOOK: Final = {
    "name": "$u",
    "url": "http://127.0.0.1:9/",
    "status": "DISABLED",
    "events": [{"entity": "REGISTERED_MODEL", "action": "CREATED"}],
}
TAG: Final = {"key": "$u", "value": "1"}
NEW_MODEL: Final = {"experiment_id": "0", "name": "m", "tags": [{"key": "token", "value": "$u"}]}
NEW_RUN: Final = {
    "experiment_id": "0",
    "start_time": 1,
    "tags": [{"key": "token", "value": "$u"}],
}
GATEWAY: Final = "/api/3.0/mlflow/gateway"
SECRET: Final = {"secret_name": "$u", "secret_value": {"api_key": "k"}, "provider": "$u"}
DEFINITION: Final = {"name": "$u", "secret_id": "$secret", "provider": "p", "model_name": "m"}

MODELS: Final = [{"model_definition_id": "$definition", "linkage_type": "PRIMARY"}]
ENDPOINT: Final = {"name": "$u", "model_configs": MODELS, "usage_tracking": False}
BUDGET: Final = {
    "budget_unit": "USD",
    "budget_amount": 1,
    "duration": {"unit": "DAYS", "value": 1},
    "target_scope": "GLOBAL",
    "budget_action": "ALERT",
    "created_by": "$u",
}
GUARDRAIL: Final = {
    "name": "$u",
    "scorer_id": "$short",
    "scorer_version": 1,
    "stage": "BEFORE",
    "action": "VALIDATION",
}
BINDING: Final = {"endpoint_id": "$endpoint", "resource_type": "scorer", "resource_id": "$u"}
USE: Final = {"endpoint_id": "$endpoint", "guardrail_id": "$guardrail"}

SHARED: Final = {
    "run": Step("POST runs/create", {"experiment_id": "0", "start_time": 1}, RUN),
    "logged": Step("POST logged-models", {"experiment_id": "0", "name": "shared"}, MODEL),
    "registered": Step(
        "POST registered-models/create", {"name": "shared"}, ("registered_model", "name")
    ),
    "version": Step(
        "POST model-versions/create", {"name": "shared", "source": "s3://bucket/shared"}, VERSION
    ),
}
STAGES: Final[dict[str, Step | Insert]] = {
    "experiment": Step("POST experiments/create", {"name": "of $u"}, ("experiment_id",)),
    "deleted experiment": Step("POST experiments/delete", {"experiment_id": "$experiment"}),
    "experiment tag": Step(
        "POST experiments/set-experiment-tag", {"experiment_id": "$experiment", **TAG}
    ),
    "own_run": Step("POST runs/create", {"experiment_id": "0", "start_time": 1}, RUN),
    "deleted run": Step("POST runs/delete", {"run_id": "$own_run"}),
    "run tag": Step("POST runs/set-tag", {"run_id": "$run", **TAG}),
    "own_logged": Step("POST logged-models", {"experiment_id": "0", "name": "m"}, MODEL),
    "logged tag": Step("PATCH logged-models/$logged/tags", {"tags": [TAG]}),
    "own_model": Step(
        "POST registered-models/create", {"name": "of-$u"}, ("registered_model", "name")
    ),
    "own_version": Step(
        "POST model-versions/create", {"name": "$own_model", "source": "s3://b/v"}, VERSION
    ),
    "model tag": Step("POST registered-models/set-tag", {"name": "shared", **TAG}),
    "version tag": Step("POST model-versions/set-tag", {"name": "shared", "version": "1", **TAG}),
    "alias": Step(
        "POST registered-models/alias", {"name": "shared", "alias": "$u", "version": "1"}
    ),
    "hook": Step("POST webhooks", HOOK, WEBHOOK),
    "trace": Step(
        "POST /api/3.0/mlflow/traces",
        {
            "trace": {
                "trace_info": {
                    "trace_id": "tr-$hex",
                    "trace_location": {
                        "type": "MLFLOW_EXPERIMENT",
                        "mlflow_experiment": {"experiment_id": "0"},
                    },
                    "tags": {"old": "1"},
                }
            }
        },
    ),
    "old_trace": Step(
        "POST traces", {"experiment_id": "0", "timestamp_ms": 1}, ("trace_info", "request_id")
    ),
    "dataset": Step(
        "POST /api/3.0/mlflow/datasets/create",
        {"name": "$u", "experiment_ids": ["0"], "tags": json.dumps({"$u": "1"})},
        ("dataset", "dataset_id"),
    ),
    "records": Step(
        "POST /api/3.0/mlflow/datasets/$dataset/records",
        {"records": json.dumps([{"inputs": {"q": "$u"}}])},
    ),
    "record": Step(
        "GET /api/3.0/mlflow/datasets/$dataset/records", {}, ("records", 0, "dataset_record_id")
    ),
    "issue": Step(
        "POST /api/3.0/mlflow/issues",
        {"experiment_id": "0", "name": "$u", "description": "d"},
        ("issue", "issue_id"),
    ),
    "label": Step(
        "POST /api/3.0/mlflow/label-schemas/create",
        {"experiment_id": "0", "name": "$u", "type": "FEEDBACK", "input": {"text": {}}},
        ("label_schema", "schema_id"),
    ),
    "job": job(),
    "optimization": job('{"run_id": "$own_run"}'),
    "ended optimization": job('{"run_id": "$own_run"}', status=2),
    "secret": Step(f"POST {GATEWAY}/secrets/create", SECRET, ("secret", "secret_id")),
    "definition": Step(
        f"POST {GATEWAY}/model-definitions/create",
        DEFINITION,
        ("model_definition", "model_definition_id"),
    ),
    "endpoint": Step(f"POST {GATEWAY}/endpoints/create", ENDPOINT, ("endpoint", "endpoint_id")),
    "endpoint tag": Step(
        f"POST {GATEWAY}/endpoints/set-tag", {"endpoint_id": "$endpoint", "key": "$u", "value": "1"}
    ),
    "binding": Step(f"POST {GATEWAY}/endpoints/bindings/create", BINDING),
    "budget": Step(f"POST {GATEWAY}/budgets/create", BUDGET, ("budget_policy", "budget_policy_id")),
    "guard": Insert(
        "INSERT INTO scorers (experiment_id, scorer_name, scorer_id) VALUES (0, '$u', '$short')"
    ),
    "guard version": Insert(
        "INSERT INTO scorer_versions (scorer_id, scorer_version, serialized_scorer, creation_time)"
        " VALUES ('$short', 1, '{}', 1)"
    ),
    "guardrail": Step(
        f"POST {GATEWAY}/guardrails/create", GUARDRAIL, ("guardrail", "guardrail_id")
    ),
    "use of guardrail": Step(f"POST {GATEWAY}/guardrails/add-to-endpoint", USE),
    "scorer": Step(
        "POST /api/3.0/mlflow/scorers/register",
        {"experiment_id": "0", "name": "$u", "serialized_scorer": "{}"},
        ("scorer_id",),
    ),
    "queue": Step(
        "POST /api/3.0/mlflow/review-queues/create",
        {"experiment_id": "0", "name": "$u", "queue_type": "CUSTOM"},
        ("review_queue", "queue_id"),
    ),
    "item": Step(
        "POST /api/3.0/mlflow/review-queues/items/add",
        {"queue_id": "$queue", "item_ids": ["tr-$hex"]},
    ),
    "feedback": Step(
        "POST /api/3.0/mlflow/traces/tr-$hex/assessments",
        {"assessment": {"assessment_name": "$u", "feedback": {"value": 1}}},
        ("assessment", "assessment_id"),
    ),
}

GUARD: Final = ("guard", "guard version")
OWN_ENDPOINT: Final = ("secret", "definition", "endpoint")
TRACES: Final = "/api/3.0/mlflow/traces"
DATASETS: Final = "/api/3.0/mlflow/datasets"
LABELS: Final = "/api/3.0/mlflow/label-schemas"
ISSUES: Final = "/api/3.0/mlflow/issues"
OPTIMIZATIONS: Final = "/api/3.0/mlflow/prompt-optimization/jobs"
SCORERS: Final = "/api/3.0/mlflow/scorers"
QUEUES: Final = "/api/3.0/mlflow/review-queues"
QUEUE: Final = ("review_queue", "queue_id")
ITEM: Final = {"queue_id": "$queue", "item_ids": ["tr-$hex"]}
RECORDS: Final = {"records": json.dumps([{"inputs": {"q": "$u"}, "outputs": 1}])}
PLACE: Final = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": "0"}}
INFO: Final = {"trace_id": "tr-$hex", "trace_location": PLACE, "state": "OK", "tags": {"k": "$u"}}
SPAN: Final = {
    "traceId": "$hex",
    "spanId": "00000000000000ab",
    "name": "$u",
    "startTimeUnixNano": "1760000000000000000",
    "endTimeUnixNano": "1760000000005000000",
}
OTLP: Final = {"resourceSpans": [{"scopeSpans": [{"spans": [SPAN]}]}]}
FEEDBACK: Final = {"assessment_name": "$u", "feedback": {"value": 4}}
V2_ID: Final = ("trace_info", "request_id")
ASSESSMENT: Final = ("assessment", "assessment_id")

POINTS: Final = [{"key": "$u", "value": n, "timestamp": 5, "step": n} for n in (1, 2)]
DATASET: Final = {"name": "data", "digest": "d-$short", "source_type": "local", "source": "s"}
MODEL_JSON: Final = json.dumps(
    {"run_id": "r", "artifact_path": "$u", "flavors": {}, "utc_time_created": "now"}
)

KINDS: Final = (
    # experiments
    Kind("POST experiments/create", {"name": "$u"},
         "SELECT experiment_id FROM experiments WHERE name = '$u'", [("$answer",)], answer=("experiment_id",)),
    Kind("POST experiments/update", {"experiment_id": "$experiment", "new_name": "new $u"},
         "SELECT name FROM experiments WHERE experiment_id = $experiment", [("new $u",)], ("experiment",)),
    Kind("POST experiments/delete", {"experiment_id": "$experiment"},
         "SELECT lifecycle_stage FROM experiments WHERE experiment_id = $experiment", [("deleted",)], ("experiment",)),
    Kind("POST experiments/restore", {"experiment_id": "$experiment"},
         "SELECT lifecycle_stage FROM experiments WHERE experiment_id = $experiment", [("active",)],
         ("experiment", "deleted experiment")),
    Kind("POST experiments/set-experiment-tag", {"experiment_id": "0", **TAG},
         "SELECT value FROM experiment_tags WHERE key = '$u'", [("1",)], repeatable=True),
    Kind("POST experiments/delete-experiment-tag", {"experiment_id": "$experiment", "key": "$u"},
         "SELECT value FROM experiment_tags WHERE key = '$u'", [], ("experiment", "experiment tag")),
    # runs
    Kind("POST runs/create", NEW_RUN,
         "SELECT run_uuid FROM tags WHERE key = 'token' AND value = '$u'", [("$answer",)], answer=RUN),
    Kind("POST runs/update", {"run_id": "$own_run", "status": "FINISHED", "end_time": 7, "run_name": "$u"},
         "SELECT status, end_time, name FROM runs WHERE run_uuid = '$own_run'", [("FINISHED", "7", "$u")],
         ("own_run",), repeatable=True),
    Kind("POST runs/delete", {"run_id": "$own_run"},
         "SELECT lifecycle_stage FROM runs WHERE run_uuid = '$own_run'", [("deleted",)], ("own_run",), repeatable=True),
    Kind("POST runs/restore", {"run_id": "$own_run"},
         "SELECT lifecycle_stage FROM runs WHERE run_uuid = '$own_run'", [("active",)], ("own_run", "deleted run"),
         repeatable=True),
    Kind("POST runs/log-batch", {"run_id": "$run", "metrics": POINTS, "params": [TAG], "tags": [TAG]},
         "SELECT m.step, p.value, t.value, l.step FROM metrics m LEFT JOIN params p USING (key) LEFT JOIN tags t"
         " USING (key) LEFT JOIN latest_metrics l USING (key) WHERE m.key = '$u' ORDER BY 1",
         [("1", "1", "1", "2"), ("2", "1", "1", "2")], repeatable=True),
    Kind("POST runs/log-metric", {"run_id": "$run", **POINTS[1]},
         "SELECT m.step, l.step FROM metrics m LEFT JOIN latest_metrics l USING (key) WHERE m.key = '$u'",
         [("2", "2")], repeatable=True),
    Kind("POST runs/log-parameter", {"run_id": "$run", **TAG},
         "SELECT value FROM params WHERE key = '$u'", [("1",)], repeatable=True),
    Kind("POST runs/set-tag", {"run_id": "$run", **TAG},
         "SELECT value FROM tags WHERE key = '$u'", [("1",)], repeatable=True),
    Kind("POST runs/delete-tag", {"run_id": "$run", "key": "$u"},
         "SELECT value FROM tags WHERE key = '$u'", [], ("run tag",)),
    Kind("POST runs/log-inputs",
         {"run_id": "$own_run", "datasets": [{"tags": [{"key": "context", "value": "$u"}], "dataset": DATASET}]},
         "SELECT d.digest, t.value FROM inputs i JOIN datasets d ON d.dataset_uuid = i.source_id"
         " LEFT JOIN input_tags t USING (input_uuid) WHERE i.destination_id = '$own_run'",
         [("d-$short", "$u")], ("own_run",)),
    Kind("POST runs/outputs", {"run_id": "$own_run", "models": [{"model_id": "$logged", "step": 3}]},
         "SELECT destination_id, step FROM inputs WHERE source_id = '$own_run'", [("$logged", "3")], ("own_run",)),
    Kind("POST runs/log-model", {"run_id": "$own_run", "model_json": MODEL_JSON},
         "SELECT length(value) - length(replace(value, '$u', '')) FROM tags"
         " WHERE run_uuid = '$own_run' AND key = 'mlflow.log-model.history'", [("33",)], ("own_run",)),
    # logged models
    Kind("POST logged-models", NEW_MODEL,
         "SELECT model_id FROM logged_model_tags WHERE tag_key = 'token' AND tag_value = '$u'", [("$answer",)],
         answer=MODEL),
    Kind("PATCH logged-models/$own_logged", {"model_id": "$own_logged", "status": "LOGGED_MODEL_READY"},
         "SELECT status FROM logged_models WHERE model_id = '$own_logged'", [("2",)], ("own_logged",),
         repeatable=True),
    Kind("DELETE logged-models/$own_logged", {},
         "SELECT lifecycle_stage FROM logged_models WHERE model_id = '$own_logged'", [("deleted",)], ("own_logged",)),
    Kind("POST logged-models/$logged/params", {"model_id": "$logged", "params": [TAG]},
         "SELECT param_value FROM logged_model_params WHERE param_key = '$u'", [("1",)]),
    Kind("PATCH logged-models/$logged/tags", {"tags": [TAG]},
         "SELECT tag_value FROM logged_model_tags WHERE tag_key = '$u'", [("1",)], repeatable=True),
    Kind("DELETE logged-models/$logged/tags/$u", {},
         "SELECT tag_value FROM logged_model_tags WHERE tag_key = '$u'", [], ("logged tag",)),
    # registered models
    Kind("POST registered-models/create", {"name": "$u", "tags": [TAG]},
         "SELECT name, t.value FROM registered_models LEFT JOIN registered_model_tags t USING (name)"
         " WHERE name = '$u'", [("$answer", "1")], answer=("registered_model", "name")),
    Kind("POST registered-models/rename", {"name": "$own_model", "new_name": "$u"},
         "SELECT name FROM registered_models WHERE name IN ('$own_model', '$u')", [("$u",)], ("own_model",)),
    Kind("PATCH registered-models/update", {"name": "$own_model", "description": "$u"},
         "SELECT description FROM registered_models WHERE name = '$own_model'", [("$u",)], ("own_model",),
         repeatable=True),
    Kind("DELETE registered-models/delete", {"name": "$own_model"},
         "SELECT name FROM registered_models WHERE name = '$own_model'", [], ("own_model",)),
    Kind("POST registered-models/set-tag", {"name": "shared", **TAG},
         "SELECT value FROM registered_model_tags WHERE key = '$u'", [("1",)], repeatable=True),
    Kind("DELETE registered-models/delete-tag", {"name": "shared", "key": "$u"},
         "SELECT value FROM registered_model_tags WHERE key = '$u'", [], ("model tag",)),
    Kind("POST registered-models/alias", {"name": "shared", "alias": "$u", "version": "1"},
         "SELECT version FROM registered_model_aliases WHERE alias = '$u'", [("1",)], repeatable=True),
    Kind("DELETE registered-models/alias", {"name": "shared", "alias": "$u"},
         "SELECT version FROM registered_model_aliases WHERE alias = '$u'", [], ("alias",)),
    # model versions
    Kind("POST model-versions/create", {"name": "$own_model", "source": "s3://b/$u"},
         "SELECT version FROM model_versions WHERE name = '$own_model'", [("$answer",)], ("own_model",),
         answer=VERSION),
    Kind("PATCH model-versions/update", {"name": "$own_model", "version": "1", "description": "$u"},
         "SELECT description FROM model_versions WHERE name = '$own_model'", [("$u",)],
         ("own_model", "own_version"), repeatable=True),
    Kind("POST model-versions/transition-stage",
         {"name": "$own_model", "version": "1", "stage": "Production", "archive_existing_versions": False},
         "SELECT current_stage FROM model_versions WHERE name = '$own_model'", [("Production",)],
         ("own_model", "own_version")),
    Kind("DELETE model-versions/delete", {"name": "$own_model", "version": "1"},
         "SELECT current_stage FROM model_versions WHERE name = '$own_model'", [("Deleted_Internal",)],
         ("own_model", "own_version")),
    Kind("POST model-versions/set-tag", {"name": "shared", "version": "1", **TAG},
         "SELECT value FROM model_version_tags WHERE key = '$u'", [("1",)], repeatable=True),
    Kind("DELETE model-versions/delete-tag", {"name": "shared", "version": "1", "key": "$u"},
         "SELECT value FROM model_version_tags WHERE key = '$u'", [], ("version tag",)),
    # webhooks
    Kind("POST webhooks", HOOK,
         "SELECT webhook_id, entity, action FROM webhooks JOIN webhook_events USING (webhook_id) WHERE name = '$u'",
         [("$answer", "registered_model", "created")], answer=WEBHOOK),
    Kind("PATCH webhooks/$hook", {"name": "new-$short"},
         "SELECT name FROM webhooks WHERE webhook_id = '$hook'", [("new-$short",)], ("hook",), repeatable=True),
    Kind("DELETE webhooks/$hook", {},
         "SELECT webhook_id FROM webhooks WHERE webhook_id = '$hook' AND deleted_timestamp IS NULL", [], ("hook",)),
    # traces
    Kind(f"POST {TRACES}", {"trace": {"trace_info": INFO}},
         "SELECT i.status, t.value FROM trace_info i LEFT JOIN trace_tags t USING (request_id)"
         " WHERE request_id = 'tr-$hex' AND key = 'k'", [("OK", "$u")], repeatable=True),
    Kind("POST /v1/traces", OTLP,
         "SELECT i.status, s.name, t.value FROM trace_info i LEFT JOIN spans s ON trace_id = request_id"
         " LEFT JOIN trace_tags t USING (request_id) WHERE request_id = 'tr-$hex'"
         " AND key = 'mlflow.trace.spansLocation'", [("OK", "$u", "TRACKING_STORE")], repeatable=True),
    Kind("POST traces", {"experiment_id": "0", "timestamp_ms": 1, "tags": [{"key": "token", "value": "$u"}]},
         "SELECT request_id FROM trace_tags WHERE key = 'token' AND value = '$u'", [("$answer",)], answer=V2_ID),
    Kind("PATCH traces/$old_trace", {"timestamp_ms": 5, "status": "OK"},
         "SELECT status, execution_time_ms FROM trace_info WHERE request_id = '$old_trace'", [("OK", "4")],
         ("old_trace",), repeatable=True),
    Kind("PATCH traces/tr-$hex/tags", TAG,
         "SELECT value FROM trace_tags WHERE key = '$u'", [("1",)], ("trace",), repeatable=True),
    Kind("DELETE traces/tr-$hex/tags", {"key": "old"},
         "SELECT value FROM trace_tags WHERE key = 'old' AND request_id = 'tr-$hex'", [], ("trace",)),
    Kind(f"PATCH {TRACES}/tr-$hex/tags", TAG,
         "SELECT value FROM trace_tags WHERE key = '$u'", [("1",)], ("trace",), repeatable=True),
    Kind(f"DELETE {TRACES}/tr-$hex/tags", {"key": "old"},
         "SELECT value FROM trace_tags WHERE key = 'old' AND request_id = 'tr-$hex'", [], ("trace",)),
    Kind("POST traces/link-to-run", {"trace_ids": ["tr-$hex"], "run_id": "$run"},
         "SELECT destination_id FROM entity_associations WHERE source_id = 'tr-$hex'", [("$run",)]),
    Kind("POST traces/link-prompts", {"trace_id": "tr-$hex", "prompt_versions": [{"name": "p", "version": "1"}]},
         "SELECT destination_id FROM entity_associations WHERE source_id = 'tr-$hex'", [("p/1",)], ("trace",)),
    Kind("POST traces/delete-traces", {"experiment_id": "0", "request_ids": ["tr-$hex"]},
         "SELECT request_id FROM trace_info WHERE request_id = 'tr-$hex'", [], ("trace",)),
    Kind(f"POST {TRACES}/delete-traces", {"experiment_id": "0", "request_ids": ["tr-$hex"]},
         "SELECT request_id FROM trace_info WHERE request_id = 'tr-$hex'", [], ("trace",)),
    Kind(f"POST {TRACES}/tr-$hex/assessments", {"assessment": FEEDBACK},
         "SELECT assessment_id, value FROM assessments WHERE name = '$u'", [("$answer", "4.0")], ("trace",),
         answer=ASSESSMENT),
    Kind(f"PATCH {TRACES}/tr-$hex/assessments/$feedback",
         {"assessment": {"rationale": "new"}, "update_mask": "rationale"},
         "SELECT rationale FROM assessments WHERE name = '$u'", [("new",)], ("trace", "feedback"), repeatable=True),
    Kind(f"DELETE {TRACES}/tr-$hex/assessments/$feedback", {},
         "SELECT assessment_id FROM assessments WHERE name = '$u'", [], ("trace", "feedback")),
    # evaluation datasets
    Kind(f"POST {DATASETS}/create", {"name": "$u", "experiment_ids": ["0"]},
         "SELECT dataset_id FROM evaluation_datasets WHERE name = '$u'", [("$answer",)],
         answer=("dataset", "dataset_id")),
    Kind(f"DELETE {DATASETS}/$dataset", {},
         "SELECT dataset_id FROM evaluation_datasets WHERE name = '$u'", [], ("dataset", "records"), repeatable=True),
    Kind(f"PATCH {DATASETS}/$dataset/tags", {"tags": json.dumps({"new": "$u"})},
         "SELECT value FROM evaluation_dataset_tags WHERE dataset_id = '$dataset' AND key = 'new'", [("$u",)],
         ("dataset",), repeatable=True),
    Kind(f"DELETE {DATASETS}/$dataset/tags/$u", {},
         "SELECT value FROM evaluation_dataset_tags WHERE dataset_id = '$dataset'", [], ("dataset",), repeatable=True),
    Kind(f"POST {DATASETS}/$dataset/add-experiments", {"experiment_ids": ["$experiment"]},
         "SELECT destination_id FROM entity_associations WHERE source_id = '$dataset' AND destination_id <> '0'",
         [("$experiment",)], ("dataset", "experiment")),
    Kind(f"POST {DATASETS}/$dataset/remove-experiments", {"experiment_ids": ["0"]},
         "SELECT destination_id FROM entity_associations WHERE source_id = '$dataset'", [], ("dataset",)),
    Kind(f"POST {DATASETS}/$dataset/records", RECORDS,
         "SELECT source_id, created_by, count(*) FROM evaluation_dataset_records WHERE dataset_id = '$dataset'"
         " GROUP BY source_id, created_by", [("None", "None", "1")], ("dataset",)),
    Kind(f"DELETE {DATASETS}/$dataset/records", {"dataset_record_ids": ["$record"]},
         "SELECT dataset_record_id FROM evaluation_dataset_records WHERE dataset_id = '$dataset'", [],
         ("dataset", "records", "record"), repeatable=True),
    # issues and label schemas
    Kind(f"POST {ISSUES}", {"experiment_id": "0", "name": "$u", "description": "d"},
         "SELECT issue_id, status FROM issues WHERE name = '$u'", [("$answer", "pending")],
         answer=("issue", "issue_id")),
    Kind(f"PATCH {ISSUES}/$issue", {"issue_id": "$issue", "status": "resolved"},
         "SELECT status FROM issues WHERE name = '$u'", [("resolved",)], ("issue",), repeatable=True),
    Kind(f"POST {LABELS}/create", {"experiment_id": "0", "name": "$u", "type": "FEEDBACK", "input": {"text": {}}},
         "SELECT schema_id FROM label_schemas WHERE name = '$u'", [("$answer",)],
         answer=("label_schema", "schema_id")),
    Kind(f"PATCH {LABELS}/update", {"schema_id": "$label", "instruction": "new"},
         "SELECT instruction FROM label_schemas WHERE name = '$u'", [("new",)], ("label",), repeatable=True),
    Kind(f"POST {GATEWAY}/secrets/create", SECRET,
         "SELECT secret_id, secret_name FROM secrets WHERE provider = '$u'", [("$answer", "$u")],
         answer=("secret", "secret_id")),
    Kind(f"POST {GATEWAY}/secrets/update", {"secret_id": "$secret", "auth_config": {"k": "v"}, "updated_by": "b"},
         "SELECT auth_config, last_updated_by FROM secrets WHERE secret_id = '$secret'", [('{"k": "v"}', "b")],
         ("secret",)),
    Kind(f"DELETE {GATEWAY}/secrets/delete", {"secret_id": "$secret"},
         "SELECT secret_id FROM secrets WHERE secret_id = '$secret'", [], ("secret",)),
    Kind(f"POST {GATEWAY}/model-definitions/create", DEFINITION,
         "SELECT model_definition_id, secret_id FROM model_definitions WHERE name = '$u'", [("$answer", "$secret")],
         ("secret",), answer=("model_definition", "model_definition_id")),
    Kind(f"POST {GATEWAY}/model-definitions/update", {"model_definition_id": "$definition", "model_name": "$u"},
         "SELECT model_name FROM model_definitions WHERE model_definition_id = '$definition'", [("$u",)],
         ("secret", "definition")),
    Kind(f"DELETE {GATEWAY}/model-definitions/delete", {"model_definition_id": "$definition"},
         "SELECT name FROM model_definitions WHERE model_definition_id = '$definition'", [],
         ("secret", "definition")),
    Kind(f"DELETE {LABELS}/delete", {"schema_id": "$label"},
         "SELECT schema_id FROM label_schemas WHERE name = '$u'", [], ("label",), repeatable=True),
    # jobs
    Kind("PATCH /ajax-api/3.0/jobs/cancel/$short", {},
         "SELECT status FROM jobs WHERE id = '$short'", [("5",)], ("job",)),
    Kind("PATCH /ajax-api/3.0/mlflow/jobs/cancel/$short", {},
         "SELECT status FROM jobs WHERE id = '$short'", [("5",)], ("job",)),
    Kind(f"POST {OPTIMIZATIONS}/$short/cancel", {},
         "SELECT j.status, r.status FROM jobs j, runs r WHERE j.id = '$short' AND r.run_uuid = '$own_run'",
         [("5", "KILLED")], ("own_run", "optimization")),
    Kind(f"DELETE {OPTIMIZATIONS}/$short", {},
         "SELECT j.id, r.lifecycle_stage FROM runs r LEFT JOIN jobs j ON j.id = '$short'"
         " WHERE r.run_uuid = '$own_run'", [("None", "deleted")], ("own_run", "ended optimization")),
    # endpoints of the gateway, their models and bindings
    Kind(f"POST {GATEWAY}/endpoints/create", ENDPOINT | {"usage_tracking": True},
         "SELECT e.endpoint_id, m.model_definition_id, x.name FROM endpoints e JOIN endpoint_model_mappings m"
         " ON m.endpoint_id = e.endpoint_id JOIN experiments x ON x.experiment_id = e.experiment_id"
         " WHERE e.name = '$u'", [("$answer", "$definition", "gateway/$u")],
         ("secret", "definition"), answer=("endpoint", "endpoint_id")),
    Kind(f"POST {GATEWAY}/endpoints/update", {"endpoint_id": "$endpoint", "updated_by": "b"},
         "SELECT last_updated_by FROM endpoints WHERE name = '$u'", [("b",)], OWN_ENDPOINT),
    Kind(f"DELETE {GATEWAY}/endpoints/delete", {"endpoint_id": "$endpoint"},
         "SELECT endpoint_id FROM endpoints WHERE name = '$u' UNION ALL"
         " SELECT endpoint_id FROM endpoint_model_mappings WHERE endpoint_id = '$endpoint'", [], OWN_ENDPOINT),
    Kind(f"POST {GATEWAY}/endpoints/models/attach",
         {"endpoint_id": "$endpoint", "model_config": MODELS[0] | {"linkage_type": "FALLBACK"}},
         "SELECT linkage_type FROM endpoint_model_mappings WHERE endpoint_id = '$endpoint' ORDER BY 1",
         [("FALLBACK",), ("PRIMARY",)], OWN_ENDPOINT),
    Kind(f"POST {GATEWAY}/endpoints/models/detach", {"endpoint_id": "$endpoint", "model_definition_id": "$definition"},
         "SELECT linkage_type FROM endpoint_model_mappings WHERE endpoint_id = '$endpoint'", [], OWN_ENDPOINT),
    Kind(f"POST {GATEWAY}/endpoints/set-tag", {"endpoint_id": "$endpoint", "key": "k", "value": "$u"},
         "SELECT value FROM endpoint_tags WHERE endpoint_id = '$endpoint'", [("$u",)], OWN_ENDPOINT),
    Kind(f"DELETE {GATEWAY}/endpoints/delete-tag", {"endpoint_id": "$endpoint", "key": "$u"},
         "SELECT value FROM endpoint_tags WHERE endpoint_id = '$endpoint'", [],
         (*OWN_ENDPOINT, "endpoint tag"), repeatable=True),
    Kind(f"POST {GATEWAY}/endpoints/bindings/create", BINDING,
         "SELECT resource_type, resource_id FROM endpoint_bindings WHERE endpoint_id = '$endpoint'",
         [("scorer", "$u")], OWN_ENDPOINT),
    Kind(f"DELETE {GATEWAY}/endpoints/bindings/delete", BINDING,
         "SELECT resource_id FROM endpoint_bindings WHERE endpoint_id = '$endpoint'", [],
         (*OWN_ENDPOINT, "binding")),
    # budgets and guardrails
    Kind(f"POST {GATEWAY}/budgets/create", BUDGET,
         "SELECT budget_policy_id, target_scope FROM budget_policies WHERE created_by = '$u'",
         [("$answer", "GLOBAL")], answer=("budget_policy", "budget_policy_id")),
    Kind(f"POST {GATEWAY}/budgets/update", {"budget_policy_id": "$budget", "budget_action": "REJECT"},
         "SELECT budget_action FROM budget_policies WHERE created_by = '$u'", [("REJECT",)], ("budget",)),
    Kind(f"DELETE {GATEWAY}/budgets/delete", {"budget_policy_id": "$budget"},
         "SELECT budget_policy_id FROM budget_policies WHERE created_by = '$u'", [], ("budget",)),
    Kind(f"POST {GATEWAY}/guardrails/create", GUARDRAIL,
         "SELECT guardrail_id, scorer_id FROM guardrails WHERE name = '$u'", [("$answer", "$short")],
         GUARD, answer=("guardrail", "guardrail_id")),
    Kind(f"DELETE {GATEWAY}/guardrails/delete", {"guardrail_id": "$guardrail"},
         "SELECT guardrail_id FROM guardrails WHERE name = '$u'", [], (*GUARD, "guardrail")),
    Kind(f"POST {GATEWAY}/guardrails/add-to-endpoint", USE,
         "SELECT guardrail_id FROM guardrail_configs WHERE endpoint_id = '$endpoint'", [("$guardrail",)],
         (*OWN_ENDPOINT, *GUARD, "guardrail")),
    Kind(f"PATCH {GATEWAY}/guardrails/update-config", USE | {"execution_order": 7},
         "SELECT execution_order FROM guardrail_configs WHERE endpoint_id = '$endpoint'", [("7",)],
         (*OWN_ENDPOINT, *GUARD, "guardrail", "use of guardrail"), repeatable=True),
    Kind(f"DELETE {GATEWAY}/guardrails/remove-from-endpoint", USE,
         "SELECT guardrail_id FROM guardrail_configs WHERE endpoint_id = '$endpoint'", [],
         (*OWN_ENDPOINT, *GUARD, "guardrail", "use of guardrail")),
    # scorers
    Kind(f"POST {SCORERS}/register", {"experiment_id": "0", "name": "$u", "serialized_scorer": "{}"},
         "SELECT scorer_id, scorer_version FROM scorers JOIN scorer_versions USING (scorer_id)"
         " WHERE scorer_name = '$u'", [("$answer", "1")], answer=("scorer_id",)),
    Kind(f"DELETE {SCORERS}/delete", {"experiment_id": "0", "name": "$u"},
         "SELECT scorer_id FROM scorers WHERE scorer_name = '$u'", [], ("scorer",)),
    Kind(f"PUT {SCORERS}/online-config", {"experiment_id": "0", "name": "$u", "sample_rate": 0},
         "SELECT online_scoring_config_id FROM online_scoring_configs WHERE scorer_id = '$scorer'", [("$answer",)],
         ("scorer",), answer=("config", "online_scoring_config_id"), repeatable=True),
    # review queues
    Kind(f"POST {QUEUES}/create",
         {"experiment_id": "0", "name": "$u", "queue_type": "CUSTOM", "users": ["ann"]},
         "SELECT queue_id, user_id FROM review_queues JOIN review_queue_users USING (queue_id) WHERE name = '$u'",
         [("$answer", "ann")], answer=QUEUE),
    Kind(f"POST {QUEUES}/get-or-create-user", {"experiment_id": "0", "user": "$u"},
         "SELECT queue_id, user_id FROM review_queues JOIN review_queue_users USING (queue_id) WHERE name = '$u'",
         [("$answer", "$u")], answer=QUEUE, repeatable=True),
    Kind(f"POST {QUEUES}/update", {"queue_id": "$queue", "update_users": True, "users": ["bob"]},
         "SELECT user_id FROM review_queue_users WHERE queue_id = '$queue'", [("bob",)], ("queue",), repeatable=True),
    Kind(f"POST {QUEUES}/delete", {"queue_id": "$queue"},
         "SELECT queue_id FROM review_queues WHERE queue_id = '$queue'", [], ("queue",), repeatable=True),
    Kind(f"POST {QUEUES}/items/add", ITEM,
         "SELECT item_id, status FROM review_queue_items WHERE queue_id = '$queue'", [("tr-$hex", "pending")],
         ("trace", "queue"), repeatable=True),
    Kind(f"POST {QUEUES}/items/remove", ITEM,
         "SELECT item_id FROM review_queue_items WHERE queue_id = '$queue'", [], ("trace", "queue", "item"),
         repeatable=True),
    Kind(f"POST {QUEUES}/items/set-status",
         {"queue_id": "$queue", "item_id": "tr-$hex", "status": "COMPLETE", "completed_by": "ann"},
         "SELECT status, completed_by FROM review_queue_items WHERE queue_id = '$queue'", [("complete", "ann")],
         ("trace", "queue", "item"), repeatable=True),
)  # fmt: skip


def filled(value: Any, known: dict[str, str]) -> Any:
    """A text, or everything in a body, with its `$names` replaced."""
    return json.loads(Template(json.dumps(value)).substitute(known))


def send(wire: Once, step: Step | Kind, known: dict[str, str]) -> Answer:
    """Send the request of a step or a kind once."""
    method, path = filled(step.request, known).split(" ")
    body = json.dumps(filled(step.body, known)).encode()
    target = path if path.startswith("/") else API + path
    return wire.ask(method, target, body, headers=JSON | {"x-mlflow-experiment-id": "0"})


def found_in(answer: Answer, way: tuple[str | int, ...]) -> str:
    """A value of a JSON answer, or of a JSON text in it."""
    value = answer.json()
    for name in way:
        value = (json.loads(value) if isinstance(value, str) else value)[name]
    return str(value)


def do(wire: Once, step: Step, known: dict[str, str]) -> str:
    """Take a step that must succeed; the id that it gives, if any."""
    answer = send(wire, step, known)
    assert answer.status == 200, f"{step.request}: {answer}"
    return found_in(answer, step.answer) if step.answer else ""


def shared_things(wire: Once) -> dict[str, str]:
    """Create the shared objects; their ids by name."""
    known: dict[str, str] = {}
    for name, step in SHARED.items():
        known[name] = do(wire, step, known)
    return known


@dataclass
class Attempt:
    """One write of a kind, with all that it needs in place."""

    kind: Kind
    uri: str
    known: dict[str, str] = field(default_factory=dict)

    @classmethod
    def prepared(cls, kind: Kind, wire: Once, uri: str, shared: dict[str, str]) -> Attempt:
        """Create the objects that the write needs, without the write itself."""
        token = "u" + uuid.uuid4().hex
        one = cls(
            kind, uri, shared | {"u": token, "short": token[:20], "hex": token[1:], "answer": "?"}
        )
        for name in kind.stages:
            stage = STAGES[name]
            if isinstance(stage, Insert):
                execute(uri, Template(stage.statement).substitute(one.known))
            elif made := do(wire, stage, one.known):
                one.known[name] = made
        assert one.stored() != one.wanted(), "there is nothing to do"
        return one

    def stored(self) -> list[tuple[str, ...]]:
        """The rows that exist."""
        found = rows(self.uri, filled(self.kind.stored, self.known))
        return [tuple(str(value) for value in row) for row in found]

    def wanted(self) -> list[tuple[str, ...]]:
        """The rows that must be there."""
        return [tuple(filled(value, self.known) for value in row) for row in self.kind.rows]

    def check(self, answer: Answer) -> None:
        """The write is there, once, and the answer contains it."""
        if self.kind.answer:
            self.known["answer"] = found_in(answer, self.kind.answer)
        stored, wanted = self.stored(), self.wanted()
        assert stored == wanted, f"{self.kind.request} left {stored} instead of {wanted}: {answer}"
