"""Every route of stock MLflow 3.17.2, native or bridged, and those that 3.18 added (`since=3.18`).

Paths under /api are also served under /ajax-api. Routes that headrace.api.routes contains are
native; the others are bridged and name their rule (bridge/rules.py), as in headrace.api.routes. A
test compares this table with the URL map of the installed mlflow package. `+jobs` marks routes that
need MLflow's job runners, which are too large to start for the others.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from headrace.bridge.rules import RULES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from headrace.api.route import Route
    from headrace.auth.rules import Rule

_TABLE: Final = """
# the server and its page
GET /
GET /api/3.0/mlflow/server-info
GET POST /ajax-api/3.0/mlflow/ui-telemetry
GET /build/{filename:path}
GET /graphql
POST /graphql
GET /health
GET /static-files/{path:path}
GET /version
# experiments
POST /api/2.0/mlflow/experiments/create
POST /api/2.0/mlflow/experiments/delete
POST /api/2.0/mlflow/experiments/delete-experiment-tag
GET /api/2.0/mlflow/experiments/get
GET /api/2.0/mlflow/experiments/get-by-name
POST /api/2.0/mlflow/experiments/restore
GET POST /api/2.0/mlflow/experiments/search
POST /ajax-api/2.0/mlflow/experiments/search-datasets
POST /api/2.0/mlflow/experiments/set-experiment-tag
POST /api/2.0/mlflow/experiments/update
POST /api/2.0mlflow/experiments/search-datasets
# runs
POST /api/2.0/mlflow/runs/create
POST /ajax-api/2.0/mlflow/runs/create-promptlab-run run.create
POST /api/2.0/mlflow/runs/delete
POST /api/2.0/mlflow/runs/delete-tag
GET /api/2.0/mlflow/runs/get
POST /api/2.0/mlflow/runs/log-batch
POST /api/2.0/mlflow/runs/log-inputs
POST /api/2.0/mlflow/runs/log-metric
POST /api/2.0/mlflow/runs/log-model
POST /api/2.0/mlflow/runs/log-parameter
POST /api/2.0/mlflow/runs/outputs
POST /api/2.0/mlflow/runs/restore
POST /api/2.0/mlflow/runs/search
POST /api/2.0/mlflow/runs/set-tag
POST /api/2.0/mlflow/runs/update
# metric histories
GET /api/2.0/mlflow/metrics/get-history
GET /ajax-api/2.0/mlflow/metrics/get-history-bulk
GET /api/2.0/mlflow/metrics/get-history-bulk-interval
# artifacts
GET /api/2.0/mlflow-artifacts/artifacts
DELETE GET PUT /api/2.0/mlflow-artifacts/artifacts/{artifact_path:path}
POST /api/2.0/mlflow-artifacts/mpu/abort/{artifact_path:path}
POST /api/2.0/mlflow-artifacts/mpu/complete/{artifact_path:path}
POST /api/2.0/mlflow-artifacts/mpu/create/{artifact_path:path}
GET /api/2.0/mlflow-artifacts/presigned/{artifact_path:path}
GET /api/2.0/mlflow/artifacts/list
POST /api/2.0/mlflow/artifacts/presigned-download-url
POST /api/2.0/mlflow/artifacts/presigned-upload-url
POST /ajax-api/2.0/mlflow/upload-artifact
GET /get-artifact
GET /model-versions/get-artifact
# logged models
POST /api/2.0/mlflow/logged-models
POST /api/2.0/mlflow/logged-models/search
DELETE GET PATCH /api/2.0/mlflow/logged-models/{model_id}
GET /api/2.0/mlflow/logged-models/{model_id}/artifacts/directories
GET /ajax-api/2.0/mlflow/logged-models/{model_id}/artifacts/files
POST /api/2.0/mlflow/logged-models/{model_id}/params
PATCH /api/2.0/mlflow/logged-models/{model_id}/tags
DELETE /api/2.0/mlflow/logged-models/{model_id}/tags/{tag_key}
# model registry
POST /api/2.0/mlflow/model-versions/create
DELETE /api/2.0/mlflow/model-versions/delete
DELETE /api/2.0/mlflow/model-versions/delete-tag
GET /api/2.0/mlflow/model-versions/get
GET /api/2.0/mlflow/model-versions/get-download-uri
GET /api/2.0/mlflow/model-versions/search
POST /api/2.0/mlflow/model-versions/set-tag
POST /api/2.0/mlflow/model-versions/transition-stage
PATCH /api/2.0/mlflow/model-versions/update
DELETE GET POST /api/2.0/mlflow/registered-models/alias
POST /api/2.0/mlflow/registered-models/create
DELETE /api/2.0/mlflow/registered-models/delete
DELETE /api/2.0/mlflow/registered-models/delete-tag
GET /api/2.0/mlflow/registered-models/get
GET POST /api/2.0/mlflow/registered-models/get-latest-versions
POST /api/2.0/mlflow/registered-models/rename
GET /api/2.0/mlflow/registered-models/search
POST /api/2.0/mlflow/registered-models/set-tag
PATCH /api/2.0/mlflow/registered-models/update
# webhooks
GET POST /api/2.0/mlflow/webhooks
DELETE GET PATCH /api/2.0/mlflow/webhooks/{webhook_id}
POST /api/2.0/mlflow/webhooks/{webhook_id}/test
# traces and assessments
GET /api/2.0/mlflow/get-online-trace-details
GET /ajax-api/2.0/mlflow/get-trace-artifact
GET /api/2.0/mlflow/traces
POST /api/2.0/mlflow/traces
POST /api/2.0/mlflow/traces/delete-traces
POST /api/2.0/mlflow/traces/link-prompts
POST /api/2.0/mlflow/traces/link-to-run
PATCH /api/2.0/mlflow/traces/{request_id}
GET /api/2.0/mlflow/traces/{request_id}/info
DELETE PATCH /api/2.0/mlflow/traces/{request_id}/tags
GET /api/2.0/mlflow/unified-traces
GET /ajax-api/3.0/mlflow/get-trace-artifact
POST /api/3.0/mlflow/traces
GET /api/3.0/mlflow/traces/batchGet
POST /api/3.0/mlflow/traces/batchGetInfos
POST /api/3.0/mlflow/traces/calculate-filter-correlation
POST /api/3.0/mlflow/traces/delete-traces
GET /api/3.0/mlflow/traces/get
POST /api/3.0/mlflow/traces/metrics
POST /api/3.0/mlflow/traces/search
GET /api/3.0/mlflow/traces/{trace_id}
POST /api/3.0/mlflow/traces/{trace_id}/assessments
DELETE /api/3.0/mlflow/traces/{trace_id}/assessments/{assessment_id}
GET /api/3.0/mlflow/traces/{trace_id}/assessments/{assessment_id}
PATCH /api/3.0/mlflow/traces/{trace_id}/assessments/{assessment_id}
DELETE PATCH /api/3.0/mlflow/traces/{trace_id}/tags
POST /v1/traces
# evaluation datasets
POST /api/3.0/mlflow/datasets/create
GET POST /api/3.0/mlflow/datasets/search
DELETE /api/3.0/mlflow/datasets/{dataset_id}
GET /api/3.0/mlflow/datasets/{dataset_id}
POST /api/3.0/mlflow/datasets/{dataset_id}/add-experiments
GET /api/3.0/mlflow/datasets/{dataset_id}/experiment-ids
DELETE POST /api/3.0/mlflow/datasets/{dataset_id}/records
GET /api/3.0/mlflow/datasets/{dataset_id}/records
POST /api/3.0/mlflow/datasets/{dataset_id}/remove-experiments
PATCH /api/3.0/mlflow/datasets/{dataset_id}/tags
DELETE /api/3.0/mlflow/datasets/{dataset_id}/tags/{key}
# scorers and evaluation
POST /ajax-api/3.0/mlflow/genai/evaluate/invoke trace.start +jobs
POST /ajax-api/3.0/mlflow/scorer/invoke trace.start +jobs
DELETE /api/3.0/mlflow/scorers/delete
GET /api/3.0/mlflow/scorers/get
GET /api/3.0/mlflow/scorers/list
PUT /api/3.0/mlflow/scorers/online-config
GET /api/3.0/mlflow/scorers/online-configs
POST /api/3.0/mlflow/scorers/register
GET /api/3.0/mlflow/scorers/versions
# issues
POST /api/3.0/mlflow/issues
POST /ajax-api/3.0/mlflow/issues/invoke issues.detect +jobs
POST /api/3.0/mlflow/issues/search
POST /ajax-api/3.0/mlflow/issues/schedule/state anyone since=3.18
GET /api/3.0/mlflow/issues/{issue_id}
PATCH /api/3.0/mlflow/issues/{issue_id}
# label schemas and review queues
POST /api/3.0/mlflow/label-schemas/create
DELETE /api/3.0/mlflow/label-schemas/delete
GET /api/3.0/mlflow/label-schemas/get
GET /api/3.0/mlflow/label-schemas/get-by-name
GET /api/3.0/mlflow/label-schemas/list
PATCH /api/3.0/mlflow/label-schemas/update
POST /api/3.0/mlflow/review-queues/create
POST /api/3.0/mlflow/review-queues/delete
GET /api/3.0/mlflow/review-queues/get
GET /api/3.0/mlflow/review-queues/get-by-name
POST /api/3.0/mlflow/review-queues/get-or-create-user
POST /api/3.0/mlflow/review-queues/items/add
GET /api/3.0/mlflow/review-queues/items/list
POST /api/3.0/mlflow/review-queues/items/remove
POST /api/3.0/mlflow/review-queues/items/set-status
GET /api/3.0/mlflow/review-queues/list
POST /api/3.0/mlflow/review-queues/update
# jobs
POST /ajax-api/3.0/jobs/ anyone +jobs
PATCH /ajax-api/3.0/jobs/cancel/{job_id}
POST /ajax-api/3.0/jobs/search
GET /ajax-api/3.0/jobs/{job_id}
PATCH /ajax-api/3.0/mlflow/jobs/cancel/{job_id}
GET /ajax-api/3.0/mlflow/jobs/{job_id}
POST /api/3.0/mlflow/prompt-optimization/jobs job.optimize +jobs
GET POST /api/3.0/mlflow/prompt-optimization/jobs/search
DELETE GET /api/3.0/mlflow/prompt-optimization/jobs/{job_id}
POST /api/3.0/mlflow/prompt-optimization/jobs/{job_id}/cancel
# AI gateway
GET POST /ajax-api/2.0/mlflow/gateway-proxy
POST /api/3.0/mlflow/gateway/budgets/create
DELETE /api/3.0/mlflow/gateway/budgets/delete
GET /api/3.0/mlflow/gateway/budgets/get
GET /api/3.0/mlflow/gateway/budgets/list
POST /api/3.0/mlflow/gateway/budgets/update
GET /api/3.0/mlflow/gateway/budgets/windows
POST /api/3.0/mlflow/gateway/endpoints/bindings/create
DELETE /api/3.0/mlflow/gateway/endpoints/bindings/delete
GET /api/3.0/mlflow/gateway/endpoints/bindings/list
POST /api/3.0/mlflow/gateway/endpoints/create
DELETE /api/3.0/mlflow/gateway/endpoints/delete
DELETE /api/3.0/mlflow/gateway/endpoints/delete-tag
GET /api/3.0/mlflow/gateway/endpoints/get
GET /api/3.0/mlflow/gateway/endpoints/list
POST /api/3.0/mlflow/gateway/endpoints/models/attach
POST /api/3.0/mlflow/gateway/endpoints/models/detach
POST /api/3.0/mlflow/gateway/endpoints/set-tag
POST /api/3.0/mlflow/gateway/endpoints/update
POST /api/3.0/mlflow/gateway/guardrails/add-to-endpoint
POST /api/3.0/mlflow/gateway/guardrails/create
DELETE /api/3.0/mlflow/gateway/guardrails/delete
GET /api/3.0/mlflow/gateway/guardrails/get
GET /api/3.0/mlflow/gateway/guardrails/list
GET /api/3.0/mlflow/gateway/guardrails/list-for-endpoint
DELETE /api/3.0/mlflow/gateway/guardrails/remove-from-endpoint
PATCH /api/3.0/mlflow/gateway/guardrails/update-config
POST /api/3.0/mlflow/gateway/model-definitions/create
DELETE /api/3.0/mlflow/gateway/model-definitions/delete
GET /api/3.0/mlflow/gateway/model-definitions/get
GET /api/3.0/mlflow/gateway/model-definitions/list
POST /api/3.0/mlflow/gateway/model-definitions/update
GET /ajax-api/3.0/mlflow/gateway/provider-config
GET /ajax-api/3.0/mlflow/gateway/secrets/config
POST /api/3.0/mlflow/gateway/secrets/create
DELETE /api/3.0/mlflow/gateway/secrets/delete
GET /api/3.0/mlflow/gateway/secrets/get
GET /api/3.0/mlflow/gateway/secrets/list
POST /api/3.0/mlflow/gateway/secrets/update
GET /ajax-api/3.0/mlflow/gateway/supported-models
GET /ajax-api/3.0/mlflow/gateway/supported-providers
POST /gateway/anthropic/v1/messages endpoint.use
POST /gateway/gemini/v1beta/models/{endpoint_name}:generateContent endpoint.use
POST /gateway/gemini/v1beta/models/{endpoint_name}:streamGenerateContent endpoint.use
POST /gateway/mlflow/v1/chat/completions endpoint.use
GET /gateway/mlflow/v1/models endpoints.list
POST /gateway/openai/v1/chat/completions endpoint.use
POST /gateway/openai/v1/embeddings endpoint.use
POST /gateway/openai/v1/responses endpoint.use
POST /gateway/openai/v1/responses/compact endpoint.use
POST /gateway/proxy/{endpoint_name}/{path:path} endpoint.use
POST /gateway/typesafe/v1/systemone endpoint.use
POST /gateway/{endpoint_name}/mlflow/invocations endpoint.use
# MCP servers
GET /api/3.0/mlflow/mcp-servers mcps.list
POST /api/3.0/mlflow/mcp-servers mcp.create
GET /api/3.0/mlflow/mcp-servers/endpoints mcps.list
DELETE /api/3.0/mlflow/mcp-servers/{name:path} mcp.delete
GET /api/3.0/mlflow/mcp-servers/{name:path} mcp.read
PATCH /api/3.0/mlflow/mcp-servers/{name:path} mcp.update
POST /api/3.0/mlflow/mcp-servers/{name:path}/aliases mcp.update
DELETE /api/3.0/mlflow/mcp-servers/{name:path}/aliases/{alias:path} mcp.delete
GET /api/3.0/mlflow/mcp-servers/{name:path}/aliases/{alias:path} mcp.read
GET /api/3.0/mlflow/mcp-servers/{name:path}/endpoints mcp.read
POST /api/3.0/mlflow/mcp-servers/{name:path}/endpoints mcp.update
DELETE /api/3.0/mlflow/mcp-servers/{name:path}/endpoints/{endpoint_id} mcp.delete
GET /api/3.0/mlflow/mcp-servers/{name:path}/endpoints/{endpoint_id} mcp.read
PATCH /api/3.0/mlflow/mcp-servers/{name:path}/endpoints/{endpoint_id} mcp.update
POST /api/3.0/mlflow/mcp-servers/{name:path}/tags mcp.update
DELETE /api/3.0/mlflow/mcp-servers/{name:path}/tags/{key:path} mcp.delete
GET /api/3.0/mlflow/mcp-servers/{name:path}/versions mcp-version.read
POST /api/3.0/mlflow/mcp-servers/{name:path}/versions mcp-version.update
DELETE /api/3.0/mlflow/mcp-servers/{name:path}/versions/{version:path} mcp-version.delete
GET /api/3.0/mlflow/mcp-servers/{name:path}/versions/{version:path} mcp-version.read
PATCH /api/3.0/mlflow/mcp-servers/{name:path}/versions/{version:path} mcp-version.update
POST /api/3.0/mlflow/mcp-servers/{name:path}/versions/{version:path}/tags mcp-version.update
DELETE /api/3.0/mlflow/mcp-servers/{name:path}/versions/{version:path}/tags/{key:path} mcp-version.delete
# skills
GET POST /api/3.0/mlflow/skills anyone since=3.18
POST /api/3.0/mlflow/skills/bulk-register anyone since=3.18
DELETE GET PATCH /api/3.0/mlflow/skills/{name} anyone since=3.18
POST /api/3.0/mlflow/skills/{name}/aliases anyone since=3.18
DELETE GET /api/3.0/mlflow/skills/{name}/aliases/{alias} anyone since=3.18
POST /api/3.0/mlflow/skills/{name}/tags anyone since=3.18
DELETE /api/3.0/mlflow/skills/{name}/tags/{key:path} anyone since=3.18
GET POST /api/3.0/mlflow/skills/{name}/versions anyone since=3.18
DELETE GET PATCH /api/3.0/mlflow/skills/{name}/versions/{version} anyone since=3.18
POST /api/3.0/mlflow/skills/{name}/versions/{version}/tags anyone since=3.18
DELETE /api/3.0/mlflow/skills/{name}/versions/{version}/tags/{key:path} anyone since=3.18
DELETE GET PATCH /api/3.0/mlflow/skills/@{organization}/{name} anyone since=3.18
POST /api/3.0/mlflow/skills/@{organization}/{name}/aliases anyone since=3.18
DELETE GET /api/3.0/mlflow/skills/@{organization}/{name}/aliases/{alias} anyone since=3.18
POST /api/3.0/mlflow/skills/@{organization}/{name}/tags anyone since=3.18
DELETE /api/3.0/mlflow/skills/@{organization}/{name}/tags/{key:path} anyone since=3.18
GET POST /api/3.0/mlflow/skills/@{organization}/{name}/versions anyone since=3.18
DELETE GET PATCH /api/3.0/mlflow/skills/@{organization}/{name}/versions/{version} anyone since=3.18
POST /api/3.0/mlflow/skills/@{organization}/{name}/versions/{version}/tags anyone since=3.18
DELETE /api/3.0/mlflow/skills/@{organization}/{name}/versions/{version}/tags/{key:path} anyone since=3.18
# assistant
GET /ajax-api/3.0/mlflow/assistant/config
PUT /ajax-api/3.0/mlflow/assistant/config anyone
POST /ajax-api/3.0/mlflow/assistant/message anyone
GET /ajax-api/3.0/mlflow/assistant/providers
GET /ajax-api/3.0/mlflow/assistant/providers/{provider}/health anyone
GET /ajax-api/3.0/mlflow/assistant/providers/{provider}/models anyone
PATCH /ajax-api/3.0/mlflow/assistant/sessions/{session_id} anyone
POST /ajax-api/3.0/mlflow/assistant/sessions/{session_id}/permission anyone
GET /ajax-api/3.0/mlflow/assistant/sessions/{session_id}/stream anyone
POST /ajax-api/3.0/mlflow/assistant/sessions/{session_id}/tool-result anyone
POST /ajax-api/3.0/mlflow/assistant/skills/install anyone
# demo data
POST /ajax-api/3.0/mlflow/demo/delete admin
POST /ajax-api/3.0/mlflow/demo/generate anyone
# workspaces
GET POST /api/3.0/mlflow/workspaces
DELETE GET PATCH /api/3.0/mlflow/workspaces/{workspace_name}
"""

JOBS_SEARCH: Final = "/ajax-api/3.0/jobs/search"  # finds jobs that keep an idle MLflow running
_ARGUMENT: Final = re.compile(r"\{[\w-]+(:path)?\}")


@dataclass(frozen=True, slots=True)
class Bridged:
    """The routes at a path: methods, those that need job runners, rules of the bridged ones.

    `paths` are those of the table's rows, by method.
    """

    methods: frozenset[str]
    paths: Mapping[str, str]
    job_methods: frozenset[str]
    rules: Mapping[str, Rule]
    since: Mapping[str, str]  # the first release that has the route, for routes of later releases

    def serves(self, method: str, release: str) -> bool:
        """Whether a release of MLflow has the route."""
        return method in self.methods and is_since(release, self.since.get(method, ""))


def is_since(release: str, since: str) -> bool:
    """Whether a release is this one or later. `since` may be empty: every release is."""
    if not since:
        return True
    found = re.match(r"(\d+)\.(\d+)", release)
    return found is not None and (int(found[1]), int(found[2])) >= tuple(map(int, since.split(".")))


class Table:
    """Finds stock MLflow's routes at a path (without static prefix). Creating it takes 30 ms."""

    def __init__(self) -> None:
        self._fixed: dict[str, list[Bridged]] = {}
        self._shaped: list[tuple[re.Pattern[str], Bridged]] = []
        for line in rows():
            jobs = line.methods if line.needs_jobs else frozenset()
            rules = dict.fromkeys(line.methods, line.rule) if line.rule is not None else {}
            paths = dict.fromkeys(line.methods, line.path)
            since = dict.fromkeys(line.methods, line.since) if line.since else {}
            row = Bridged(line.methods, paths, jobs, rules, since)
            for spelling in spellings(line.path):
                if "{" in spelling:
                    self._shaped.append((re.compile(_pattern(spelling)), row))
                else:
                    self._fixed.setdefault(spelling, []).append(row)

    def find(self, path: str) -> Bridged | None:
        """The row of a path, merged from all matching ones; None when stock answers 404."""
        fitting = [row for pattern, row in self._shaped if pattern.fullmatch(path)]
        fitting += self._fixed.get(path, [])
        if not fitting:
            return None
        return Bridged(
            frozenset().union(*(row.methods for row in fitting)),
            {method: path for row in fitting for method, path in row.paths.items()},
            frozenset().union(*(row.job_methods for row in fitting)),
            {method: rule for row in fitting for method, rule in row.rules.items()},
            {method: since for row in fitting for method, since in row.since.items()},
        )


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the table; lines of native routes have no rule."""

    methods: frozenset[str]
    path: str
    rule: Rule | None
    needs_jobs: bool
    since: str = ""


def rows() -> Iterator[Line]:
    """The lines of the table. Raises KeyError for an unknown rule."""
    for line in _TABLE.splitlines():
        words = line.split()
        if not words or words[0] == "#":
            continue
        since = words.pop().partition("=")[2] if words[-1].startswith("since=") else ""
        needs_jobs = words[-1] == "+jobs"
        if needs_jobs:
            words.pop()
        rule = None if words[-1].startswith("/") else RULES[words.pop()]
        *methods, path = words
        yield Line(frozenset(methods), path, rule, needs_jobs, since)


def listing(native: Iterable[Route], release: str = "3.17") -> list[tuple[str, str, bool]]:
    """Method, path, and whether the route is native: stock's routes, then those only headrace has.

    Stock's routes are those of a release of MLflow.
    """
    ours = {
        (route.method, _shape(path)): route.path
        for route in native
        for path in spellings(route.path)
    }
    listed: dict[tuple[str, str], bool] = {}
    for line in rows():
        if not is_since(release, line.since):
            continue
        for method in sorted(line.methods):
            found = ours.get((method, _shape(line.path)))
            listed[method, found or line.path] = found is not None
    listed.update({(method, path): True for (method, _), path in ours.items()})
    return [(method, path, is_native) for (method, path), is_native in listed.items()]


def spellings(path: str) -> tuple[str, ...]:
    """The paths of a route: those under /api are also served under /ajax-api."""
    if path.startswith("/api/"):
        return path, "/ajax-api/" + path.removeprefix("/api/")
    return (path,)


def _shape(path: str) -> str:
    return _ARGUMENT.sub("{}", path)


def _pattern(path: str) -> str:
    parts = []
    end = 0
    for argument in _ARGUMENT.finditer(path):
        parts.append(re.escape(path[end : argument.start()]))
        parts.append(".+" if argument.group(1) else "[^/]+")
        end = argument.end()
    return "".join([*parts, re.escape(path[end:])])
