"""The mlflow package without the packages that it requires, as `make serve` installs it."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from tests.fix_packages import environment_without
from tests.fix_server import Server, base_environment, headrace
from tests.wire import Wire

from headrace.extras import install_command

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BRIDGED = "/api/3.0/mlflow/mcp-servers"
# The packages that stock MLflow's server needs, and some that its client needs.
REQUIRED = ("flask", "sqlalchemy", "alembic", "numpy", "pandas", "yaml", "packaging", "databricks")
LACKS = "MLflow is installed without the packages that it requires (flask, sqlalchemy, alembic"


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return environment_without(tmp_path_factory.mktemp("env"), *REQUIRED)


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str]
) -> Iterator[Server]:
    place = tmp_path_factory.mktemp("page-only")
    with headrace(
        f"sqlite:///{place}/mlflow.db",
        place,
        *("--artifacts-destination", "hdfs://namenode:8020/mlflow"),
        environment=environment,
    ) as running:
        yield running


def command(environment: dict[str, str], *argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "headrace.commands.cli", *argv],
        env=base_environment() | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_page_is_served(server: Server) -> None:
    with Wire(server.url) as wire:
        assert b"static-files/static/js/main" in wire.ask("GET", "/").body
    assert f"web page   {server.url}/" in server.log()


def test_a_bridged_route_says_what_is_lacking(server: Server) -> None:
    with Wire(server.url) as wire:
        answer = wire.ask("GET", BRIDGED)
    assert (answer.status, answer.json()["error_code"]) == (501, "NOT_IMPLEMENTED")
    message = answer.json()["message"]
    assert LACKS in message
    assert f"{install_command('mlflow')}, then restart headrace" in message


def test_an_artifact_store_of_mlflow_says_what_is_lacking(server: Server) -> None:
    with Wire(server.url) as wire:
        answer = wire.ask("GET", "/api/2.0/mlflow-artifacts/artifacts/x")
    assert answer.status == 501
    assert install_command("mlflow") in answer.json()["message"]


def test_the_start_and_the_list_of_routes_say_it_too(
    server: Server, environment: dict[str, str]
) -> None:
    assert LACKS in server.log()
    listed = command(environment, "routes")
    assert listed.returncode == 0
    assert LACKS in listed.stdout.splitlines()[-1]


def test_a_migration_says_what_is_lacking(tmp_path: Path, environment: dict[str, str]) -> None:
    with sqlite3.connect(tmp_path / "old.db") as old:
        old.execute("CREATE TABLE experiments (experiment_id INTEGER)")
        old.execute("CREATE TABLE alembic_version (version_num TEXT)")
        old.execute("INSERT INTO alembic_version VALUES ('451aebb31d03')")
    done = command(environment, "db", "upgrade", f"sqlite:///{tmp_path}/old.db")
    assert done.returncode == 1
    assert "not with the packages that it requires" in done.stderr
    assert not [*tmp_path.glob("*.bak")], "nothing was begun"


def test_an_mlflow_of_another_schema_is_named_at_the_start(tmp_path: Path) -> None:
    """The installed release does not know the database's schema; headrace itself serves an old one."""
    with headrace(f"sqlite:///{tmp_path}/m.db", tmp_path) as made, Wire(made.url) as wire:
        assert wire.ask("GET", "/health").status == 200
    with sqlite3.connect(tmp_path / "m.db") as old:
        old.execute("UPDATE alembic_version SET version_num = '1b5f0d9ad7c1'")
    with headrace(f"sqlite:///{tmp_path}/m.db", tmp_path) as server:
        assert "but the database is at 1b5f0d9ad7c1 (MLflow 3.10)" in server.log()
        with Wire(server.url) as wire:
            answer = wire.ask("GET", BRIDGED)
        assert answer.status == 501
