"""Databases of older MLflow releases are recognised and left as they are."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import asyncpg
import pytest
from tests.sql.catalog import differences, postgres_catalog, sqlite_catalog
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
# Traces and what belongs to them, and the tables that rules of users look into. What of them a
# release lacks is not listed here; at the newest head it is nothing.
LATER = {
    "assessments",
    "endpoints",
    "entity_associations",
    "evaluation_dataset_tags",
    "evaluation_datasets",
    "mcp_servers",
    "model_definitions",
    "review_queue_items",
    "secrets",
    "spans",
    "trace_info",
    "trace_request_metadata",
    "trace_tags",
}


def expected_missing(release: str) -> set[str]:
    """The columns that headrace uses and a release's schema lacks."""
    version = tuple(int(part) for part in release.split("."))
    came = (
        ((3, 0), LOGGED_MODELS),
        ((3, 3), WEBHOOKS),
        ((3, 10), WORKSPACES),
    )
    missing = {name for since, names in came if version < since for name in names}
    return {name for name in missing if name.partition(".")[0] not in missing - {name}}


def missing(facts: Facts, release: str) -> set[str]:
    """What a release's schema lacks, without the parts in `LATER`."""
    found = {name for name in facts.missing if name.partition(".")[0] in LATER}
    assert bool(found) == (release != "3.17.2")
    return set(facts.missing) - found


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
    assert missing(facts, release) == expected_missing(release)
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
    assert missing(facts, release) == expected_missing(release)
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
    assert (
        differences({**sqlite_catalog(made), "rows": {}}, {**sqlite_catalog(dumped), "rows": {}})
        == []
    )
