"""`headrace auth`: real processes on the database of users, and stock MLflow's store on the same rows."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from tests.fix_server import base_environment, stock_uri
from tests.fix_users import accounts_in
from tests.fix_workspaces import execute

from headrace.auth import grants, roles, users
from headrace.auth.authority import Unauthenticated
from headrace.auth.tokens import Tokens

if TYPE_CHECKING:
    from pathlib import Path

    from headrace.auth.roles import Permission

PASSWORD = "a right long password"
KEY = "the key of the servers"
# Prints, for pairs of user and password, whether stock MLflow accepts them and the user is an admin.
_ASK_STOCK = """
import sys
from mlflow.server.auth.sqlalchemy_store import SqlAlchemyStore
store = SqlAlchemyStore()
store.init_db(sys.argv[1])
for name, password in zip(sys.argv[2::2], sys.argv[3::2]):
    print(store.authenticate_user(name, password), store.get_user(name).is_admin)
"""


class Auth:
    """Runs `headrace auth` on a database."""

    def __init__(self, uri: str, directory: Path) -> None:
        self.uri = uri
        self.directory = directory

    def run(self, *words: str, stdin: str = "", **environ: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(
            [sys.executable, "-m", "headrace", "auth", *words, "--database-uri", self.uri],
            cwd=self.directory,
            env=base_environment() | environ,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def ok(self, *words: str, stdin: str = "", **environ: str) -> str:
        """The output of a command that succeeds; it never repeats the password."""
        done = self.run(*words, stdin=stdin, **environ)
        assert done.returncode == 0, done.stderr
        assert PASSWORD not in done.stdout + done.stderr
        return done.stdout

    def fails(self, *words: str, stdin: str = "", **environ: str) -> str:
        """The error of a command that fails."""
        done = self.run(*words, stdin=stdin, **environ)
        assert done.returncode in (1, 2) and done.stdout == ""
        assert "Traceback" not in done.stderr
        return " ".join(done.stderr.split())


@pytest.fixture
def auth(uri: str, tmp_path: Path) -> Auth:
    """The command on a database that a server with users has opened before."""

    async def make() -> None:
        async with accounts_in(uri):
            pass

    asyncio.run(make())
    return Auth(uri, tmp_path)


@pytest.mark.timeout(400)  # a dozen processes, one of them stock MLflow
def test_users_are_added_listed_and_deleted(auth: Auth) -> None:
    """Stock MLflow accepts their passwords."""
    assert auth.ok("user", "add", "ann", stdin=PASSWORD + "\n") == "added the user ann\n"
    auth.ok("user", "add", "root", "--admin", stdin=PASSWORD)
    assert "already exists" in auth.fails("user", "add", "ann", stdin=PASSWORD)
    assert "at least 12 characters" in auth.fails("user", "add", "bob", stdin="short\n")
    # It would have the hash of a shorter password.
    two_lines = f"{PASSWORD}\n{PASSWORD}\n"  # as for the two questions of a terminal
    assert "more than one line" in auth.fails("user", "add", "bob", stdin=two_lines)
    assert "NUL" in auth.fails("user", "add", "bob", stdin="a short one" + "\0" * 9)

    auth.ok("user", "set-password", "ann", stdin="another long password\n")
    asked = ("root", PASSWORD, "ann", PASSWORD, "ann", "another long password")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _ASK_STOCK, stock_uri(auth.uri), *asked],
        check=True,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.stdout.splitlines() == ["True True", "False False", "True False"]
    auth.ok("grant", "ann", "experiment", "1", "EDIT")
    listed = [line.split() for line in auth.ok("user", "list").splitlines()]
    assert listed == [["user", "admin", "roles"], ["ann"], ["root", "yes"]]
    auth.ok("user", "delete", "ann")
    assert "User with username=ann not found" in auth.fails("user", "delete", "ann")
    assert "ann" not in auth.ok("user", "list")


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals")
def test_at_a_terminal_the_password_is_asked_for_twice_and_not_shown(auth: Auth) -> None:
    import pty

    words = ("auth", "user", "add", "ann", "--database-uri", auth.uri)
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "headrace", *words],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=base_environment(),
        start_new_session=True,
    ) as process:
        os.close(theirs)
        shown = b""
        for prompt in (b"Password", b"Repeat for confirmation"):
            while prompt not in shown:
                shown += os.read(ours, 1000)
            os.write(ours, PASSWORD.encode() + b"\n")
        while b"added the user ann" not in shown:
            shown += os.read(ours, 1000)
        assert process.wait(60) == 0
    os.close(ours)
    assert PASSWORD.encode() not in shown
    assert "ann" in auth.ok("user", "list")


def test_changes_are_lines_of_the_audit_log(auth: Auth) -> None:
    """On stderr, in the format of the server's log, without passwords; refused ones have no line."""
    lines = []
    for words in (
        ("user", "add", "ann"),
        ("user", "add", "ann"),
        ("grant", "ann", "experiment", "7", "EDIT"),
        ("revoke", "ann", "experiment", "7"),
        ("user", "set-password", "ann"),
        ("user", "list"),
        ("user", "delete", "ann"),
    ):
        done = auth.run(*words, stdin=PASSWORD, HEADRACE_LOG_FORMAT="json")
        assert PASSWORD not in done.stderr
        lines += [json.loads(one) for one in done.stderr.splitlines() if one.startswith("{")]
    assert {line["logger"] for line in lines} == {"headrace.audit"}
    assert {line["client"] for line in lines} == {"command"}
    assert [(line["action"], line["target"]) for line in lines] == [
        (action, "ann")
        for action in ("user.create", "grant.add", "grant.remove", "user.password", "user.delete")
    ]


def test_grants(auth: Auth) -> None:
    auth.ok("user", "add", "ann", stdin=PASSWORD)
    auth.ok("grant", "ann", "registered_model", "*", "READ")
    auth.ok("grant", "ann", "experiment", "12", "EDIT")
    assert "already exists" in auth.fails("grant", "ann", "experiment", "12", "READ")
    assert "Invalid permission 'ALL'" in auth.fails("grant", "ann", "experiment", "1", "ALL")
    assert "already exists" in auth.fails("grant", "ann", "experiment", "012", "READ")
    assert "experiment 12 " in auth.ok("revoke", "ann", "experiment", " 12")
    assert "not found" in auth.fails("revoke", "ann", "experiment", "12")

    async def read() -> list[Permission]:
        async with accounts_in(auth.uri) as accounts:
            ann = await accounts.db.read(users.get, "ann")
            role_id = await accounts.db.read(grants.own_role_id, ann)
            assert role_id is not None
            return await accounts.db.read(roles.permissions, [role_id], (0, 0), 9)

    (only,) = asyncio.run(read())
    assert (only.resource_type, only.resource_pattern, only.permission) == (
        "registered_model",
        "*",
        "READ",
    )


def test_a_grant_is_of_a_workspace(auth: Auth) -> None:
    auth.ok("user", "add", "ann", stdin=PASSWORD)
    auth.ok("grant", "ann", "experiment", "12", "EDIT", "--workspace", "team-a")
    assert "not found" in auth.fails("revoke", "ann", "experiment", "12")
    refused = auth.fails("grant", "ann", "experiment", "1", "READ", "--workspace", "Team A")
    assert "not the name of a workspace" in refused
    auth.ok("revoke", "ann", "experiment", "12", "--workspace", "team-a")


def test_a_token_is_the_users_until_the_password_changes(auth: Auth) -> None:
    """It needs the key of the servers."""
    auth.ok("user", "add", "ann", stdin=PASSWORD)
    words = ("token", "ann", "--days", "30")
    assert "MLFLOW_FLASK_SERVER_SECRET_KEY" in auth.fails(*words)
    token = auth.ok(*words, MLFLOW_FLASK_SERVER_SECRET_KEY=KEY).strip()
    assert auth.fails("token", "zoe", "--days", "1", MLFLOW_FLASK_SERVER_SECRET_KEY=KEY)
    assert auth.fails("token", "ann", "--days", "0", MLFLOW_FLASK_SERVER_SECRET_KEY=KEY)

    async def confirm() -> None:
        async with accounts_in(auth.uri) as accounts:
            caller = Tokens(KEY).read(token)
            assert caller.name == "ann"
            await caller.confirm(await accounts.db.read(users.find, "ann"))

    asyncio.run(confirm())
    auth.ok("user", "set-password", "ann", stdin="another long password")
    with pytest.raises(Unauthenticated):
        asyncio.run(confirm())


def test_check_reports_the_schema(auth: Auth, tmp_path: Path) -> None:
    assert "f1a2b3c4d5e6" in auth.ok("db", "check")
    nowhere = Auth(f"sqlite:///{tmp_path}/nowhere.db", tmp_path)
    assert "no tables of users yet" in nowhere.ok("db", "check")
    assert "no tables of users yet" in nowhere.fails("user", "list")
    assert not (tmp_path / "nowhere.db").exists()


def test_the_database_is_that_of_the_configuration(auth: Auth, tmp_path: Path) -> None:
    """So that one file configures servers and commands."""
    auth.ok("user", "add", "ann", stdin=PASSWORD)
    path = tmp_path / "auth.ini"
    uri = auth.uri.replace("%", "%%")
    path.write_text(f"[mlflow]\ndefault_permission = READ\ndatabase_uri = {uri}\n")
    done = subprocess.run(
        [sys.executable, "-m", "headrace", "auth", "user", "list"],
        env=base_environment() | {"MLFLOW_AUTH_CONFIG_PATH": str(path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.splitlines()[1:] == ["ann"]


IN_TEAM_A = (
    "INSERT INTO experiments (experiment_id, name, lifecycle_stage, workspace)"
    " VALUES (7, 'e', 'active', 'team-a')"
)


def test_a_grant_on_an_experiment_that_does_not_exist_is_noted(auth: Auth) -> None:
    """If the tracking database is reached."""
    auth.ok("user", "add", "ann", stdin=PASSWORD)
    tracking = "sqlite:///tracking.db"
    made = subprocess.run(
        [sys.executable, "-m", "headrace", "db", "init", tracking],
        cwd=auth.directory, env=base_environment(), check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert "just created" in made.stdout and "Nothing to do" not in made.stdout
    execute(f"sqlite:///{auth.directory}/tracking.db", IN_TEAM_A)
    for workspace, experiment_id, is_noted in (
        ("default", "12", True),
        ("default", "0", False),
        ("team-a", "0", True),
        ("default", "7", True),
        ("team-a", "7", False),
    ):
        words = ("grant", "ann", "experiment", experiment_id, "EDIT", "--workspace", workspace)
        done = auth.run(*words, MLFLOW_BACKEND_STORE_URI=tracking)
        assert done.returncode == 0
        assert (f"has no experiment {experiment_id} (yet)" in done.stderr) == is_noted
