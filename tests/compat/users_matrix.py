"""One request per native route and resource, made from the route's own request type, for every kind of caller."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import quote, urlencode

import msgspec

from headrace.api.routes import ROUTES
from headrace.auth.rules import UNRULED
from headrace.http.router import Endpoint

if TYPE_CHECKING:
    from collections.abc import Iterator

    from headrace.api.route import Route

# Routes of headrace alone, which stock cannot be compared with.
OWN: Final = (
    "/livez", "/readyz", "/metrics", "/openapi.json", "/headrace/api",
    "/oidc/login", "/oidc/callback", "/oidc/logout",
)  # fmt: skip
# Routes whose own tests compare them with stock, and why they are not here.
ELSEWHERE: Final = {
    "/signup": "a page with a form of headrace's own",
    "/api/2.0/mlflow/users/create-ui": "needs the form's token",
}
# From the weakest to the strongest, so that those who may delete something come last.
CALLERS: Final = (
    "anonymous", "wrong-password", "nobody", "denied", "reader", "user", "editor", "subdenied",
    "manager", "chief", "admin",
)  # fmt: skip
PARTS: Final = (
    "run", "trace", "assessment", "logged_model", "registered_model_version", "prompt_version",
    "scorer", "scorer_version", "review_queue",
)  # fmt: skip


# Jobs by id, with the users who started them.
JOBS: Final = {
    "j-user": "user",
    "j-other": "other",
    "j-nobody": None,
    "j-shown": None,
    "j-canceled": None,
    "j-deleted": None,
}


class Row(NamedTuple):
    """A request of the matrix; `undo` makes the resource as it was, for the next caller."""

    method: str
    path: str
    target: str
    body: bytes | None
    headers: dict[str, str]
    undo: tuple[str, Any] | None

    def __str__(self) -> str:
        return f"{self.method} {self.target} {(self.body or b'')[:200].decode(errors='replace')}"


# The resources of a request, by the name that a variant has; each is tried with those routes whose
# request has the field.
Values = dict[str, Any]


def variants(made: Values) -> Iterator[Values]:
    """The values of the fields of requests: of what the callers have grants for, and of what not."""
    base: Values = {
        "experiment_id": "1", "experiment_ids": ["1"], "experiment_name": "A",
        "run_id": made["run"], "run_uuid": made["run"], "run_ids": [made["run"]],
        "model_id": made["logged_model"], "name": "ma", "version": "1",
        "trace_id": made["trace"], "request_id": made["trace"], "trace_ids": [made["trace"]],
        "locations": [{"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": "1"}}],
        "assessment_id": "a-1", "key": "k", "value": "v", "timestamp": 1, "metric_key": "m",
        "filter": None, "alias": "best", "stage": "Staging", "status": "LOGGED_MODEL_READY", "tag_key": "k",
        "path": "f.txt", "artifact_file_path": "f.txt", "filename": "main.js",
        "artifact_path": f"1/{made['run']}/artifacts/f.txt", "webhook_id": "w",
        "workspace_name": "default", "source": "s3://bucket/x", "parts": [{"part_number": 1}],
        "filter_string1": "trace.status = 'OK'", "filter_string2": "trace.status = 'OK'",
        "url": "https://example.com/hook", "new_name": "renamed",
        "events": [{"entity": "REGISTERED_MODEL", "action": "CREATED"}],
        "query": "{mlflowGetExperiment(input: {experimentId: \"1\"}) {experiment {name}}}",
        "model_json": json.dumps({"artifact_path": "x", "flavors": {}, "run_id": made["run"], "utc_time_created": "2026-01-01 00:00:00.000000"}),
        "models": [{"model_id": made["logged_model"], "step": 0}],
    }  # fmt: skip
    location = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": "1"}}
    info = {
        "trace_id": "tr-new",
        "trace_location": location,
        "request_time": "2026-01-01T00:00:00Z",
        "state": "OK",
    }
    base |= {
        "metric_name": "trace_count", "view_type": "TRACES", "aggregations": [{"aggregation_type": "COUNT"}],
        "prompt_versions": [{"name": "pa", "version": "1"}],
        # Of users, roles and grants: the user `other` is no caller.
        "username": "other", "password": "a new password", "is_admin": False, "role_id": made["role"],
        "role_permission_id": made["permission"], "resource_type": "experiment", "resource_id": "1",
        "resource_pattern": "*", "permission": "READ", "workspace": ["default"], "description": "d",
        "issue_id": made["issue"], "schema_id": made["schema"], "filter_string": None,
        "dataset_id": made["dataset"], "records": "[]", "tags": "{}", "job_id": "j-user",
        "secret_name": "spare", "secret_id": made["secret"], "provider": "openai", "model_name": "gpt",
        "model_definition_id": made["definition"],
        "model_configs": [{"model_definition_id": made["definition"], "linkage_type": "PRIMARY"}],
        "model_config": {"model_definition_id": made["definition"], "linkage_type": "FALLBACK"},
        "endpoint_id": made["endpoint"], "budget_policy_id": "bp-nope", "budget_unit": "USD", "budget_amount": 1,
        "duration": {"unit": "DAYS", "value": 1}, "target_scope": "GLOBAL", "budget_action": "ALERT",
        "scorer_id": made["scorer"], "scorer_version": 1, "action": "VALIDATION", "guardrail_id": made["guardrail"],
        "trace": {"trace_info": info}, "update_mask": "assessment_name",
        "assessment": {"assessment_name": "good", "feedback": {"value": True}, "source": {"source_type": "HUMAN", "source_id": "u"}},
        "serialized_scorer": "{}", "sample_rate": 0.0, "scorer_ids": [made["online scorer"]],
        "queue_id": made["queue"], "queue_type": "CUSTOM", "user": "other", "new_owner": None,
        "item_id": made["trace"], "item_ids": [made["trace"]],
    }  # fmt: skip
    yield base
    brought = [base["assessment"] | {"trace_id": "tr-new"}]
    yield base | {
        "view_type": "ASSESSMENTS",
        "metric_name": "assessment_count",
        "trace": {"trace_info": info | {"assessments": brought}},
    }
    yield base | {"resource_id": "2", "role_id": 999, "role_permission_id": 999}
    yield base | {"resource_type": "registered_model", "resource_id": "ma"}
    yield base | {"resource_type": "run", "resource_id": "*"}
    yield base | {"resource_type": "nonsense", "username": "ghost", "password": "short"}
    yield base | {"filter": "metadata.`mlflow.sourceRun` = 'r'"}
    yield base | {"experiment_id": "2", "experiment_ids": ["2"], "experiment_name": "B"}
    yield base | {"experiment_id": "999", "experiment_ids": ["1", "999"], "experiment_name": "none"}
    yield base | {"run_id": "nope", "run_uuid": "nope", "run_ids": ["nope"]}
    yield base | {"model_id": "m-nope", "models": [{"model_id": "m-nope"}]}
    yield base | {"trace_id": "tr-nope", "request_id": "tr-nope", "trace_ids": ["tr-nope"]}
    yield base | {"dataset_id": made["unlinked dataset"], "filter_string": "source_run_id = 'r'"}
    yield base | {"issue_id": "iss-nope", "schema_id": "ls-nope", "job_id": "j-nope"}
    yield base | {"job_id": "j-other"}
    yield base | {"job_id": "j-nobody"}
    yield base | {"dataset_id": "d-nope", "experiment_ids": ["1", "2"]}
    yield base | {"secret_id": made["own secret"], "model_definition_id": made["own definition"]}
    yield base | {"secret_id": "s-nope", "model_definition_id": "d-nope"}
    own = {"model_definition_id": made["own definition"], "linkage_type": "PRIMARY"}
    yield base | {"model_configs": [own], "model_config": own, "endpoint_id": made["own endpoint"]}
    yield base | {"endpoint_id": "e-nope", "guardrail_id": "gr-nope"}
    yield base | {"name": "pa"}
    yield base | {"name": "none"}
    yield base | {"name": "other", "version": None}
    yield base | {"queue_id": made["queue of a user"], "scorer_ids": ["nope"]}
    yield base | {"queue_id": "rq-nope", "new_owner": "other"}
    yield base | {"queue_id": made["queue"], "new_owner": "other"}
    yield base | {"artifact_path": "1/models/m/artifacts/f.txt"}
    yield base | {"artifact_path": "1/notes.txt"}
    yield base | {"artifact_path": "2/notes.txt"}
    yield base | {"artifact_path": "elsewhere.txt"}


# Fields that a request does not get although its type has them.
SKIPPED: Final = {
    "dataset_name",
    "deployment_job_id",
    "run_link",
    "user_id",
    "run_name",
    "page_token",
}
# Optional fields that a request gets because a rule looks at them.
JUDGED: Final = {
    "experiment_id", "experiment_ids", "run_id", "model_id", "name", "trace_id", "request_id",
    "trace_ids", "models", "filter", "filter_string", "prompt_versions", "schema_id", "secret_id",
    "model_configs", "endpoint_id",
    "queue_type", "new_owner", "item_ids",
    "username", "password", "is_admin", "role_id", "role_permission_id", "resource_type", "resource_id",
    "resource_pattern", "permission", "workspace", "description",
}  # fmt: skip
# What differs from the values above, by route.
SPECIAL: Final[dict[str, Values]] = {
    "/api/2.0/mlflow/runs/update": {"status": "RUNNING"},
    "/api/2.0/mlflow/runs/log-metric": {"value": 1.0},
    "/api/2.0/mlflow/experiments/update": {"new_name": "A"},
    "/api/2.0/mlflow/registered-models/rename": {"new_name": "ma-renamed"},
    "/api/2.0/mlflow/model-versions/create": {"run_id": None, "model_id": None},
    "/api/2.0/mlflow/artifacts/presigned-upload-url": {"model_id": None},
    "/api/2.0/mlflow/logged-models": {"name": "lm"},
    "/api/2.0/mlflow/webhooks": {"name": "hook"},
    "/api/2.0/mlflow/experiments/create": {"name": "A"},
    "/api/2.0/mlflow/registered-models/create": {"name": "ma"},
    "/api/2.0/mlflow-artifacts/artifacts": {"path": "1"},
    "/api/3.0/mlflow/datasets/search": {"filter_string": None},
    "/api/3.0/mlflow/label-schemas/create": {"name": None},
    "/api/3.0/mlflow/label-schemas/get-by-name": {"name": "Feedback"},
    "/api/3.0/mlflow/label-schemas/update": {"name": None},
    # Jobs of their own, because stock lets only admins change them.
    "/api/3.0/mlflow/prompt-optimization/jobs/{job_id}": {"job_id": "j-shown"},
    "/api/3.0/mlflow/prompt-optimization/jobs/{job_id}/cancel": {"job_id": "j-canceled"},
    "/api/3.0/mlflow/gateway/secrets/list": {"provider": None},
    "/api/3.0/mlflow/gateway/model-definitions/create": {"name": "spare"},
    "/api/3.0/mlflow/gateway/model-definitions/list": {"provider": None},
    "/api/3.0/mlflow/gateway/model-definitions/update": {"name": None},
    "/api/3.0/mlflow/gateway/endpoints/bindings/create": {
        "resource_type": "scorer",
        "resource_id": "r",
    },
    "/api/3.0/mlflow/gateway/endpoints/bindings/delete": {
        "resource_type": "scorer",
        "resource_id": "r",
    },
    "/api/3.0/mlflow/gateway/endpoints/bindings/list": {"resource_type": None, "resource_id": None},
    "/api/3.0/mlflow/gateway/endpoints/update": {"name": None},
    "/api/3.0/mlflow/gateway/guardrails/create": {"stage": "BEFORE"},
    "/api/3.0/mlflow/scorers/register": {"name": "t"},
    "/api/3.0/mlflow/scorers/list": {"experiment_ids": None},
    "/api/3.0/mlflow/scorers/versions": {"name": "t"},
    "/api/3.0/mlflow/scorers/get": {"name": "t"},
    "/api/3.0/mlflow/scorers/delete": {"name": "t", "version": "1"},
    "/api/3.0/mlflow/scorers/online-config": {"name": "t", "filter_string": None},
    "/api/3.0/mlflow/review-queues/items/set-status": {"status": "COMPLETE"},
    "/api/3.0/mlflow/roles/create": {"workspace": "default", "name": "spare"},
    "/api/3.0/mlflow/roles/update": {"name": "spare"},
}
UNDO: Final = {
    "/api/2.0/mlflow/experiments/delete": (
        "/api/2.0/mlflow/experiments/restore",
        {"experiment_id"},
    ),
    "/api/2.0/mlflow/runs/delete": ("/api/2.0/mlflow/runs/restore", {"run_id"}),
}
LAST: Final = (
    "/delete",
    "/rename",
    "{model_id}",
    "{dataset_id}",
)  # of a path that destroys something


class NoValue(Exception):
    """A field of a new route has no value above."""


def rows(made: Values) -> list[Row]:
    """The requests of the matrix, those that destroy something last. Raises NoValue."""
    found: dict[str, Row] = {}
    for route in sorted(compared(), key=_destroys):
        for values in variants(made):
            row = row_of(route, values | SPECIAL.get(route.path, {}))
            found.setdefault(str(row), row)
    return list(found.values())


def compared() -> list[Route]:
    """The native routes that stock has too."""
    return [r for r in ROUTES if r.path not in OWN and r.path not in ELSEWHERE]


def _destroys(route: Route) -> bool:
    return route.method in ("POST", "DELETE") and route.path.endswith(LAST)


def row_of(route: Route, values: Values, *more: str) -> Row:
    """The request of a route with these values. `more` are optional fields that it gets too."""
    used: set[str] = set()

    def argument(match: re.Match[str]) -> str:
        name = match[1].removesuffix(":path")
        used.add(name)
        return quote(_value(route, "model_id" if name == "-" else name, values))

    target = re.sub(r"\{([^}]+)\}", argument, route.path)
    names = _names(route) | SPECIAL.get(route.path, {}).keys() | set(more)
    fields = {n: _value(route, n, values) for n in names - used if _is_given(n, values)}
    headers: dict[str, str] = {}
    body = None
    if route.raw or route.method in ("GET", "HEAD"):
        if fields:
            target += "?" + urlencode(fields, doseq=True)
        if route.method in ("PUT", "POST"):
            body = b"content"
    else:
        body = json.dumps(fields).encode()
        headers = {"Content-Type": "application/json"}
    undo = UNDO.get(route.path)
    back = None if undo is None else (undo[0], {name: values[name] for name in undo[1]})
    return Row(route.method, route.path, target, body, headers, back)


def _names(route: Route) -> set[str]:
    if route.raw:
        return set(route.query)
    kind = Endpoint(route).request_type
    assert kind is not None, "only raw routes have no type"
    found = msgspec.structs.fields(kind)
    return {f.name for f in found if f.required or f.name in JUDGED} - SKIPPED


def _is_given(name: str, values: Values) -> bool:
    return name not in values or values[name] is not None


def _value(route: Route, name: str, values: Values) -> Any:
    if name not in values:
        raise NoValue(f"{route.method} {route.path}: give the field {name} a value in variants()")
    return values[name]


def without_rule() -> set[str]:
    """Paths that MLflow has no rule for."""
    return {route.path for route in ROUTES if route.rule is UNRULED}
