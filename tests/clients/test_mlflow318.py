"""MLflow 3.18 beside headrace, and databases at its schema: what works, and that nothing is migrated unasked."""

from __future__ import annotations

import re
import sqlite3
import subprocess
import sys
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import pytest
from tests.compat import issues_318, newer_318
from tests.compat.dialogue import Dialogue, Player
from tests.compat.normalise import Twins, compared
from tests.compat.url_map import url_map
from tests.fix_clients import beside, mlflow318
from tests.fix_database import empty_database
from tests.fix_postgres import fresh_database
from tests.fix_server import ROOT, base_environment, headrace, stock
from tests.sql.dumps import restore_postgres, restore_sqlite
from tests.wire import Wire

from headrace.bridge.routes import is_since, rows, spellings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.clients, pytest.mark.timeout(600)]
HEAD_317, HEAD_318 = "dc11669786a5", "f4a9b2c7d1e6"
BRIDGED = "/api/3.0/mlflow/mcp-servers"
SKILLS = "/api/3.0/mlflow/skills"


@pytest.fixture(scope="module", name="beside")
def beside_318() -> dict[str, str]:
    """Variables with which headrace finds mlflow 3.18 in place of 3.17."""
    return beside(mlflow318())


def head_of(path: Path) -> str:
    with closing(sqlite3.connect(path)) as connection:
        found: str = connection.execute("SELECT version_num FROM alembic_version").fetchone()[0]
    return found


def command(environment: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "headrace.commands.cli", *words]
    env = base_environment() | environment
    return subprocess.run(argv, env=env, capture_output=True, text=True, check=False)


def test_a_database_is_migrated_by_the_command_alone(
    tmp_path: Path, beside: dict[str, str]
) -> None:
    """At the schema of 3.17: native routes and the page work; bridged ones name the command."""
    path = tmp_path / "mlflow.db"
    uri = f"sqlite:///{path}"
    with headrace(uri, tmp_path, environment=beside) as server, Wire(server.url) as wire:
        assert f"headrace db upgrade {uri}" in server.log()
        page = wire.ask("GET", "/").body.decode()
        script = re.search(r"static-files/static/js/main\.\w+\.js", page)
        assert script is not None
        assert wire.ask("GET", f"/{script[0]}").status == 200
        assert wire.ask("GET", "/api/2.0/mlflow/experiments/search?max_results=1").status == 200
        answer = wire.ask("GET", BRIDGED)
        assert answer.status == 501
        assert "headrace db upgrade URI" in answer.json()["message"]
        assert "starting MLflow" not in server.log()
    assert head_of(path) == HEAD_317
    assert f"solve it with: headrace db upgrade {uri}" in command(beside, "doctor", uri).stdout
    upgraded = command(beside, "db", "upgrade", uri)
    assert upgraded.returncode == 0, upgraded.stderr
    assert head_of(path) == HEAD_318
    assert head_of(tmp_path / f"mlflow.db.{HEAD_317}.bak") == HEAD_317
    again = command(beside, "db", "upgrade", uri)
    assert (again.returncode, f"{HEAD_318} (MLflow 3.18)" in again.stdout) == (0, True)
    assert "PROBLEM" not in command(beside, "doctor", uri).stdout
    with headrace(uri, tmp_path, environment=beside) as server, Wire(server.url) as wire:
        for route in (BRIDGED, SKILLS):
            answer = wire.ask("GET", route)
            assert answer.status == 200, str(answer)
        assert server.log().count("starting MLflow 3.18") == 1


def test_an_older_mlflow_is_not_started_on_a_newer_database(tmp_path: Path) -> None:
    """The installed 3.17 beside a database at the schema of 3.18."""
    path = restore_sqlite("3.18.0", tmp_path / "mlflow.db")
    uri = f"sqlite:///{path}"
    install = "pip install 'mlflow==3.18.*'"
    with headrace(uri, tmp_path) as server, Wire(server.url) as wire:
        assert f"{HEAD_318} (MLflow 3.18)" in server.log()
        assert install in server.log()
        answer = wire.ask("GET", BRIDGED)
        assert answer.status == 501
        assert install in answer.json()["message"]
        assert wire.ask("GET", SKILLS).status == 404, "3.17 has no such route"
        assert "starting MLflow" not in server.log()
    assert install in command({}, "doctor", uri).stdout
    refused = command({}, "db", "upgrade", uri)
    assert (refused.returncode, install in refused.stderr) == (1, True)
    assert head_of(path) == HEAD_318


def test_the_table_is_the_url_map_of_3_18(tmp_path: Path) -> None:
    table = {
        (method, spelling)
        for line in rows()
        if is_since("3.18.0", line.since)
        for method in line.methods
        for spelling in spellings(line.path)
    }
    theirs = url_map(str(mlflow318().python), tmp_path)
    assert sorted(theirs - table) == []
    assert sorted(table - theirs) == []


@pytest.fixture
def both(
    database: str, request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[tuple[Wire, Wire]]:
    """Stock 3.18, and headrace without a bridge on a database at its schema."""
    theirs, ours = tmp_path / "stock", tmp_path / "ours"
    theirs.mkdir()
    ours.mkdir()
    python = str(mlflow318().python)
    with empty_database(database, request, theirs) as uri, stock(uri, theirs, python=python) as one:
        if database == "sqlite":
            restore_sqlite("3.18.0", ours / "mlflow.db")
            with (
                headrace_alone(f"sqlite:///{ours}/mlflow.db", ours) as wire,
                Wire(one.url) as other,
            ):
                yield other, wire
            return
        with fresh_database(request.getfixturevalue("postgres_server")) as mine:
            restore_postgres("3.18.0", mine)
            with headrace_alone(mine, ours) as wire, Wire(one.url) as other:
                yield other, wire


@contextmanager
def headrace_alone(uri: str, directory: Path) -> Iterator[Wire]:
    """A connection to headrace without its bridge."""
    off = {"HEADRACE_BRIDGE": "off"}
    with headrace(uri, directory, environment=off) as server, Wire(server.url) as wire:
        yield wire


def test_issues_are_as_in_3_18(both: tuple[Wire, Wire]) -> None:
    assert not (wrong := unlike(both, issues_318.DIALOGUES)), "\n".join(wrong)


def test_other_answers_that_3_18_changes_are_as_in_3_18(both: tuple[Wire, Wire]) -> None:
    assert not (wrong := unlike(both, newer_318.DIALOGUES)), "\n".join(wrong)


def unlike(both: tuple[Wire, Wire], dialogues: tuple[Dialogue, ...]) -> list[str]:
    """The differences between the answers of both."""
    wrong: list[str] = []
    for dialogue in dialogues:
        twins = Twins({}, {})
        sides = [Player(wire).play(dialogue) for wire in both]
        for (ask, theirs), (_, ours) in zip(*sides, strict=True):
            found = compared(theirs.answer, ours.answer, twins, ("metadata", *ask.unordered))
            if found:
                wrong += [dialogue.key(ask), *(f"    {line[:1000]}" for line in found[:6])]
    return wrong


def test_the_script_says_what_3_18_changes() -> None:
    argv = [sys.executable, "-m", "tests.compat.new_release", str(mlflow318().python)]
    env = base_environment()
    done = subprocess.run(argv, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "added    GET /api/3.0/mlflow/skills\n" in done.stdout
    assert "removed" not in done.stdout
    assert "not in bridge/routes.py" not in done.stdout
    assert "is not in db/schema/heads.py" not in done.stdout
    assert "issue_categories" in done.stdout
    assert "443 create, bad severity (issues)" in done.stdout
