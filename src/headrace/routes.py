"""THE API on one page: method, path, handler, and what is bridged to stock MLflow.

Paths under /api are answered under /ajax-api as well. A handler's request type is read from its annotation
once, at import.
"""

from __future__ import annotations

from headrace.api.artifacts import handlers as artifacts
from headrace.api.artifacts import multipart
from headrace.api.assistant import handlers as assistant
from headrace.api.experiments import handlers as experiments
from headrace.api.logged_models import handlers as logged_models
from headrace.api.metrics import handlers as metrics
from headrace.api.model_versions import handlers as model_versions
from headrace.api.registered_models import handlers as registered_models
from headrace.api.runs import handlers as runs
from headrace.api.runs import inputs
from headrace.api.server import handlers as server
from headrace.api.webhooks import handlers as webhooks
from headrace.api.workspaces import handlers as workspaces
from headrace.graphql import handlers as graphql
from headrace.route import Raw, Route
from headrace.web import handlers as web

ROUTES: tuple[Route, ...] = (
    # the server
    Raw("GET", "/health", server.health),
    Raw("GET", "/version", server.version),
    Raw("GET", "/livez", server.livez),
    Raw("GET", "/readyz", server.readyz),
    Raw("GET", "/metrics", server.metrics),
    Raw("GET", "/openapi.json", web.openapi),
    Raw("GET", "/api/3.0/mlflow/server-info", server.server_info),
    Raw("GET", "/api/3.0/mlflow/workspaces", workspaces.refuse),
    Raw("POST", "/api/3.0/mlflow/workspaces", workspaces.refuse),
    Raw("GET", "/api/3.0/mlflow/workspaces/{workspace_name}", workspaces.refuse),
    Raw("PATCH", "/api/3.0/mlflow/workspaces/{workspace_name}", workspaces.refuse),
    Raw("DELETE", "/api/3.0/mlflow/workspaces/{workspace_name}", workspaces.refuse),
    # the web page
    Raw("GET", "/ajax-api/3.0/mlflow/ui-telemetry", server.ui_telemetry),
    Raw("POST", "/ajax-api/3.0/mlflow/ui-telemetry", server.drop_ui_telemetry),
    Raw("GET", "/", web.index),
    Raw("GET", "/static-files/{path:path}", web.static_file),
    Raw("GET", "/build/{path:path}", web.build_file),
    Raw("GET", "/headrace/api", web.api_listing),
    Raw("POST", "/graphql", graphql.execute),
    Raw("GET", "/ajax-api/3.0/mlflow/assistant/config", assistant.get_config),
    Raw("GET", "/ajax-api/3.0/mlflow/assistant/providers", assistant.get_providers),
    Raw("GET", "/ajax-api/2.0/mlflow/gateway-proxy", assistant.gateway_proxy),
    Raw("POST", "/ajax-api/2.0/mlflow/gateway-proxy", assistant.gateway_proxy),
    # experiments
    Route("POST", "/api/2.0/mlflow/experiments/create", experiments.create),
    Route("GET", "/api/2.0/mlflow/experiments/search", experiments.search_experiments),
    Route("POST", "/api/2.0/mlflow/experiments/search", experiments.search_experiments),
    Route("GET", "/api/2.0/mlflow/experiments/get", experiments.get),
    Route("GET", "/api/2.0/mlflow/experiments/get-by-name", experiments.get_by_name),
    Route("POST", "/api/2.0/mlflow/experiments/update", experiments.update),
    Route("POST", "/api/2.0/mlflow/experiments/delete", experiments.delete),
    Route("POST", "/api/2.0/mlflow/experiments/restore", experiments.restore),
    Route("POST", "/api/2.0/mlflow/experiments/set-experiment-tag", experiments.set_tag),
    Route("POST", "/api/2.0/mlflow/experiments/delete-experiment-tag", experiments.delete_tag),
    Route("POST", "/ajax-api/2.0/mlflow/experiments/search-datasets", inputs.search_datasets),
    # runs
    Route("POST", "/api/2.0/mlflow/runs/create", runs.create),
    Route("GET", "/api/2.0/mlflow/runs/get", runs.get),
    Route("POST", "/api/2.0/mlflow/runs/search", runs.search_runs),
    Route("POST", "/api/2.0/mlflow/runs/update", runs.update),
    Route("POST", "/api/2.0/mlflow/runs/delete", runs.delete),
    Route("POST", "/api/2.0/mlflow/runs/restore", runs.restore),
    Route("POST", "/api/2.0/mlflow/runs/log-batch", runs.log_batch),
    Route("POST", "/api/2.0/mlflow/runs/log-metric", runs.log_metric),
    Route("POST", "/api/2.0/mlflow/runs/log-parameter", runs.log_param),
    Route("POST", "/api/2.0/mlflow/runs/set-tag", runs.set_tag),
    Route("POST", "/api/2.0/mlflow/runs/delete-tag", runs.delete_tag),
    Route("POST", "/api/2.0/mlflow/runs/log-inputs", inputs.log_inputs),
    Route("POST", "/api/2.0/mlflow/runs/outputs", inputs.log_outputs),
    Route("POST", "/api/2.0/mlflow/runs/log-model", inputs.log_model),
    # metric histories
    Route("GET", "/api/2.0/mlflow/metrics/get-history", metrics.get_history),
    Route("GET", "/ajax-api/2.0/mlflow/metrics/get-history-bulk", metrics.get_history_bulk),
    Route("GET", "/api/2.0/mlflow/metrics/get-history-bulk-interval", metrics.get_history_interval),
    # logged models; {-}: the id in the path is not read, the body's counts
    Route("POST", "/api/2.0/mlflow/logged-models", logged_models.create),
    Route("POST", "/api/2.0/mlflow/logged-models/search", logged_models.search_models),
    Route("GET", "/api/2.0/mlflow/logged-models/{model_id}", logged_models.get),
    Route("PATCH", "/api/2.0/mlflow/logged-models/{-}", logged_models.finalize),
    Route("DELETE", "/api/2.0/mlflow/logged-models/{model_id}", logged_models.delete),
    Route("POST", "/api/2.0/mlflow/logged-models/{model_id}/params", logged_models.log_params),
    Route("PATCH", "/api/2.0/mlflow/logged-models/{model_id}/tags", logged_models.set_tags),
    Route(
        "DELETE",
        "/api/2.0/mlflow/logged-models/{model_id}/tags/{tag_key}",
        logged_models.delete_tag,
    ),
    # registered models
    Route("POST", "/api/2.0/mlflow/registered-models/create", registered_models.create),
    Route("POST", "/api/2.0/mlflow/registered-models/rename", registered_models.rename),
    Route("PATCH", "/api/2.0/mlflow/registered-models/update", registered_models.update),
    Route("DELETE", "/api/2.0/mlflow/registered-models/delete", registered_models.delete),
    Route("GET", "/api/2.0/mlflow/registered-models/get", registered_models.get),
    Route("GET", "/api/2.0/mlflow/registered-models/search", registered_models.search_models),
    Route(
        "GET",
        "/api/2.0/mlflow/registered-models/get-latest-versions",
        registered_models.get_latest_versions,
    ),
    Route(
        "POST",
        "/api/2.0/mlflow/registered-models/get-latest-versions",
        registered_models.get_latest_versions,
    ),
    Route("POST", "/api/2.0/mlflow/registered-models/set-tag", registered_models.set_tag),
    Route("DELETE", "/api/2.0/mlflow/registered-models/delete-tag", registered_models.delete_tag),
    Route("POST", "/api/2.0/mlflow/registered-models/alias", registered_models.set_alias),
    Route("DELETE", "/api/2.0/mlflow/registered-models/alias", registered_models.delete_alias),
    Route("GET", "/api/2.0/mlflow/registered-models/alias", registered_models.get_by_alias),
    # model versions
    Route("POST", "/api/2.0/mlflow/model-versions/create", model_versions.create),
    Route("PATCH", "/api/2.0/mlflow/model-versions/update", model_versions.update),
    Route(
        "POST", "/api/2.0/mlflow/model-versions/transition-stage", model_versions.transition_stage
    ),
    Route("DELETE", "/api/2.0/mlflow/model-versions/delete", model_versions.delete),
    Route("GET", "/api/2.0/mlflow/model-versions/get", model_versions.get),
    Route("GET", "/api/2.0/mlflow/model-versions/search", model_versions.search_versions),
    Route(
        "GET", "/api/2.0/mlflow/model-versions/get-download-uri", model_versions.get_download_uri
    ),
    Route("POST", "/api/2.0/mlflow/model-versions/set-tag", model_versions.set_tag),
    Route("DELETE", "/api/2.0/mlflow/model-versions/delete-tag", model_versions.delete_tag),
    # webhooks
    Route("POST", "/api/2.0/mlflow/webhooks", webhooks.create),
    Route("GET", "/api/2.0/mlflow/webhooks", webhooks.list_webhooks),
    Route("GET", "/api/2.0/mlflow/webhooks/{webhook_id}", webhooks.get),
    Route("PATCH", "/api/2.0/mlflow/webhooks/{webhook_id}", webhooks.update),
    Route("DELETE", "/api/2.0/mlflow/webhooks/{webhook_id}", webhooks.delete),
    Route("POST", "/api/2.0/mlflow/webhooks/{webhook_id}/test", webhooks.test),
    # artifacts of runs, model versions and logged models
    Route("GET", "/api/2.0/mlflow/artifacts/list", artifacts.list_artifacts),
    Raw("GET", "/get-artifact", artifacts.get_artifact),
    Raw("GET", "/model-versions/get-artifact", artifacts.get_model_version_artifact),
    Raw("POST", "/ajax-api/2.0/mlflow/upload-artifact", artifacts.upload_artifact),
    Route(
        "GET",
        "/api/2.0/mlflow/logged-models/{model_id}/artifacts/directories",
        artifacts.list_model_artifacts,
    ),
    Raw(
        "GET",
        "/ajax-api/2.0/mlflow/logged-models/{model_id}/artifacts/files",
        artifacts.get_model_artifact,
    ),
    Route("POST", "/api/2.0/mlflow/artifacts/presigned-upload-url", multipart.presign_upload),
    Route("POST", "/api/2.0/mlflow/artifacts/presigned-download-url", multipart.presign_download),
    # the artifact store
    Route("GET", "/api/2.0/mlflow-artifacts/artifacts", artifacts.list_files),
    Raw("GET", "/api/2.0/mlflow-artifacts/artifacts/", artifacts.download),
    Raw("PUT", "/api/2.0/mlflow-artifacts/artifacts/", artifacts.upload),
    Raw("GET", "/api/2.0/mlflow-artifacts/artifacts/{artifact_path:path}", artifacts.download),
    Raw("HEAD", "/api/2.0/mlflow-artifacts/artifacts/{artifact_path:path}", artifacts.head),
    Raw("PUT", "/api/2.0/mlflow-artifacts/artifacts/{artifact_path:path}", artifacts.upload),
    Raw("DELETE", "/api/2.0/mlflow-artifacts/artifacts/{artifact_path:path}", artifacts.delete),
    Route("POST", "/api/2.0/mlflow-artifacts/mpu/create/{artifact_path:path}", multipart.create),
    Route(
        "POST", "/api/2.0/mlflow-artifacts/mpu/complete/{artifact_path:path}", multipart.complete
    ),
    Route("POST", "/api/2.0/mlflow-artifacts/mpu/abort/{artifact_path:path}", multipart.abort),
    Raw("GET", "/api/2.0/mlflow-artifacts/presigned/{artifact_path:path}", multipart.presigned),
)
