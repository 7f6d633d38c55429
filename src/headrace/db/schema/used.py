"""The tables and columns of MLflow that headrace's statements use, and the features that need them.

Each column that a statement names must be listed here; a test compares the two.
"""

from __future__ import annotations

from typing import Final

Tables = dict[str, frozenset[str]]


def tables(**columns: str) -> Tables:
    """Tables with their columns, which are separated by blanks."""
    return {table: frozenset(names.split()) for table, names in columns.items()}


# Present at every head since MLflow 2.9; headrace serves no database without one of these.
REQUIRED: Final[Tables] = tables(
    alembic_version="version_num",
    experiments=(
        "experiment_id name artifact_location lifecycle_stage creation_time last_update_time"
    ),
    experiment_tags="key value experiment_id",
    runs=(
        "run_uuid name source_type source_name entry_point_name user_id status start_time end_time"
        " source_version lifecycle_stage artifact_uri experiment_id deleted_time"
    ),
    tags="key value run_uuid",
    params="key value run_uuid",
    metrics="key value timestamp run_uuid step is_nan",
    latest_metrics="key value timestamp step is_nan run_uuid",
    datasets=(
        "dataset_uuid experiment_id name digest dataset_source_type dataset_source"
        " dataset_schema dataset_profile"
    ),
    inputs="input_uuid source_type source_id destination_type destination_id",
    input_tags="input_uuid name value",
    registered_models="name creation_time last_updated_time description",
    registered_model_tags="key value name",
    registered_model_aliases="alias version name",
    model_versions=(
        "name version creation_time last_updated_time description user_id current_stage source"
        " run_id status status_message run_link storage_location"
    ),
    model_version_tags="key value name version",
)

# Added by later releases: without one of these, headrace serves the features that do not need it.
OPTIONAL: Final[Tables] = tables(
    assessments=(
        "assessment_id trace_id name assessment_type value error created_timestamp"
        " last_updated_timestamp source_type source_id run_id span_id rationale overrides valid"
        " assessment_metadata experiment_id trace_timestamp_ms aggregate_value is_numeric_value"
    ),
    budget_policies=(
        "budget_policy_id budget_unit budget_amount duration_unit duration_value target_scope"
        " budget_action created_by created_at last_updated_by last_updated_at workspace target_value"
    ),
    endpoints=(
        "endpoint_id name created_by created_at last_updated_by last_updated_at routing_strategy"
        " fallback_config_json experiment_id usage_tracking workspace"
    ),
    endpoint_bindings=(
        "endpoint_id resource_type resource_id created_at created_by last_updated_at last_updated_by"
        " display_name"
    ),
    endpoint_model_mappings=(
        "mapping_id endpoint_id model_definition_id weight created_by created_at linkage_type"
        " fallback_order"
    ),
    endpoint_tags="key value endpoint_id",
    entity_associations=(
        "association_id source_type source_id destination_type destination_id created_time"
    ),
    evaluation_dataset_records=(
        "dataset_record_id dataset_id inputs outputs expectations tags source source_id source_type"
        " created_time last_update_time created_by last_updated_by input_hash"
    ),
    evaluation_dataset_tags="dataset_id key value",
    evaluation_datasets=(
        "dataset_id name schema profile digest created_time last_update_time created_by"
        " last_updated_by workspace"
    ),
    experiments="workspace",
    guardrails=(
        "guardrail_id name scorer_id scorer_version stage action action_endpoint_id created_by"
        " created_at last_updated_by last_updated_at workspace"
    ),
    guardrail_configs="endpoint_id guardrail_id execution_order created_by created_at workspace",
    inputs="step",
    issues=(
        "issue_id experiment_id name description status severity root_causes source_run_id categories"
        " created_timestamp last_updated_timestamp created_by"
    ),
    jobs=(
        "id creation_time job_name params timeout status result retry_count last_update_time"
        " status_details creator status_message progress progress_updated_at lease_expires_at"
        " token_hash scoped_permissions next_attempt_at workspace"
    ),
    label_schemas=(
        "schema_id experiment_id name type instruction enable_comment input_type input_config"
        " created_by created_time last_update_time is_default"
    ),
    logged_models=(
        "model_id experiment_id name artifact_location creation_timestamp_ms"
        " last_updated_timestamp_ms status lifecycle_stage model_type source_run_id status_message"
    ),
    logged_model_params="model_id experiment_id param_key param_value",
    logged_model_tags="model_id experiment_id tag_key tag_value",
    logged_model_metrics=(
        "model_id metric_name metric_timestamp_ms metric_step metric_value experiment_id run_id"
        " dataset_uuid dataset_name dataset_digest"
    ),
    online_scoring_configs=(
        "online_scoring_config_id scorer_id sample_rate experiment_id filter_string"
    ),
    review_queue_items=(
        "queue_id item_type item_id status completed_by completed_time_ms creation_time_ms"
        " last_update_time_ms"
    ),
    review_queue_label_schemas="queue_id schema_id",
    review_queue_users="queue_id user_id",
    review_queues=(
        "queue_id experiment_id name name_key queue_type created_by creation_time_ms"
        " last_update_time_ms"
    ),
    scorer_versions="scorer_id scorer_version serialized_scorer creation_time",
    scorers="experiment_id scorer_name scorer_id",
    spans=(
        "trace_id span_id experiment_id parent_span_id name type status start_time_unix_nano"
        " end_time_unix_nano content input_cost output_cost total_cost model_name model_provider"
    ),
    trace_info=(
        "request_id experiment_id timestamp_ms execution_time_ms status client_request_id"
        " request_preview response_preview trace_name session_id input_tokens output_tokens"
        " total_tokens cache_read_input_tokens cache_creation_input_tokens"
        " cache_creation_input_tokens_above_1hr input_cost output_cost total_cost"
        " db_payload_generation"
    ),
    trace_request_metadata="request_id key value",
    trace_tags="request_id key value",
    registered_models="workspace",
    registered_model_tags="workspace",
    registered_model_aliases="workspace",
    model_versions="workspace",
    model_version_tags="workspace",
    webhooks=(
        "webhook_id name description url status secret creation_timestamp last_updated_timestamp"
        " deleted_timestamp workspace"
    ),
    webhook_events="webhook_id entity action",
    secrets=(
        "secret_id secret_name encrypted_value wrapped_dek kek_version masked_value provider auth_config"
        " created_by created_at last_updated_by last_updated_at workspace"
    ),
    model_definitions=(
        "model_definition_id name secret_id provider model_name created_by created_at last_updated_by"
        " last_updated_at workspace"
    ),
    mcp_servers="workspace name",
)

# Added after the release whose schema headrace creates: used where they exist.
NEWER: Final[Tables] = tables(
    issues="last_seen_timestamp last_updated_by metadata",
    issue_categories="issue_id category_hash category",
)

USED: Final[Tables] = {
    table: REQUIRED.get(table, frozenset()) | OPTIONAL.get(table, frozenset())
    for table in REQUIRED | OPTIONAL
}

# headrace inserts no rows into these tables, so their required columns do not matter.
NEVER_FILLED: Final = frozenset(
    {
        "alembic_version",
        "jobs",
        "mcp_servers",
    }
)

# The feature that a missing table or column disables, for `headrace db check`. Missing workspace
# columns disable nothing: every row then belongs to the only workspace.
LOST: Final[dict[str, str]] = {
    "inputs.step": "the step of a run's model outputs",
    "logged_models": "logged models",
    "logged_model_params": "params of logged models",
    "logged_model_tags": "tags of logged models",
    "logged_model_metrics": "metrics of logged models",
    "webhooks": "webhooks",
    "webhook_events": "the events of webhooks",
}
