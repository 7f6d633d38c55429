"""Requests of every native route from one workspace, with the ids and names of another one."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.compat.users_matrix import SPECIAL, Row, compared, row_of, variants

from headrace.http.router import Endpoint

if TYPE_CHECKING:
    from collections.abc import Iterator

    from headrace.api.route import Route

Values = dict[str, Any]


def unknown() -> Values:
    """Ids and names that do not exist anywhere."""
    names = (
        "run", "logged_model", "trace", "dataset", "unlinked dataset", "issue", "schema", "secret",
        "own secret", "definition", "own definition", "endpoint", "own endpoint", "scorer",
        "guardrail", "online scorer", "queue", "assessment", "webhook", "budget", "word", "job",
    )  # fmt: skip
    made: Values = {name: uuid.uuid4().hex for name in names}
    made["experiment"] = "987654"
    made["artifact"] = "workspaces/team-a/987654/x/artifacts/f.txt"
    return made


def fields(made: Values) -> Values:
    """The fields of requests that say which resource they are about."""
    experiment, run, model, trace = (
        made[kind] for kind in ("experiment", "run", "logged_model", "trace")
    )
    return {
        "experiment_id": experiment,
        "experiment_ids": [experiment],
        "experiment_name": made["word"],
        "run_id": run,
        "run_uuid": run,
        "run_ids": [run],
        "source_run_id": run,
        "model_id": model,
        "models": [{"model_id": model, "step": 0}],
        "name": made["word"],
        "trace_id": trace,
        "request_id": trace,
        "trace_ids": [trace],
        "request_ids": [trace],
        "item_id": trace,
        "item_ids": [trace],
        "assessment_id": made["assessment"],
        "locations": [
            {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": experiment}}
        ],
        "issue_id": made["issue"],
        "schema_id": made["schema"],
        "schema_ids": [made["schema"]],
        "queue_id": made["queue"],
        "dataset_id": made["dataset"],
        "scorer_id": made["scorer"],
        "scorer_ids": [made["online scorer"]],
        "secret_id": made["secret"],
        "model_definition_id": made["definition"],
        "model_configs": [
            {"model_definition_id": made["definition"], "linkage_type": "PRIMARY", "weight": 1}
        ],
        "model_config": {"model_definition_id": made["definition"], "linkage_type": "FALLBACK"},
        "endpoint_id": made["endpoint"],
        "action_endpoint_id": made["endpoint"],
        "guardrail_id": made["guardrail"],
        "budget_policy_id": made["budget"],
        "webhook_id": made["webhook"],
        "job_id": made["job"],
        "artifact_path": made["artifact"],
        "query": '{mlflowGetExperiment(input: {experimentId: "' + experiment + '"}) '
        "{experiment {name artifactLocation tags {key value}}}}",
        "prompt_versions": [{"name": made["word"], "version": "1"}],
        "metrics": [{"key": "k", "value": 1, "timestamp": 1, "step": 0, "model_id": model}],
        "trace": {
            "trace_info": {
                "trace_id": "tr-new",
                "trace_location": {
                    "type": "MLFLOW_EXPERIMENT",
                    "mlflow_experiment": {"experiment_id": experiment},
                },
                "request_time": "2026-01-01T00:00:00Z",
                "state": "OK",
            }
        },
    }


class Case(NamedTuple):
    """A request with ids of another workspace, and the same one with ids that do not exist."""

    foreign: Row
    unknown: Row


def cases(own: Values, foreign: Values, nowhere: Values) -> Iterator[Case]:
    """For each route: all ids of the other workspace, then each of them among own ids.

    Routes that name nothing are tried as well: they list what the workspace has.
    """
    base = next(variants({**own, "queue of a user": "", "role": 1, "permission": 1}))
    for route in sorted(compared(), key=_destroys):
        given = base | SPECIAL.get(route.path, {}) | fields(own)
        names_models = "/registered-models/" in route.path or "/model-versions/" in route.path
        named = fields(own)
        if not names_models or route.path.endswith("/registered-models/create"):
            named.pop("name")
            given["name"] = base["name"]
            given |= SPECIAL.get(route.path, {})
        usual = [name for name in named if _changes(route, given, name)]
        tried = [(usual, ()), *(([name], ()) for name in usual if len(usual) > 1)]
        optional = [name for name in _names(route) if name in named and name not in usual]
        tried += [([name], (name,)) for name in optional]
        for names, more in tried:
            yield Case(
                *(
                    row_of(route, given | {name: fields(made)[name] for name in names}, *more)
                    for made in (foreign, nowhere)
                )
            )


def _names(route: Route) -> list[str]:
    """The fields of a route that may name resources."""
    if route.raw:
        return []
    kind = Endpoint(route).request_type
    assert kind is not None, "only raw routes have no type"
    return [name for name in kind.__struct_fields__ if name in fields(unknown())]


def _changes(route: Route, given: Values, name: str) -> bool:
    """Whether the request of a route has the field even if it is optional."""
    other = json.loads(json.dumps(given[name]).replace('"', '"~', 1))
    return str(row_of(route, given | {name: other})) != str(row_of(route, given))


def _destroys(route: Route) -> bool:
    return route.method == "DELETE" or "delete" in route.path
