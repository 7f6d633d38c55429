"""`headrace db check`, `init` and `upgrade`, and their messages about a database that cannot be reached."""

from __future__ import annotations

import importlib.util
import os
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import asyncpg
import psycopg
import pytest
from tests.fix_postgres import PASSWORD_ROLE
from tests.sql.catalog import (
    differences,
    postgres_catalog,
    sqlite_catalog,
    without_own_indexes,
)
from tests.sql.dumps import restore_postgres, restore_sqlite

from headrace.db.schema import heads
from headrace.db.schema.facts import UnusableDatabase
from headrace.db.upkeep.schema import check, init, upgrade
from headrace.db.uri import parse

if TYPE_CHECKING:
    from pathlib import Path

own_server = pytest.mark.skipif(
    "HEADRACE_TEST_POSTGRES" in os.environ, reason="needs a server whose access rules are ours"
)


def test_check_of_a_missing_file_reports_it_and_creates_none(tmp_path: Path) -> None:
    with pytest.raises(UnusableDatabase, match=r"does not exist.* headrace db init"):
        check(f"sqlite:///{tmp_path / 'x.db'}")
    assert list(tmp_path.iterdir()) == []


def test_check_of_an_empty_file_says_which_command_to_run(tmp_path: Path) -> None:
    (tmp_path / "x.db").touch()
    report = check(f"sqlite:///{tmp_path / 'x.db'}")
    assert report.head == "" and "headrace db init" in report.lines()[0]


def test_init_creates_the_tables_and_the_directory_once(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path / 'new' / 'x.db'}"
    first, second = init(uri), init(uri)
    assert (first.created, second.created) == (True, False)
    assert first.current and second.current and second.lines()[-1] == "Nothing to do."
    with closing(sqlite3.connect(tmp_path / "new" / "x.db")) as connection:
        assert connection.execute("SELECT artifact_location FROM experiments").fetchall() == [
            ("mlflow-artifacts:/0",)
        ]


def test_init_creates_the_tables_beside_others(postgres_empty_uri: str) -> None:
    with psycopg.connect(postgres_empty_uri, autocommit=True) as connection:
        connection.execute("CREATE TABLE studies (id integer)")
    assert "headrace db init" in " ".join(check(postgres_empty_uri).lines())
    assert init(postgres_empty_uri, "s3://bucket/0").created
    assert check(postgres_empty_uri).current


def test_check_names_the_release_and_the_routes_that_are_not_served(tmp_path: Path) -> None:
    path = restore_sqlite("2.22.5", tmp_path / "x.db")
    before = path.read_bytes()
    report = check(f"sqlite:///{path}")
    assert (report.head, report.release) == ("0584bdc529eb", "MLflow 2.20 to 2.22")
    assert "logged_models" in report.missing and "logged models" in report.lost
    assert "headrace db upgrade" in report.lines()[-1]
    assert path.read_bytes() == before and len(list(tmp_path.iterdir())) == 1


def test_check_leaves_nothing_beside_a_file_in_wal_mode(tmp_path: Path) -> None:
    init(f"sqlite:///{tmp_path / 'x.db'}")
    with closing(sqlite3.connect(tmp_path / "x.db")) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
    assert check(f"sqlite:///{tmp_path / 'x.db'}").current
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.db"]


def test_check_never_shows_a_password(postgres_uri: str) -> None:
    report = check(postgres_uri.replace("postgres@", "postgres:hush@"))
    assert "hush" not in "".join(report.lines()) and "***" in report.uri


def test_upgrade_runs_mlflows_migrations_on_sqlite_and_keeps_a_copy(tmp_path: Path) -> None:
    path = restore_sqlite("2.22.5", tmp_path / "x.db")
    before = sqlite_catalog(path)
    report = upgrade(f"sqlite:///{path}")
    assert report.head == heads.CURRENT and report.missing == ()
    fresh = restore_sqlite("3.17.2", tmp_path / "fresh.db")
    assert differences(sqlite_catalog(path), sqlite_catalog(fresh)) == []
    copy = tmp_path / "x.db.0584bdc529eb.bak"
    assert report.backup == str(copy) and differences(sqlite_catalog(copy), before) == []


def test_upgrade_runs_mlflows_migrations_on_postgres(
    postgres_empty_uri: str, postgres_uri: str
) -> None:
    restore_postgres("3.4.0", postgres_empty_uri)
    assert upgrade(postgres_empty_uri).current
    ours, fresh = postgres_catalog(postgres_empty_uri), postgres_catalog(postgres_uri)
    # pg_dump rewrites a CHECK. A database that headrace did not make lacks its indexes.
    found = without_own_indexes(differences({**ours, "rows": {}}, {**fresh, "rows": {}}))
    assert [line for line in found if "CHECK" not in line] == []


def test_upgrade_without_mlflow_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = restore_sqlite("2.22.5", tmp_path / "x.db")
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "mlflow" else found(name)
    )
    with pytest.raises(UnusableDatabase, match=r"pip install 'mlflow>="):
        upgrade(f"sqlite:///{path}")
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.db"]


def test_upgrade_never_overwrites_a_copy(tmp_path: Path) -> None:
    path = restore_sqlite("2.22.5", tmp_path / "x.db")
    (tmp_path / "x.db.0584bdc529eb.bak").write_text("precious")
    before = path.read_bytes()
    with pytest.raises(UnusableDatabase, match="already exists"):
        upgrade(f"sqlite:///{path}")
    assert (tmp_path / "x.db.0584bdc529eb.bak").read_text() == "precious"
    assert path.read_bytes() == before


def test_upgrade_of_the_newest_does_nothing(postgres_uri: str) -> None:
    assert upgrade(postgres_uri).lines()[-1] == "Nothing to do."


def test_a_directory_in_place_of_a_file_is_explained(tmp_path: Path) -> None:
    with pytest.raises(UnusableDatabase, match="cannot be opened"):
        init(f"sqlite:///{tmp_path}")


def test_a_file_in_place_of_a_directory_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UnusableDatabase, match=r"File exists|Not a directory"):
        init(f"sqlite:///{tmp_path / 'file' / 'x.db'}")


def test_an_unreachable_host_is_reported_as_temporary(postgres_server: str) -> None:
    with pytest.raises(UnusableDatabase, match="cannot reach the server") as caught:
        check("postgresql://postgres@127.0.0.1:1/ml")
    assert caught.value.transient and "\n" not in str(caught.value)


def test_a_missing_database_is_named(postgres_server: str) -> None:
    uri = postgres_server.rpartition("/")[0] + "/nowhere"
    with pytest.raises(UnusableDatabase, match='database "nowhere" does not exist') as caught:
        check(uri)
    assert not caught.value.transient


@own_server
def test_a_wrong_password_is_reported(postgres_uri: str) -> None:
    with psycopg.connect(postgres_uri, autocommit=True) as connection:
        connection.execute(f"DROP ROLE IF EXISTS {PASSWORD_ROLE}".encode())
        connection.execute(f"CREATE ROLE {PASSWORD_ROLE} LOGIN PASSWORD 'right'".encode())
    wrong = postgres_uri.replace("postgres@", f"{PASSWORD_ROLE}:wrong@")
    with pytest.raises(UnusableDatabase, match="rejects the user or password") as caught:
        check(wrong)
    assert ":wrong@" not in str(caught.value) and not caught.value.transient
    with pytest.raises(UnusableDatabase, match="lacks a privilege"):
        check(wrong.replace(":wrong@", ":right@"))


async def test_the_driver_accepts_every_argument_of_a_uri(postgres_uri: str) -> None:
    target = parse(
        f"{postgres_uri}?sslmode=prefer&options=-csearch_path%3Dpublic&connect_timeout=5"
        "&target_session_attrs=read-write&keepalives=1"
    )
    connection = await asyncpg.connect(**target.connect_args)
    try:
        assert await connection.fetchval("SHOW search_path") == "public"
        assert await connection.fetchval("SHOW application_name") == "headrace"
    finally:
        await connection.close()
