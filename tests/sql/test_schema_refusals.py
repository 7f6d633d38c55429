"""A database that cannot be served is refused in a sentence that names the remedy, and stays unchanged."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import asyncpg
import psycopg
import pytest
from tests.sql.dumps import restore_postgres, restore_sqlite

from headrace.db.schema import postgres, sqlite
from headrace.db.schema.facts import Facts, UnusableDatabase

if TYPE_CHECKING:
    from pathlib import Path

LOCATION = "mlflow-artifacts:/0"
URI = "sqlite:///it.db"


def prepare(path: Path) -> Facts:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        return sqlite.prepare(connection, URI, LOCATION)


def change(path: Path, script: str) -> Path:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(script)
    return path


def refusal(path: Path) -> str:
    """The text of the refusal; the file must be unchanged."""
    before = path.read_bytes()
    with pytest.raises(UnusableDatabase) as caught:
        prepare(path)
    assert path.read_bytes() == before
    assert not caught.value.transient
    text = str(caught.value)
    assert "\n" not in text and URI in text
    return text


@pytest.fixture
def newest(tmp_path: Path) -> Path:
    """A file at the newest known head."""
    return restore_sqlite("3.17.2", tmp_path / "it.db")


def test_an_unknown_head_with_everything_we_use_is_served_with_a_warning(newest: Path) -> None:
    change(
        newest,
        "UPDATE alembic_version SET version_num = 'f00dfeedbeef';"
        "ALTER TABLE runs ADD COLUMN colour TEXT; DROP TABLE mcp_access_endpoints",
    )
    facts = prepare(newest)
    assert facts.head == "f00dfeedbeef" and facts.release is None
    assert len(facts.warnings) == 1 and "f00dfeedbeef" in facts.warnings[0]


@pytest.mark.parametrize(
    "change_text", ["DROP TABLE input_tags", "ALTER TABLE inputs DROP COLUMN step"]
)
def test_an_unknown_head_without_a_thing_we_use_is_refused(newest: Path, change_text: str) -> None:
    change(newest, f"UPDATE alembic_version SET version_num = 'f00dfeedbeef'; {change_text}")
    text = refusal(newest)
    assert "f00dfeedbeef" in text and "input" in text and f"headrace db upgrade {URI}" in text


def test_an_unknown_head_that_demands_an_unknown_column_is_refused(newest: Path) -> None:
    change(
        newest,
        "UPDATE alembic_version SET version_num = 'f00dfeedbeef'; DROP TABLE tags;"
        "CREATE TABLE tags (key TEXT, value TEXT, run_uuid TEXT, owner TEXT NOT NULL)",
    )
    assert "tags.owner" in refusal(newest)


def test_a_known_head_without_a_table_it_should_have_is_refused(newest: Path) -> None:
    change(newest, "ALTER TABLE latest_metrics RENAME TO latest_metrics_old")
    text = refusal(newest)
    assert "latest_metrics" in text and f"headrace db upgrade {URI}" in text


def test_a_revision_from_before_the_oldest_release_served_is_refused(newest: Path) -> None:
    change(
        newest,
        "UPDATE alembic_version SET version_num = '7f2a7d5fae7d';"
        "ALTER TABLE runs DROP COLUMN deleted_time",
    )
    text = refusal(newest)
    assert "before MLflow 2.9" in text and "runs.deleted_time" in text and "db upgrade" in text


def test_two_revisions_are_refused(newest: Path) -> None:
    change(newest, "INSERT INTO alembic_version VALUES ('0584bdc529eb')")
    assert "2 schema revisions" in refusal(newest)


def test_tables_without_a_revision_are_refused(newest: Path) -> None:
    change(newest, "DELETE FROM alembic_version")
    assert "no schema revision" in refusal(newest)


def test_experiments_of_another_workspace_are_refused_as_by_stock(newest: Path) -> None:
    change(
        newest,
        "INSERT INTO experiments (name, lifecycle_stage, workspace) VALUES ('x', 'active', 'team-a')",
    )
    text = refusal(newest)
    assert "team-a" in text and "--enable-workspaces" in text


def test_mlflows_tables_are_created_beside_those_of_others(tmp_path: Path) -> None:
    """As with stock MLflow: Optuna and a tracking server on one database."""
    path = change(
        tmp_path / "it.db", "CREATE TABLE studies (id INTEGER); CREATE VIEW v AS SELECT 1"
    )
    change(path, "INSERT INTO studies VALUES (7)")
    assert prepare(path).created
    assert not prepare(path).created
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT * FROM studies").fetchall() == [(7,)]


@pytest.mark.parametrize(
    "table",
    [
        "tags (id INTEGER)",  # one that headrace reads and writes
        "jobs (id INTEGER)",  # one that only MLflow does
        "alembic_version (version_num TEXT, branch TEXT)",
    ],
)
def test_another_applications_table_of_the_same_name_is_never_used(
    tmp_path: Path, table: str
) -> None:
    text = refusal(change(tmp_path / "it.db", f"CREATE TABLE {table}"))
    assert "tables named like MLflow's" in text and table.split(" ")[0] in text


def test_another_applications_revision_is_not_taken_for_ours(tmp_path: Path) -> None:
    path = change(
        tmp_path / "it.db",
        "CREATE TABLE alembic_version (version_num TEXT); CREATE TABLE dag (id INTEGER);"
        "INSERT INTO alembic_version VALUES ('0123456789ab')",
    )
    assert "another application" in refusal(path)


def test_a_creation_that_fails_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "it.db"
    statements = sqlite.statements()
    monkeypatch.setattr(sqlite, "statements", lambda: [*statements[:40], "CREATE TABLE nonsense"])
    with pytest.raises(UnusableDatabase):
        prepare(path)
    monkeypatch.undo()
    assert prepare(path).created


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "it.db"
    path.write_text("experiment,loss\n" * 100)
    assert "not a SQLite database" in refusal(path)


def test_a_locked_file_is_refused_for_the_moment(tmp_path: Path) -> None:
    path = tmp_path / "it.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with (
            closing(sqlite3.connect(path, isolation_level=None, timeout=0.1)) as connection,
            pytest.raises(UnusableDatabase, match="another process") as caught,
        ):
            sqlite.prepare(connection, URI, LOCATION)
    assert caught.value.transient


async def prepare_postgres(uri: str) -> Facts:
    async with postgres.explained("the database"):
        connection = await asyncpg.connect(uri, timeout=10)
    try:
        return await postgres.prepare(connection, "the database", LOCATION)
    finally:
        await connection.close()


def run_sql(uri: str, script: str) -> None:
    with psycopg.connect(uri, autocommit=True) as connection:
        connection.execute(script.encode())


async def test_postgres_decides_as_sqlite_does(postgres_empty_uri: str) -> None:
    run_sql(postgres_empty_uri, "CREATE TABLE jobs (id integer)")
    with pytest.raises(UnusableDatabase, match=r"named like MLflow's \(jobs\)"):
        await prepare_postgres(postgres_empty_uri)
    run_sql(postgres_empty_uri, "ALTER TABLE jobs RENAME TO studies")
    assert (await prepare_postgres(postgres_empty_uri)).created
    run_sql(postgres_empty_uri, "TABLE studies; DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    restore_postgres("3.17.2", postgres_empty_uri)
    run_sql(postgres_empty_uri, "UPDATE alembic_version SET version_num = 'f00dfeedbeef'")
    assert (await prepare_postgres(postgres_empty_uri)).warnings
    run_sql(postgres_empty_uri, "ALTER TABLE tags ADD COLUMN owner text NOT NULL")
    with pytest.raises(UnusableDatabase, match=r"tags\.owner"):
        await prepare_postgres(postgres_empty_uri)
    run_sql(postgres_empty_uri, "ALTER TABLE tags DROP COLUMN owner; DROP TABLE input_tags")
    with pytest.raises(UnusableDatabase, match="lacks input_tags"):
        await prepare_postgres(postgres_empty_uri)


async def test_a_role_that_may_not_create_tables_is_told_so(postgres_empty_uri: str) -> None:
    role = "may_not_create"
    run_sql(
        postgres_empty_uri,
        f"DO $$ BEGIN CREATE ROLE {role} LOGIN; EXCEPTION WHEN duplicate_object THEN END $$;"
        "REVOKE CREATE ON SCHEMA public FROM PUBLIC",
    )
    connection = await asyncpg.connect(postgres_empty_uri)
    try:
        await connection.execute(f"SET ROLE {role}")
        with pytest.raises(UnusableDatabase, match="permission denied for schema public"):
            await postgres.prepare(connection, "the database", LOCATION)
        assert (
            await connection.fetchval("SELECT count(*) FROM pg_class WHERE relname = 'runs'") == 0
        )
    finally:
        await connection.close()
