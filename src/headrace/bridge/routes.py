"""Every route of stock MLflow 3.17.2, whether headrace answers it itself or not.

Paths under /api are answered under /ajax-api as well. What headrace.routes has too is native; the
rest is bridged. A test compares this table with the URL map of the installed mlflow package.
`+jobs` marks what needs MLflow's job runners, which are too large to start for anything else.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from headrace.route import Route

_TABLE: Final = """
# the server and its page
GET /
GET /api/3.0/mlflow/server-info
GET POST /ajax-api/3.0/mlflow/ui-telemetry
GET /build/{filename:path}
GET POST /graphql
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
POST /ajax-api/2.0/mlflow/runs/create-promptlab-run
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
GET POST /api/2.0/mlflow/traces
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
DELETE GET PATCH /api/3.0/mlflow/traces/{trace_id}/assessments/{assessment_id}
DELETE PATCH /api/3.0/mlflow/traces/{trace_id}/tags
POST /v1/traces
# evaluation datasets
POST /api/3.0/mlflow/datasets/create
GET POST /api/3.0/mlflow/datasets/search
DELETE GET /api/3.0/mlflow/datasets/{dataset_id}
POST /api/3.0/mlflow/datasets/{dataset_id}/add-experiments
GET /api/3.0/mlflow/datasets/{dataset_id}/experiment-ids
DELETE GET POST /api/3.0/mlflow/datasets/{dataset_id}/records
POST /api/3.0/mlflow/datasets/{dataset_id}/remove-experiments
PATCH /api/3.0/mlflow/datasets/{dataset_id}/tags
DELETE /api/3.0/mlflow/datasets/{dataset_id}/tags/{key}
# scorers and evaluation
POST /ajax-api/3.0/mlflow/genai/evaluate/invoke +jobs
POST /ajax-api/3.0/mlflow/scorer/invoke +jobs
DELETE /api/3.0/mlflow/scorers/delete
GET /api/3.0/mlflow/scorers/get
GET /api/3.0/mlflow/scorers/list
PUT /api/3.0/mlflow/scorers/online-config
GET /api/3.0/mlflow/scorers/online-configs
POST /api/3.0/mlflow/scorers/register
GET /api/3.0/mlflow/scorers/versions
# issues
POST /api/3.0/mlflow/issues
POST /ajax-api/3.0/mlflow/issues/invoke +jobs
POST /api/3.0/mlflow/issues/search
GET PATCH /api/3.0/mlflow/issues/{issue_id}
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
POST /ajax-api/3.0/jobs/ +jobs
PATCH /ajax-api/3.0/jobs/cancel/{job_id}
POST /ajax-api/3.0/jobs/search
GET /ajax-api/3.0/jobs/{job_id}
PATCH /ajax-api/3.0/mlflow/jobs/cancel/{job_id}
GET /ajax-api/3.0/mlflow/jobs/{job_id}
POST /api/3.0/mlflow/prompt-optimization/jobs +jobs
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
POST /gateway/anthropic/v1/messages
POST /gateway/gemini/v1beta/models/{endpoint_name}:generateContent
POST /gateway/gemini/v1beta/models/{endpoint_name}:streamGenerateContent
POST /gateway/mlflow/v1/chat/completions
GET /gateway/mlflow/v1/models
POST /gateway/openai/v1/chat/completions
POST /gateway/openai/v1/embeddings
POST /gateway/openai/v1/responses
POST /gateway/openai/v1/responses/compact
POST /gateway/proxy/{endpoint_name}/{path:path}
POST /gateway/typesafe/v1/systemone
POST /gateway/{endpoint_name}/mlflow/invocations
# MCP servers
GET POST /api/3.0/mlflow/mcp-servers
GET /api/3.0/mlflow/mcp-servers/endpoints
DELETE GET PATCH /api/3.0/mlflow/mcp-servers/{name:path}
POST /api/3.0/mlflow/mcp-servers/{name:path}/aliases
DELETE GET /api/3.0/mlflow/mcp-servers/{name:path}/aliases/{alias:path}
GET POST /api/3.0/mlflow/mcp-servers/{name:path}/endpoints
DELETE GET PATCH /api/3.0/mlflow/mcp-servers/{name:path}/endpoints/{endpoint_id}
POST /api/3.0/mlflow/mcp-servers/{name:path}/tags
DELETE /api/3.0/mlflow/mcp-servers/{name:path}/tags/{key:path}
GET POST /api/3.0/mlflow/mcp-servers/{name:path}/versions
DELETE GET PATCH /api/3.0/mlflow/mcp-servers/{name:path}/versions/{version:path}
POST /api/3.0/mlflow/mcp-servers/{name:path}/versions/{version:path}/tags
DELETE /api/3.0/mlflow/mcp-servers/{name:path}/versions/{version:path}/tags/{key:path}
# assistant
GET PUT /ajax-api/3.0/mlflow/assistant/config
POST /ajax-api/3.0/mlflow/assistant/message
GET /ajax-api/3.0/mlflow/assistant/providers
GET /ajax-api/3.0/mlflow/assistant/providers/{provider}/health
GET /ajax-api/3.0/mlflow/assistant/providers/{provider}/models
PATCH /ajax-api/3.0/mlflow/assistant/sessions/{session_id}
POST /ajax-api/3.0/mlflow/assistant/sessions/{session_id}/permission
GET /ajax-api/3.0/mlflow/assistant/sessions/{session_id}/stream
POST /ajax-api/3.0/mlflow/assistant/sessions/{session_id}/tool-result
POST /ajax-api/3.0/mlflow/assistant/skills/install
# demo data
POST /ajax-api/3.0/mlflow/demo/delete
POST /ajax-api/3.0/mlflow/demo/generate
# workspaces
GET POST /api/3.0/mlflow/workspaces
DELETE GET PATCH /api/3.0/mlflow/workspaces/{workspace_name}
"""

JOBS_SEARCH: Final = "/ajax-api/3.0/jobs/search"  # asked before MLflow is stopped as idle
_ARGUMENT: Final = re.compile(r"\{[\w-]+(:path)?\}")


@dataclass(frozen=True, slots=True)
class Bridged:
    """What stock answers at a path: its methods, and those of them that need its job runners."""

    methods: frozenset[str]
    job_methods: frozenset[str]


class Table:
    """Finds what stock MLflow answers at a path (without static prefix). Takes 30 ms to make."""

    def __init__(self) -> None:
        self._fixed: dict[str, Bridged] = {}
        self._shaped: list[tuple[re.Pattern[str], Bridged]] = []
        for methods, path, needs_jobs in rows():
            row = Bridged(methods, methods if needs_jobs else frozenset())
            for spelling in spellings(path):
                if "{" in spelling:
                    self._shaped.append((re.compile(_pattern(spelling)), row))
                else:
                    self._fixed[spelling] = row

    def find(self, path: str) -> Bridged | None:
        """The row of a path, or None where stock answers 404; several that fit count as one."""
        fixed = self._fixed.get(path)
        fitting = [row for pattern, row in self._shaped if pattern.fullmatch(path)]
        if fixed is not None:
            fitting.append(fixed)
        if not fitting:
            return None
        return Bridged(
            frozenset().union(*(row.methods for row in fitting)),
            frozenset().union(*(row.job_methods for row in fitting)),
        )


def rows() -> Iterator[tuple[frozenset[str], str, bool]]:
    """Methods, path and whether it needs job runners, of each line of the table."""
    for line in _TABLE.splitlines():
        words = line.split()
        if not words or words[0] == "#":
            continue
        needs_jobs = words[-1] == "+jobs"
        *methods, path = words[:-1] if needs_jobs else words
        yield frozenset(methods), path, needs_jobs


def listing(native: Iterable[Route]) -> list[tuple[str, str, bool]]:
    """Method, path, and whether headrace answers it itself: stock's routes, then those it lacks."""
    ours = {
        (route.method, _shape(path)): route.path
        for route in native
        for path in spellings(route.path)
    }
    listed: dict[tuple[str, str], bool] = {}
    for methods, path, _ in rows():
        for method in sorted(methods):
            found = ours.get((method, _shape(path)))
            listed[method, found or path] = found is not None
    listed.update({(method, path): True for (method, _), path in ours.items()})
    return [(method, path, is_native) for (method, path), is_native in listed.items()]


def spellings(path: str) -> tuple[str, ...]:
    """A path under /api is answered under /ajax-api as well."""
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
