"""The route table: method, path, handler, and the rule that defines who may call it.

Paths under /api are also answered under /ajax-api. The request type of a handler is read from its
annotation once, at import.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.api.accounts import judges
from headrace.api.accounts.grants import handlers as user_grants
from headrace.api.accounts.roles import handlers as roles
from headrace.api.accounts.users import handlers as users
from headrace.api.evaluation.datasets import handlers as evaluation_datasets
from headrace.api.evaluation.issues import handlers as issues
from headrace.api.evaluation.issues import rules as issues_rules
from headrace.api.evaluation.label_schemas import handlers as label_schemas
from headrace.api.evaluation.review_queues import handlers as review_queues
from headrace.api.evaluation.review_queues import rules as queues_rules
from headrace.api.evaluation.scorers import handlers as scorers
from headrace.api.evaluation.scorers import rules as scorers_rules
from headrace.api.gateway_routes import GATEWAY_ROUTES
from headrace.api.registry.models import handlers as registered_models
from headrace.api.registry.models import rules as models_rules
from headrace.api.registry.versions import handlers as model_versions
from headrace.api.registry.versions import rules as versions_rules
from headrace.api.registry.webhooks import handlers as webhooks
from headrace.api.route import ByQuery, FastApi, Partial, Raw, Route
from headrace.api.server.assistant import handlers as assistant
from headrace.api.server.info import handlers as info
from headrace.api.server.workspaces import handlers as workspaces
from headrace.api.traces import rules as traces_rules
from headrace.api.traces.assessments import handlers as assessments
from headrace.api.traces.assessments import reads as assessment_reads
from headrace.api.traces.metrics import handlers as trace_metrics
from headrace.api.traces.traces import handlers as traces
from headrace.api.traces.traces import reads as trace_reads
from headrace.api.traces.traces import searches as trace_searches
from headrace.api.traces.traces import whole as whole_traces
from headrace.api.tracking.artifacts import handlers as artifacts
from headrace.api.tracking.artifacts import multipart
from headrace.api.tracking.artifacts import rules as artifact_rules
from headrace.api.tracking.experiments import handlers as experiments
from headrace.api.tracking.jobs import handlers as jobs
from headrace.api.tracking.jobs import optimizations
from headrace.api.tracking.logged_models import handlers as logged_models
from headrace.api.tracking.logged_models import rules as logged_models_rules
from headrace.api.tracking.metrics import handlers as metrics
from headrace.api.tracking.runs import handlers as runs
from headrace.api.tracking.runs import inputs
from headrace.artifacts import handlers as files
from headrace.artifacts import traces as trace_files
from headrace.auth.review_rules import OPENS_NAMED_QUEUE, review_queue, scorer, scorer_version
from headrace.auth.rules import (
    ADMIN,
    ANYONE,
    METRICS,
    OPEN,
    RUN,
    UNRULED,
    Judged,
    Need,
    artifact,
    assessment,
    create,
    dataset,
    every,
    experiment,
    job,
    logged_model,
    model,
    needs,
    part_of_experiment,
    required,
    run,
    scoped,
    trace,
    undenied,
    undenied_name,
    version,
    versions_undenied,
)
from headrace.contract.limits import MAX_GRAPHQL_BYTES, MAX_JOB_SEARCH_BYTES
from headrace.graphql import handlers as graphql
from headrace.ingest import handlers as ingest
from headrace.monitor import probes
from headrace.web import handlers as web
from headrace.web import login, signup

if TYPE_CHECKING:
    from headrace.settings.table import Settings

# Deleting or restoring an experiment also deletes or restores everything in it.
EXPERIMENT_WITH_CONTENTS = needs(
    experiment("delete"),
    every("run", "delete", "experiment", "experiment_id"),
    every("trace", "delete", "experiment", "experiment_id"),
    every("logged_model", "delete", "experiment", "experiment_id"),
    every("assessment", "delete", "experiment", "experiment_id"),
    every("review_queue", "delete", "experiment", "experiment_id"),
    every("scorer", "delete", "experiment", "experiment_id"),
    every("scorer_version", "delete", "experiment", "experiment_id"),
)
CREATES_QUEUE = needs(experiment("update"), undenied("review_queue"))
TRACES_OF_EXPERIMENTS = traces_rules.ReadsTraces()


# The files of a version, as stock judges them: grants for prompts do not give access to them.
FILE_OF_VERSION = needs(
    Need(
        "registered_model",
        "read",
        "name",
        named="model_name",
        missing="Request must specify name parameter",
    ),
    Need(
        "registered_model_version",
        "undenied",
        "name",
        instead="registered_model",
        named="registered_model",
    ),
)
FILE_OF_RUN = Need(
    "run",
    "read",
    "run_id|run_uuid",
    "experiment",
    missing="Request must specify run_id or run_uuid parameter",
)


def runs_of_histories(ids: str) -> Need:
    """The runs whose metrics a request reads; one that does not exist is a 404."""
    return Need("run", "read", ids, "experiment", tells_unknown=True)


TRACE_EXPERIMENT = "trace.trace_info.trace_location.mlflow_experiment.experiment_id"
EXPERIMENT_IN_HEADER = Need(
    "experiment",
    "update",
    "experiment_id",
    missing="Missing required header: X-Mlflow-Experiment-Id",
)
TRACES = needs(required(trace("read", "trace_ids[]")))
TRACE_DELETION = needs(
    experiment("read"),
    every("trace", "delete", "experiment", "experiment_id"),
    Need("assessment", "delete", "experiment_id", "experiment", "update", named="experiment"),
)

# The formatter would split each row into five lines.
# fmt: off
ROUTES: tuple[Route, ...] = (
    # the server
    Raw("GET", "/health", probes.health, OPEN),
    Raw("GET", "/version", probes.version, ANYONE),
    Raw("GET", "/livez", probes.livez, OPEN),
    Raw("GET", "/readyz", probes.readyz, OPEN),
    Raw("GET", "/metrics", probes.metrics, METRICS),
    Raw("GET", "/openapi.json", web.openapi, ANYONE),
    Route("GET", "/api/3.0/mlflow/server-info", info.server_info, OPEN),
    Route("GET", "/api/3.0/mlflow/workspaces", workspaces.list_workspaces, scoped("workspace")),
    Route("POST", "/api/3.0/mlflow/workspaces", workspaces.create, ADMIN),
    Route("GET", "/api/3.0/mlflow/workspaces/{workspace_name}", workspaces.get, ANYONE),
    Route("PATCH", "/api/3.0/mlflow/workspaces/{workspace_name}", workspaces.update, ADMIN),
    ByQuery("DELETE", "/api/3.0/mlflow/workspaces/{workspace_name}", workspaces.delete, ADMIN),
    # the web page
    Route("GET", "/ajax-api/3.0/mlflow/ui-telemetry", info.ui_telemetry, ANYONE),
    Route("POST", "/ajax-api/3.0/mlflow/ui-telemetry", info.drop_ui_telemetry, ANYONE),
    Raw("GET", "/", web.index, ANYONE),
    Raw("GET", "/oidc/login", login.login, OPEN),
    Raw("GET", "/oidc/callback", login.callback, OPEN),
    Raw("GET", "/oidc/logout", login.logout, OPEN),
    Raw("GET", "/static-files/{path:path}", web.static_file, OPEN),
    Raw("GET", "/build/{path:path}", web.build_file, UNRULED),
    Raw("GET", "/headrace/api", web.api_listing, ANYONE),
    Partial("POST", "/graphql", graphql.execute, ANYONE, max_bytes=MAX_GRAPHQL_BYTES),
    Raw("GET", "/graphql", web.query_without_body, ANYONE),
    Partial("GET", "/ajax-api/3.0/mlflow/assistant/config", assistant.get_config, ANYONE),
    Partial("GET", "/ajax-api/3.0/mlflow/assistant/providers", assistant.get_providers, ANYONE),
    Partial("GET", "/ajax-api/2.0/mlflow/gateway-proxy", assistant.gateway_proxy, ANYONE),
    Partial("POST", "/ajax-api/2.0/mlflow/gateway-proxy", assistant.gateway_proxy, ANYONE),
    # experiments
    Route("POST", "/api/2.0/mlflow/experiments/create", experiments.create,
        needs(create("experiment"), undenied("experiment"))),
    Route("GET", "/api/2.0/mlflow/experiments/search", experiments.search_experiments, scoped("experiment")),
    Route("POST", "/api/2.0/mlflow/experiments/search", experiments.search_experiments, scoped("experiment")),
    Route("GET", "/api/2.0/mlflow/experiments/get", experiments.get, needs(experiment("read"))),
    Route("GET", "/api/2.0/mlflow/experiments/get-by-name", experiments.get_by_name,
        needs(Need("experiment", "read", "experiment_name", named="experiment_name"))),
    Route("POST", "/api/2.0/mlflow/experiments/update", experiments.update, needs(experiment("update"))),
    Route("POST", "/api/2.0/mlflow/experiments/delete", experiments.delete, EXPERIMENT_WITH_CONTENTS),
    Route("POST", "/api/2.0/mlflow/experiments/restore", experiments.restore, EXPERIMENT_WITH_CONTENTS),
    Route("POST", "/api/2.0/mlflow/experiments/set-experiment-tag", experiments.set_tag, needs(experiment("update"))),
    Route("POST", "/api/2.0/mlflow/experiments/delete-experiment-tag", experiments.delete_tag,
        needs(experiment("update"))),
    Route("POST", "/ajax-api/2.0/mlflow/experiments/search-datasets", inputs.search_datasets,
        needs(experiment("read", "experiment_ids[]"))),
    Raw("POST", "/api/2.0mlflow/experiments/search-datasets", web.not_implemented, UNRULED),
    # runs
    Route("POST", "/api/2.0/mlflow/runs/create", runs.create, needs(experiment("update"), undenied("run"))),
    Route("GET", "/api/2.0/mlflow/runs/get", runs.get, needs(run("read"))),
    Route("POST", "/api/2.0/mlflow/runs/search", runs.search_runs,
        scoped("experiment", among="experiment_ids[]")),
    Route("POST", "/api/2.0/mlflow/runs/update", runs.update, needs(run("update"))),
    Route("POST", "/api/2.0/mlflow/runs/delete", runs.delete, needs(run("delete"))),
    Route("POST", "/api/2.0/mlflow/runs/restore", runs.restore, needs(run("delete"))),
    Route("POST", "/api/2.0/mlflow/runs/log-batch", runs.log_batch,
        needs(run("update"), logged_model("update", "metrics[].model_id"))),
    Route("POST", "/api/2.0/mlflow/runs/log-metric", runs.log_metric, needs(run("update"), logged_model("update"))),
    Route("POST", "/api/2.0/mlflow/runs/log-parameter", runs.log_param, needs(run("update"))),
    Route("POST", "/api/2.0/mlflow/runs/set-tag", runs.set_tag, needs(run("update"))),
    Route("POST", "/api/2.0/mlflow/runs/delete-tag", runs.delete_tag, needs(run("update"))),
    Route("POST", "/api/2.0/mlflow/runs/log-inputs", inputs.log_inputs,
        needs(run("update"), logged_model("update", "models[].model_id"))),
    Route("POST", "/api/2.0/mlflow/runs/outputs", inputs.log_outputs,
        needs(run("update"), logged_model("update", "models[].model_id"))),
    Route("POST", "/api/2.0/mlflow/runs/log-model", inputs.log_model, needs(run("update"))),
    # metric histories
    Route("GET", "/api/2.0/mlflow/metrics/get-history", metrics.get_history, needs(run("read"))),
    Route("GET", "/ajax-api/2.0/mlflow/metrics/get-history-bulk", metrics.get_history_bulk,
        needs(runs_of_histories("run_id[]"))),
    Route("GET", "/api/2.0/mlflow/metrics/get-history-bulk-interval", metrics.get_history_interval,
        needs(runs_of_histories("run_ids[]"))),
    # logged models
    Route("POST", "/api/2.0/mlflow/logged-models", logged_models.create,
        needs(experiment("update"), undenied("logged_model"), run("read", "source_run_id"))),
    Route("POST", "/api/2.0/mlflow/logged-models/search", logged_models.search_models,
        scoped("experiment", undenied("run", logged_models_rules.filters_by_run), among="experiment_ids[]")),
    Route("GET", "/api/2.0/mlflow/logged-models/{model_id}", logged_models.get, needs(logged_model("read"))),
    Route("PATCH", "/api/2.0/mlflow/logged-models/{model_id}", logged_models.finalize, needs(logged_model("update"))),
    Route("DELETE", "/api/2.0/mlflow/logged-models/{model_id}", logged_models.delete, needs(logged_model("delete"))),
    Route("POST", "/api/2.0/mlflow/logged-models/{model_id}/params", logged_models.log_params,
        needs(logged_model("update"))),
    Route("PATCH", "/api/2.0/mlflow/logged-models/{model_id}/tags", logged_models.set_tags,
        needs(logged_model("update"))),
    Route("DELETE", "/api/2.0/mlflow/logged-models/{model_id}/tags/{tag_key}", logged_models.delete_tag,
        needs(logged_model("delete"))),
    # traces
    Route("GET", "/api/3.0/mlflow/traces/get", whole_traces.get, needs(trace("read"))),
    Route("GET", "/api/3.0/mlflow/traces/batchGet", whole_traces.batch_get, TRACES),
    Route("POST", "/api/3.0/mlflow/traces/batchGetInfos", trace_reads.batch_get_infos, TRACES),
    Route("POST", "/api/3.0/mlflow/traces/search", trace_searches.search_traces,
        traces_rules.ReadsTraces("locations[].mlflow_experiment.experiment_id")),
    Route("GET", "/api/2.0/mlflow/traces", trace_searches.search_traces_v2, TRACES_OF_EXPERIMENTS),
    Route("POST", "/api/3.0/mlflow/traces/calculate-filter-correlation", trace_searches.correlate_filters,
        traces_rules.ReadsTraces("experiment_ids[]", "filter_string1", "filter_string2", "base_filter")),
    Route("POST", "/api/3.0/mlflow/traces/metrics", trace_metrics.query_metrics, TRACES_OF_EXPERIMENTS),
    Route("GET", "/api/3.0/mlflow/traces/{trace_id}", trace_reads.get_info, needs(trace("read"))),
    Route("GET", "/api/2.0/mlflow/traces/{request_id}/info", trace_reads.get_info_v2, needs(trace("read"))),
    Raw("GET", "/ajax-api/2.0/mlflow/get-trace-artifact", trace_files.get_trace_artifact,
        needs(trace("read", "request_id")), query=("request_id",)),
    Raw("GET", "/ajax-api/3.0/mlflow/get-trace-artifact", trace_files.get_trace_artifact,
        needs(trace("read", "request_id")), query=("request_id",)),
    Route("GET", "/api/3.0/mlflow/traces/{trace_id}/assessments/{assessment_id}", assessment_reads.get,
        needs(trace("read"), assessment("read"))),
    Route("POST", "/api/3.0/mlflow/traces", traces.start,
        needs(required(experiment("update", TRACE_EXPERIMENT)), undenied("trace"),
              Need("assessment", "undenied", when=traces_rules.has_assessments))),
    Raw("POST", "/v1/traces", ingest.export, needs(EXPERIMENT_IN_HEADER, undenied("trace")),
        header_fields=(("x-mlflow-experiment-id", "experiment_id"),)),
    Route("POST", "/api/2.0/mlflow/traces", traces.start_v2, needs(experiment("update"), undenied("trace"))),
    Route("PATCH", "/api/2.0/mlflow/traces/{request_id}", traces.end_v2, needs(trace("update"))),
    Route("PATCH", "/api/3.0/mlflow/traces/{trace_id}/tags", traces.set_tag, needs(trace("update"))),
    Route("DELETE", "/api/3.0/mlflow/traces/{trace_id}/tags", traces.delete_tag, needs(trace("update"))),
    Route("PATCH", "/api/2.0/mlflow/traces/{request_id}/tags", traces.set_tag_v2, needs(trace("update"))),
    Route("DELETE", "/api/2.0/mlflow/traces/{request_id}/tags", traces.delete_tag_v2, needs(trace("update"))),
    Route("POST", "/api/2.0/mlflow/traces/link-to-run", traces.link_to_run,
        needs(run("update", "run_id"), required(trace("read", "trace_ids[]")))),
    Route("POST", "/api/2.0/mlflow/traces/link-prompts", traces.link_prompts, needs(trace("update"))),
    Route("POST", "/api/2.0/mlflow/traces/delete-traces", traces.delete, TRACE_DELETION),
    Route("POST", "/api/3.0/mlflow/traces/delete-traces", traces.delete, TRACE_DELETION),
    Route("POST", "/api/3.0/mlflow/traces/{trace_id}/assessments", assessments.create,
        needs(trace("read"), undenied("assessment"), traces_rules.ADDS_TO_TRACE)),
    Route("PATCH", "/api/3.0/mlflow/traces/{trace_id}/assessments/{assessment_id}", assessments.update,
        needs(trace("read"), assessment("update"))),
    Route("DELETE", "/api/3.0/mlflow/traces/{trace_id}/assessments/{assessment_id}", assessments.delete,
        needs(trace("read"), assessment("delete", "update"))),
    Raw("GET", "/api/2.0/mlflow/get-online-trace-details", web.not_implemented, UNRULED),
    Raw("GET", "/api/2.0/mlflow/unified-traces", web.not_implemented, UNRULED),
    # evaluation datasets
    Route("GET", "/api/3.0/mlflow/datasets/search", evaluation_datasets.search_datasets,
        needs(required(experiment("read", "experiment_ids[]")))),
    Route("POST", "/api/3.0/mlflow/datasets/search", evaluation_datasets.search_datasets,
        needs(required(experiment("read", "experiment_ids[]")))),
    Route("POST", "/api/3.0/mlflow/datasets/create", evaluation_datasets.create,
        needs(required(experiment("update", "experiment_ids[]")))),
    Route("GET", "/api/3.0/mlflow/datasets/{dataset_id}", evaluation_datasets.get, needs(dataset("read"))),
    Route("DELETE", "/api/3.0/mlflow/datasets/{dataset_id}", evaluation_datasets.delete, needs(dataset("delete"))),
    Route("PATCH", "/api/3.0/mlflow/datasets/{dataset_id}/tags", evaluation_datasets.set_tags,
        needs(dataset("update"))),
    Route("DELETE", "/api/3.0/mlflow/datasets/{dataset_id}/tags/{key}", evaluation_datasets.delete_tag,
        needs(dataset("update"))),
    Route("GET", "/api/3.0/mlflow/datasets/{dataset_id}/experiment-ids", evaluation_datasets.list_experiments,
        needs(dataset("read"))),
    Route("POST", "/api/3.0/mlflow/datasets/{dataset_id}/add-experiments", evaluation_datasets.add_experiments,
        needs(dataset("update"), required(experiment("update", "experiment_ids[]")))),
    Route("POST", "/api/3.0/mlflow/datasets/{dataset_id}/remove-experiments",
        evaluation_datasets.remove_experiments, needs(dataset("update"))),
    Route("POST", "/api/3.0/mlflow/datasets/{dataset_id}/records", evaluation_datasets.upsert_records,
        needs(dataset("update"))),
    Route("GET", "/api/3.0/mlflow/datasets/{dataset_id}/records", evaluation_datasets.list_records,
        needs(dataset("read"))),
    Route("DELETE", "/api/3.0/mlflow/datasets/{dataset_id}/records", evaluation_datasets.delete_records,
        needs(dataset("update"))),
    # issues
    Route("POST", "/api/3.0/mlflow/issues", issues.create, needs(required(experiment("update")))),
    Route("GET", "/api/3.0/mlflow/issues/{issue_id}", issues.get, needs(part_of_experiment("issue", "read"))),
    Route("PATCH", "/api/3.0/mlflow/issues/{issue_id}", issues.update, needs(part_of_experiment("issue", "update"))),
    Route("POST", "/api/3.0/mlflow/issues/search", issues.search_issues,
        needs(required(experiment("read")), undenied("run", issues_rules.filters_by_run))),
    # label schemas
    Route("POST", "/api/3.0/mlflow/label-schemas/create", label_schemas.create, needs(experiment("manage"))),
    Route("GET", "/api/3.0/mlflow/label-schemas/get", label_schemas.get,
        needs(part_of_experiment("label_schema", "read", "schema_id"))),
    Route("GET", "/api/3.0/mlflow/label-schemas/get-by-name", label_schemas.get_by_name, needs(experiment("read"))),
    Route("GET", "/api/3.0/mlflow/label-schemas/list", label_schemas.list_schemas, needs(experiment("read"))),
    Route("PATCH", "/api/3.0/mlflow/label-schemas/update", label_schemas.update,
        needs(part_of_experiment("label_schema", "manage", "schema_id"))),
    Route("DELETE", "/api/3.0/mlflow/label-schemas/delete", label_schemas.delete,
        needs(part_of_experiment("label_schema", "manage", "schema_id"))),
    # jobs
    FastApi("GET", "/ajax-api/3.0/jobs/{job_id}", jobs.get, needs(job())),
    FastApi("PATCH", "/ajax-api/3.0/jobs/cancel/{job_id}", jobs.cancel, needs(job())),
    FastApi("POST", "/ajax-api/3.0/jobs/search", jobs.search, scoped("job"), max_bytes=MAX_JOB_SEARCH_BYTES),
    Route("GET", "/ajax-api/3.0/mlflow/jobs/{job_id}", jobs.get_state, needs(job())),
    Route("PATCH", "/ajax-api/3.0/mlflow/jobs/cancel/{job_id}", jobs.cancel_with_state, needs(job())),
    Route("GET", "/api/3.0/mlflow/prompt-optimization/jobs/search", optimizations.search,
        needs(required(experiment("read")))),
    Route("POST", "/api/3.0/mlflow/prompt-optimization/jobs/search", optimizations.search,
        needs(required(experiment("read")))),
    Route("GET", "/api/3.0/mlflow/prompt-optimization/jobs/{job_id}", optimizations.get,
        needs(part_of_experiment("job", "read", "job_id"))),
    Route("POST", "/api/3.0/mlflow/prompt-optimization/jobs/{job_id}/cancel", optimizations.cancel,
        needs(part_of_experiment("job", "update", "job_id"), undenied("run"))),
    Route("DELETE", "/api/3.0/mlflow/prompt-optimization/jobs/{job_id}", optimizations.delete,
        needs(part_of_experiment("job", "delete", "job_id"), undenied("run"))),
    # scorers
    Route("POST", "/api/3.0/mlflow/scorers/register", scorers.register,
        needs(experiment("update"), scorer("undenied"), undenied("scorer_version"))),
    Route("GET", "/api/3.0/mlflow/scorers/list", scorers.list_scorers, scoped("scorer", experiment("read"))),
    Route("GET", "/api/3.0/mlflow/scorers/versions", scorers.list_versions,
        needs(scorer("read"), scorer_version("undenied"))),
    Route("GET", "/api/3.0/mlflow/scorers/get", scorers.get, needs(scorer("read"), scorer_version("undenied"))),
    Route("DELETE", "/api/3.0/mlflow/scorers/delete", scorers.delete,
        needs(scorer("read", scorers_rules.names_version), scorer("delete", scorers_rules.names_scorer),
              scorer_version("delete"))),
    Route("PUT", "/api/3.0/mlflow/scorers/online-config", scorers.set_online_config,
        needs(required(experiment("update")))),
    Route("GET", "/api/3.0/mlflow/scorers/online-configs", scorers.list_online_configs,
        needs(Need("experiment", "read", "scorer_ids[]", named="online_scorer"))),
    # review queues
    Route("POST", "/api/3.0/mlflow/review-queues/create", review_queues.create, CREATES_QUEUE),
    Route("POST", "/api/3.0/mlflow/review-queues/get-or-create-user", review_queues.get_or_create_user,
        CREATES_QUEUE),
    Route("GET", "/api/3.0/mlflow/review-queues/get", review_queues.get, needs(review_queue("open"))),
    Route("GET", "/api/3.0/mlflow/review-queues/get-by-name", review_queues.get_by_name, needs(OPENS_NAMED_QUEUE)),
    Route("GET", "/api/3.0/mlflow/review-queues/list", review_queues.list_queues, needs(experiment("read"))),
    Route("POST", "/api/3.0/mlflow/review-queues/update", review_queues.update,
        needs(review_queue("configure", queues_rules.keeps_owner),
              review_queue("manage", queues_rules.names_new_owner))),
    Route("POST", "/api/3.0/mlflow/review-queues/delete", review_queues.delete, needs(review_queue("prune"))),
    Route("POST", "/api/3.0/mlflow/review-queues/items/add", review_queues.add_items, needs(review_queue("update"))),
    Route("POST", "/api/3.0/mlflow/review-queues/items/remove", review_queues.remove_items,
        needs(review_queue("prune"))),
    Route("GET", "/api/3.0/mlflow/review-queues/items/list", review_queues.list_items, needs(review_queue("open"))),
    Route("POST", "/api/3.0/mlflow/review-queues/items/set-status", review_queues.set_item_status,
        needs(review_queue("review"))),
    *GATEWAY_ROUTES,
    # registered models
    Route("POST", "/api/2.0/mlflow/registered-models/create", registered_models.create,
        needs(create("registered_model"), undenied_name("prompt", models_rules.creates_prompt),
              undenied_name("registered_model", models_rules.creates_model))),
    Route("POST", "/api/2.0/mlflow/registered-models/rename", registered_models.rename, needs(model("update"))),
    Route("PATCH", "/api/2.0/mlflow/registered-models/update", registered_models.update, needs(model("update"))),
    Route("DELETE", "/api/2.0/mlflow/registered-models/delete", registered_models.delete,
        needs(model("delete"), version("delete"))),
    Route("GET", "/api/2.0/mlflow/registered-models/get", registered_models.get, needs(model("read"))),
    Route("GET", "/api/2.0/mlflow/registered-models/search", registered_models.search_models,
        scoped("registered_model")),
    Route("GET", "/api/2.0/mlflow/registered-models/get-latest-versions", registered_models.get_latest_versions,
        needs(model("read"), versions_undenied())),
    Route("POST", "/api/2.0/mlflow/registered-models/get-latest-versions", registered_models.get_latest_versions,
        needs(model("read"), versions_undenied())),
    Route("POST", "/api/2.0/mlflow/registered-models/set-tag", registered_models.set_tag, needs(model("update"))),
    Route("DELETE", "/api/2.0/mlflow/registered-models/delete-tag", registered_models.delete_tag,
        needs(model("update"))),
    Route("POST", "/api/2.0/mlflow/registered-models/alias", registered_models.set_alias,
        needs(model("update"), version("read"))),
    Route("DELETE", "/api/2.0/mlflow/registered-models/alias", registered_models.delete_alias,
        needs(model("delete"), version("read"))),
    Route("GET", "/api/2.0/mlflow/registered-models/alias", registered_models.get_by_alias,
        needs(model("read"), versions_undenied())),
    # model versions
    Route("POST", "/api/2.0/mlflow/model-versions/create", model_versions.create,
        versions_rules.CreatesVersion()),
    Route("PATCH", "/api/2.0/mlflow/model-versions/update", model_versions.update, needs(version("update"))),
    Route("POST", "/api/2.0/mlflow/model-versions/transition-stage", model_versions.transition_stage,
        needs(version("update"))),
    Route("DELETE", "/api/2.0/mlflow/model-versions/delete", model_versions.delete, needs(version("delete"))),
    Route("GET", "/api/2.0/mlflow/model-versions/get", model_versions.get,
        needs(model("read"), versions_undenied())),
    Route("GET", "/api/2.0/mlflow/model-versions/search", model_versions.search_versions,
        scoped("registered_model", undenied("run", versions_rules.filters_by_run))),
    Route("GET", "/api/2.0/mlflow/model-versions/get-download-uri", model_versions.get_download_uri,
        needs(model("read"), versions_undenied())),
    Route("POST", "/api/2.0/mlflow/model-versions/set-tag", model_versions.set_tag, needs(version("update"))),
    Route("DELETE", "/api/2.0/mlflow/model-versions/delete-tag", model_versions.delete_tag, needs(version("delete"))),
    # webhooks
    Route("POST", "/api/2.0/mlflow/webhooks", webhooks.create, ADMIN),
    Route("GET", "/api/2.0/mlflow/webhooks", webhooks.list_webhooks, ADMIN),
    Route("GET", "/api/2.0/mlflow/webhooks/{webhook_id}", webhooks.get, ADMIN),
    Route("PATCH", "/api/2.0/mlflow/webhooks/{webhook_id}", webhooks.update, ADMIN),
    Route("DELETE", "/api/2.0/mlflow/webhooks/{webhook_id}", webhooks.delete, ADMIN),
    Route("POST", "/api/2.0/mlflow/webhooks/{webhook_id}/test", webhooks.test, ADMIN),
    # artifacts of runs, model versions and logged models
    Route("GET", "/api/2.0/mlflow/artifacts/list", artifacts.list_artifacts, needs(run("read"))),
    Raw("GET", "/get-artifact", files.get_artifact, needs(FILE_OF_RUN), query=("run_id", "path")),
    Raw("GET", "/model-versions/get-artifact", files.get_model_version_artifact, FILE_OF_VERSION,
        query=("name", "version", "path")),
    Raw("POST", "/ajax-api/2.0/mlflow/upload-artifact", files.upload_artifact, needs(run("update", RUN)),
        query=("run_uuid", "path")),
    Route("GET", "/api/2.0/mlflow/logged-models/{model_id}/artifacts/directories", artifacts.list_model_artifacts,
        needs(logged_model("read"))),
    Raw("GET", "/ajax-api/2.0/mlflow/logged-models/{model_id}/artifacts/files", files.get_model_artifact,
        needs(logged_model("read")), query=("artifact_file_path",)),
    Route("POST", "/api/2.0/mlflow/artifacts/presigned-upload-url", multipart.presign_upload,
        artifact_rules.PresignsUpload()),
    Route("POST", "/api/2.0/mlflow/artifacts/presigned-download-url", multipart.presign_download, needs(run("read"))),
    # the artifact store
    Route("GET", "/api/2.0/mlflow-artifacts/artifacts", artifacts.list_files, needs(artifact("read", "path"))),
    Raw("GET", "/api/2.0/mlflow-artifacts/artifacts/", files.download, needs(artifact("read"))),
    Raw("PUT", "/api/2.0/mlflow-artifacts/artifacts/", files.upload, needs(artifact("update"))),
    Raw("GET", "/api/2.0/mlflow-artifacts/artifacts/{artifact_path:path}", files.download, needs(artifact("read"))),
    Raw("HEAD", "/api/2.0/mlflow-artifacts/artifacts/{artifact_path:path}", files.head, needs(artifact("read"))),
    Raw("PUT", "/api/2.0/mlflow-artifacts/artifacts/{artifact_path:path}", files.upload, needs(artifact("update")),
        files.held_bytes),
    Route("DELETE", "/api/2.0/mlflow-artifacts/artifacts/{artifact_path:path}", artifacts.delete,
        needs(artifact("manage"))),
    Route("POST", "/api/2.0/mlflow-artifacts/mpu/create/{artifact_path:path}", multipart.create,
        needs(artifact("update", multipart.destination))),
    Route("POST", "/api/2.0/mlflow-artifacts/mpu/complete/{artifact_path:path}", multipart.complete,
        needs(artifact("update", multipart.destination))),
    Route("POST", "/api/2.0/mlflow-artifacts/mpu/abort/{artifact_path:path}", multipart.abort,
        needs(artifact("update", multipart.destination))),
    Route("GET", "/api/2.0/mlflow-artifacts/presigned/{artifact_path:path}", multipart.presigned,
        needs(artifact("read"))),
)

# Only a server with users has these routes; without users they do not exist.
USER_ROUTES: tuple[Route, ...] = (
    # users
    Raw("GET", "/signup", signup.signup, Judged(judges.workspace_admin)),
    Raw("POST", "/api/2.0/mlflow/users/create-ui", signup.create_user, ADMIN),
    Route("POST", "/api/2.0/mlflow/users/create", users.create, Judged(judges.workspace_admin)),
    Route("GET", "/api/2.0/mlflow/users/get", users.get, Judged(judges.self_only)),
    Route("GET", "/api/2.0/mlflow/users/list", users.list_users, needs(create("workspace"))),
    Route("GET", "/api/2.0/mlflow/users/current", users.current, ANYONE),
    Route("PATCH", "/api/2.0/mlflow/users/update-password", users.update_password, Judged(judges.self_only)),
    Route("PATCH", "/api/2.0/mlflow/users/update-admin", users.update_admin, ADMIN),
    Route("DELETE", "/api/2.0/mlflow/users/delete", users.delete, ADMIN),
    # grants
    Route("GET", "/api/3.0/mlflow/users/current/permissions", user_grants.list_own, ANYONE),
    Route("GET", "/api/3.0/mlflow/users/permissions/list", user_grants.list_of_user,
        Judged(judges.self_or_workspace_admin)),
    Route("POST", "/api/3.0/mlflow/users/permissions/grant", user_grants.grant, Judged(judges.manager_of_resource)),
    Route("POST", "/api/3.0/mlflow/users/permissions/revoke", user_grants.revoke, Judged(judges.manager_of_resource)),
    Route("GET", "/api/3.0/mlflow/users/permissions/get", user_grants.get, Judged(judges.viewer_of_grant)),
    # roles
    Route("POST", "/api/3.0/mlflow/roles/create", roles.create, Judged(judges.admin_of_new_role)),
    Route("GET", "/api/3.0/mlflow/roles/get", roles.get, Judged(judges.member_of_role)),
    Route("GET", "/api/3.0/mlflow/roles/list", roles.list_roles, Judged(judges.member_of_workspaces)),
    Route("PATCH", "/api/3.0/mlflow/roles/update", roles.update, Judged(judges.admin_of_role)),
    Route("DELETE", "/api/3.0/mlflow/roles/delete", roles.delete, Judged(judges.admin_of_role)),
    Route("POST", "/api/3.0/mlflow/roles/permissions/add", roles.add_permission, Judged(judges.admin_of_role)),
    Route("DELETE", "/api/3.0/mlflow/roles/permissions/remove", roles.remove_permission,
        Judged(judges.admin_of_permission)),
    Route("GET", "/api/3.0/mlflow/roles/permissions/list", roles.list_permissions, Judged(judges.member_of_role)),
    Route("PATCH", "/api/3.0/mlflow/roles/permissions/update", roles.update_permission,
        Judged(judges.admin_of_permission)),
    Route("POST", "/api/3.0/mlflow/roles/assign", roles.assign, Judged(judges.admin_of_role)),
    Route("DELETE", "/api/3.0/mlflow/roles/unassign", roles.unassign, Judged(judges.admin_of_role)),
    Route("GET", "/api/3.0/mlflow/users/roles/list", users.list_roles, Judged(judges.self_or_workspace_admin)),
    Route("GET", "/api/3.0/mlflow/roles/users/list", roles.list_users, Judged(judges.admin_of_role)),
)
# fmt: on


def routes_of(settings: Settings) -> tuple[Route, ...]:
    """The routes of a server with these settings."""
    return ROUTES if settings.auth is None else ROUTES + USER_ROUTES
