"""headrace and stock MLflow serve one database of users in turn, or together.

In turn they leave the rows that either alone would leave. Together, each sees the other's changes
on the next request.
"""

from __future__ import annotations

import functools
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
from tests.faults.stored import rows
from tests.fix_database import empty_database
from tests.fix_server import Server, headrace, stock
from tests.fix_users import PASSWORD, Person, auth_environment

from headrace.auth import passwords

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SOAK = [pytest.mark.soak, pytest.mark.timeout(3600)]
SHORT = pytest.mark.timeout(900)  # starts of real servers, most of them stock MLflow
NEW = "another long password"
CHANGED = 2  # turns until the password of a user is changed
DELETED = 3  # turns until a user is deleted
APP = ("--app-name", "basic-auth")
QUICK = {
    "auth_cache_ttl_seconds": "3600"
}  # stock would hash each password up to six times a request
A2, A3 = "2.0/mlflow/", "3.0/mlflow/"
STATEMENTS = (
    "SELECT id, username, is_admin FROM users ORDER BY id",
    "SELECT * FROM roles ORDER BY id",
    "SELECT * FROM role_permissions ORDER BY id",
    "SELECT * FROM user_role_assignments ORDER BY id",
    "SELECT version_num FROM alembic_version_auth",
)


def work(server: Server, turn: int) -> None:
    """One turn: changes by an admin and by users whom this server or the other one made."""
    with Person(server.url) as root:
        name = f"user-{turn}"
        root.ok("POST", A2 + "users/create", username=name, password=PASSWORD)
        role = root.ok(
            "POST",
            A3 + "roles/create",
            name=f"role-{turn}",
            workspace="default",
            description=f"of turn {turn}",
        )["role"]["id"]
        on = {"role_id": role, "resource_type": "experiment", "resource_pattern": "*"}
        permission = root.ok("POST", A3 + "roles/permissions/add", **on, permission="EDIT")
        number = permission["role_permission"]["id"]
        update = {"role_permission_id": number, "permission": "READ" if turn % 2 else "MANAGE"}
        root.ok("PATCH", A3 + "roles/permissions/update", **update)
        root.ok("POST", A3 + "roles/assign", username=name, role_id=role)
        root.ok("PATCH", A2 + "users/update-admin", username=name, is_admin=turn % 2 == 0)
        grant = {"username": name, "resource_type": "experiment", "resource_id": "0"}
        root.ok("POST", A3 + "users/permissions/grant", **grant, permission="EDIT")
        if turn % 2:
            root.ok("POST", A3 + "users/permissions/revoke", **grant)
        change_older(root, turn)
    for older in range(max(0, turn - DELETED + 1), turn + 1):
        password = NEW if older <= turn - CHANGED else PASSWORD
        with Person(server.url, f"user-{older}", password) as person:
            create(person, f"{older}-{turn}")


def change_older(root: Person, turn: int) -> None:
    """Changes of what former turns have made."""
    if turn >= CHANGED:
        changed = {"username": f"user-{turn - CHANGED}", "password": NEW}
        root.ok("PATCH", A2 + "users/update-password", **changed)
    if turn >= DELETED:
        root.ok("DELETE", A2 + "users/delete", username=f"user-{turn - DELETED}")
        roles = root.ok("GET", A3 + "roles/list", workspace="default")["roles"]
        old = next(r["id"] for r in roles if r["name"] == f"role-{turn - DELETED}")
        renamed = {"role_id": old, "name": f"renamed-{turn}"}
        root.ok("PATCH", A3 + "roles/update", **renamed)
        if turn % 2:
            root.ok("DELETE", A3 + "roles/delete", role_id=old)


def create(person: Person, name: str) -> None:
    """A user's experiments and models: their creator gets grants, which deletion and renaming move."""
    person.ok("POST", A2 + "experiments/create", name=f"experiment-{name}")
    for kind in ("kept", "gone", "old"):
        person.ok("POST", A2 + "registered-models/create", name=f"{kind}-{name}")
    prompt = [{"key": "mlflow.prompt.is_prompt", "value": "true"}]
    person.ok("POST", A2 + "registered-models/create", name=f"prompt-{name}", tags=prompt)
    person.ok("DELETE", A2 + "registered-models/delete", name=f"gone-{name}")
    person.ok("POST", A2 + "registered-models/rename", name=f"old-{name}", new_name=f"new-{name}")


@pytest.fixture
def uris(
    kind: str, place: str, request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[tuple[str, str]]:
    """Empty databases for both servers in turn: of experiments, and of users."""
    with ExitStack() as stack:
        tracking = users = stack.enter_context(empty_database(kind, request, tmp_path, "turns"))
        if place == "own":
            users = stack.enter_context(empty_database(kind, request, tmp_path, "users"))
        yield tracking, users


def stored_rows(users: str) -> dict[str, Any]:
    """The rows of each statement."""
    return {statement: rows(users, statement) for statement in STATEMENTS}


@pytest.fixture(scope="module")
def rows_of_stock(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str, int], dict[str, Any]]:
    """The rows that stock alone leaves after a number of turns: the same in whichever database."""

    @functools.cache
    def left(kind: str, turns: int) -> dict[str, Any]:
        directory = tmp_path_factory.mktemp("stock")
        with empty_database(kind, request, directory) as uri:
            environment = auth_environment(directory, uri, **QUICK)
            with stock(uri, directory, *APP, environment=environment) as server:
                for turn in range(turns):
                    work(server, turn)
            return stored_rows(uri)

    return left


def combinations() -> Iterator[Any]:
    """One change of servers on each database in the quick tests, ten of every kind in the soak tests.

    Only the long ones change and delete users of former turns.
    """
    yield pytest.param("sqlite", "same", 2, "headrace", marks=SHORT)
    yield pytest.param("postgres", "own", 2, "stock", marks=SHORT)
    for kind in ("sqlite", "postgres"):
        for place in ("same", "own"):
            for first in ("headrace", "stock"):
                yield pytest.param(kind, place, 11, first, marks=SOAK)


@pytest.mark.parametrize(("kind", "place", "turns", "first"), list(combinations()))
def test_users_after_turns_of_both_are_those_of_one(
    uris: tuple[str, str],
    kind: str,
    turns: int,
    first: str,
    tmp_path: Path,
    rows_of_stock: Callable[[str, int], dict[str, Any]],
) -> None:
    """Users whom either made log in at the other; ids, grants and roles are those of stock alone.

    `place`: the users are in the same database as the experiments, or in one of their own.
    """
    order = (headrace, stock) if first == "headrace" else (stock, headrace)
    tracking, users = uris
    for turn in range(turns):
        environment = auth_environment(tmp_path, users, **QUICK)
        with order[turn % 2](tracking, tmp_path, *APP, environment=environment) as server:
            work(server, turn)
    assert stored_rows(users) == rows_of_stock(kind, turns)
    for name, stored in rows(users, "SELECT username, password_hash FROM users"):
        known = passwords.parse(stored)
        assert known is not None
        is_changed = name != "root" and int(name.removeprefix("user-")) <= turns - 1 - CHANGED
        assert known.matches(NEW if is_changed else PASSWORD), name


@pytest.mark.timeout(600)
def test_what_stock_changes_counts_on_the_next_request(
    database: str, uri: str, tmp_path: Path
) -> None:
    """Also for a credential that headrace has verified before."""
    environment = auth_environment(tmp_path, uri, default_permission="NO_PERMISSIONS")
    with (
        headrace(uri, tmp_path, *APP, environment=environment) as ours,
        stock(uri, tmp_path, *APP, environment=environment) as theirs,
        Person(theirs.url) as root,
        Person(ours.url, "ann") as ann,
        Person(ours.url, "ann", NEW) as new_ann,
    ):

        def status(person: Person = ann, method: str = "GET", **fields: Any) -> int:
            path = "experiments/get" if method == "GET" else "experiments/set-experiment-tag"
            return person.call(method, A2 + path, experiment_id="0", **fields).status

        assert status() == 401
        root.ok("POST", A2 + "users/create", username="ann", password=PASSWORD)
        assert status() == 403
        role = root.ok("POST", A3 + "roles/create", name="team", workspace="default")["role"]["id"]
        on = {"role_id": role, "resource_type": "experiment", "resource_pattern": "0"}
        added = root.ok("POST", A3 + "roles/permissions/add", **on, permission="READ")
        assert status() == 403
        root.ok("POST", A3 + "roles/assign", username="ann", role_id=role)
        assert status() == 200
        tag = {"key": "k", "value": "v"}
        assert status(method="POST", **tag) == 403
        number = added["role_permission"]["id"]
        update = {"role_permission_id": number, "permission": "EDIT"}
        root.ok("PATCH", A3 + "roles/permissions/update", **update)
        assert status(method="POST", **tag) == 200
        root.ok("DELETE", A3 + "roles/unassign", username="ann", role_id=role)
        assert status() == 403
        root.ok("PATCH", A2 + "users/update-admin", username="ann", is_admin=True)
        assert status() == 200
        root.ok("PATCH", A2 + "users/update-password", username="ann", password=NEW)
        assert (status(), status(new_ann)) == (401, 200)
        root.ok("DELETE", A2 + "users/delete", username="ann")
        assert status(new_ann) == 401
