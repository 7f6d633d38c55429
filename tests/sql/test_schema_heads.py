"""Databases of older MLflow releases are recognised and left as they are."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import asyncpg
import pytest
from tests.sql.catalog import differences, postgres_catalog, sqlite_catalog, without_own_indexes
from tests.sql.dumps import releases, restore_postgres, restore_sqlite

from headrace.db.schema import heads, postgres, sqlite

if TYPE_CHECKING:
    from pathlib import Path

    from headrace.db.schema.facts import Facts

LOCATION = "mlflow-artifacts:/0"
WORKSPACES = {
    f"{table}.workspace"
    for table in (
        "experiments",
        "registered_models",
        "registered_model_tags",
        "registered_model_aliases",
        "model_versions",
        "model_version_tags",
        "webhooks",
        "evaluation_datasets",
        "endpoints",
        "model_definitions",
        "secrets",
    )
}
LOGGED_MODELS = {
    "inputs.step",
    "logged_models",
    "logged_model_params",
    "logged_model_tags",
    "logged_model_metrics",
}

WEBHOOKS = {"webhooks", "webhook_events"}
TRACES = {"trace_info", "trace_request_metadata", "trace_tags"}
TRACES_3_2 = {
    "assessments",
    "trace_info.client_request_id",
    "trace_info.request_preview",
    "trace_info.response_preview",
}
DATASETS = {"evaluation_datasets", "evaluation_dataset_tags", "evaluation_dataset_records"}
REVIEWS = {
    "label_schemas",
    "review_queues",
    "review_queue_items",
    "review_queue_label_schemas",
    "review_queue_users",
}
GATEWAY = {
    "endpoints",
    "endpoint_bindings",
    "endpoint_model_mappings",
    "endpoint_tags",
    "model_definitions",
    "secrets",
}
GATEWAY_3_9 = {
    "endpoints.routing_strategy",
    "endpoints.fallback_config_json",
    "endpoint_bindings.display_name",
    "endpoint_model_mappings.linkage_type",
    "endpoint_model_mappings.fallback_order",
}
# Columns of jobs that 3.17 added.
JOB_COLUMNS = {
    f"jobs.{name}"
    for name in (
        "lease_expires_at",
        "next_attempt_at",
        "progress",
        "progress_updated_at",
        "scoped_permissions",
        "status_message",
        "token_hash",
    )
}
# Columns by which 3.17 searches and sums traces.
TRACE_COLUMNS = {
    *(
        f"assessments.{name}"
        for name in ("aggregate_value", "experiment_id", "is_numeric_value", "trace_timestamp_ms")
    ),
    *(
        f"spans.{name}"
        for name in ("input_cost", "model_name", "model_provider", "output_cost", "total_cost")
    ),
    *(
        f"trace_info.{name}"
        for name in (
            "cache_creation_input_tokens",
            "cache_creation_input_tokens_above_1hr",
            "cache_read_input_tokens",
            "input_cost",
            "input_tokens",
            "output_cost",
            "output_tokens",
            "session_id",
            "total_cost",
            "total_tokens",
            "trace_name",
        )
    ),
}


def expected_missing(release: str) -> set[str]:
    """The columns that headrace uses and a release's schema lacks."""
    version = tuple(int(part) for part in release.split("."))
    came = (
        ((2, 13), TRACES),
        ((3, 0), LOGGED_MODELS),
        ((3, 2), TRACES_3_2),
        ((3, 3), WEBHOOKS | {"entity_associations", "spans"}),
        ((3, 4), DATASETS | {"scorers", "scorer_versions"}),
        ((3, 5), {"evaluation_dataset_records.outputs", "jobs"}),
        ((3, 8), GATEWAY),
        ((3, 9), GATEWAY_3_9 | {"jobs.job_name", "online_scoring_configs"}),
        (
            (3, 10),
            WORKSPACES | {"jobs.workspace", "endpoints.experiment_id", "endpoints.usage_tracking"},
        ),
        ((3, 11), {"issues", "jobs.status_details", "budget_policies"}),
        ((3, 12), {"guardrails", "guardrail_configs"}),
        ((3, 13), {"trace_info.db_payload_generation"}),
        ((3, 14), REVIEWS),
        ((3, 15), {"mcp_servers", "budget_policies.target_value"}),
        ((3, 16), {"jobs.creator"}),
        ((3, 17), TRACE_COLUMNS | JOB_COLUMNS),
    )
    missing = {name for since, names in came if version < since for name in names}
    return {name for name in missing if name.partition(".")[0] not in missing - {name}}


def prepare_sqlite(path: Path) -> Facts:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        return sqlite.prepare(connection, str(path), LOCATION)


async def prepare_postgres(uri: str) -> Facts:
    connection = await asyncpg.connect(uri)
    try:
        return await postgres.prepare(connection, "the database", LOCATION)
    finally:
        await connection.close()


def covers(name: str, release: str) -> bool:
    """Whether a head's name in words (`MLflow 2.20 to 2.22`) includes a release (`2.22.5`)."""
    minor = release.rpartition(".")[0]
    return minor in name.replace("MLflow", "").split()


@pytest.mark.parametrize("release", releases("sqlite"))
def test_an_sqlite_file_of_a_release_is_served_unchanged(release: str, tmp_path: Path) -> None:
    path = restore_sqlite(release, tmp_path / "mlflow.db")
    before = sqlite_catalog(path)
    facts = prepare_sqlite(path)
    assert not facts.created
    assert facts.release is not None and covers(facts.release, release)
    assert facts.warnings == ()
    assert set(facts.missing) == expected_missing(release)
    assert facts.has("runs", "deleted_time") and facts.has("metrics")
    assert facts.has("experiments", "workspace") == ("experiments.workspace" not in facts.missing)
    assert differences(sqlite_catalog(path), before) == []


@pytest.mark.parametrize("release", releases("postgres"))
async def test_a_postgres_database_of_a_release_is_served_unchanged(
    release: str, postgres_empty_uri: str
) -> None:
    restore_postgres(release, postgres_empty_uri)
    before = postgres_catalog(postgres_empty_uri)
    facts = await prepare_postgres(postgres_empty_uri)
    assert not facts.created and facts.warnings == ()
    assert facts.release is not None and covers(facts.release, release)
    assert set(facts.missing) == expected_missing(release)
    assert differences(postgres_catalog(postgres_empty_uri), before) == []


def test_every_head_of_a_release_has_a_dump(tmp_path: Path) -> None:
    found = {
        prepare_sqlite(restore_sqlite(release, tmp_path / release)).head
        for release in releases("sqlite")
    }
    assert found == set(heads.RELEASES)


@pytest.mark.parametrize("release", ["2.22.5", "3.17.2"])
def test_a_missing_default_experiment_is_made_again(release: str, tmp_path: Path) -> None:
    path = restore_sqlite(release, tmp_path / "mlflow.db")
    before = sqlite_catalog(path)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DELETE FROM experiments")
    prepare_sqlite(path)
    with closing(sqlite3.connect(path)) as connection:
        row = connection.execute(
            "SELECT experiment_id, name, artifact_location, lifecycle_stage FROM experiments"
        ).fetchall()
    assert row == [(0, "Default", LOCATION, "active")]
    assert differences({**sqlite_catalog(path), "rows": {}}, {**before, "rows": {}}) == []


def test_the_sqlite_statements_are_those_of_the_newest_dump(tmp_path: Path) -> None:
    made = tmp_path / "made.db"
    prepare_sqlite(made)
    dumped = restore_sqlite("3.17.2", tmp_path / "dumped.db")
    ours, theirs = ({**sqlite_catalog(path), "rows": {}} for path in (made, dumped))
    assert without_own_indexes(differences(ours, theirs)) == []
