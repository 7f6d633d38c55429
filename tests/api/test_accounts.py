"""Promises of the routes of users, roles and grants beyond the answers of stock."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

import pytest
from tests.fix_logins import ADMIN, ADMIN_PASSWORD, PASSWORD, SECRET_KEY, Client, with_users
from tests.fix_server import headrace
from tests.fix_users import accounts_in

from headrace.auth import roles, users
from headrace.auth.failures import PER_USER
from headrace.auth.tokens import Tokens

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.fix_server import Server

    from headrace.db.base import Tx

V2: Final = "/api/2.0/mlflow"
V3: Final = "/api/3.0/mlflow"
CREATE: Final = f"{V2}/users/create"
MANY: Final = 12  # concurrent requests


@pytest.fixture
def server(uri: str, tmp_path: Path) -> Iterator[Server]:
    """A server with users."""
    with with_users(uri, tmp_path) as started:
        yield started


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    """A connection to it."""
    with closing(Client(server.url)) as connected:
        yield connected


def at_once(url: str, *requests: tuple[str, str, str, Any]) -> list[int]:
    """The statuses of concurrent requests."""

    def send(request: tuple[str, str, str, Any]) -> int:
        with closing(Client(url)) as own:
            return own.ask(*request).status

    with ThreadPoolExecutor(len(requests)) as pool:
        return list(pool.map(send, requests))


def test_without_users_the_routes_do_not_exist(uri: str, tmp_path: Path) -> None:
    with headrace(uri, tmp_path) as server, closing(Client(server.url)) as client:
        for path in (f"{V2}/users/current", "/ajax-api/2.0/mlflow/users/current", "/signup"):
            assert client.ask(None, "GET", path).status == 404
        described = client.ask(None, "GET", "/openapi.json").json()
        assert not [path for path in described["paths"] if "/users/" in path]


def test_a_name_that_is_taken_is_said_without_the_statement(client: Client) -> None:
    client.add_user("ann")
    answer = client.ask(ADMIN, "POST", CREATE, {"username": "ann", "password": PASSWORD})
    assert answer.status == 400
    assert answer.json()["error_code"] == "RESOURCE_ALREADY_EXISTS"
    assert answer.json()["message"] == "User (username=ann) already exists."


UNSTORABLE: Final = (
    {"username": "x\0y", "password": PASSWORD},
    {"username": "x" * 256, "password": PASSWORD},
    {"username": ["x"], "password": PASSWORD},
    {"username": "x", "password": True},
    {"username": "x", "password": {"a": "b"}},
)
BEYOND_ALL_IDS: Final = (2**31, 2**63, 2**70, -1, 0, "9" * 30, 1e308)


def test_a_value_that_cannot_be_stored_is_refused(client: Client) -> None:
    for payload in UNSTORABLE:
        answer = client.ask(ADMIN, "POST", CREATE, payload)
        assert answer.status == 400, answer
        assert answer.json()["error_code"] == "INVALID_PARAMETER_VALUE"


def test_a_number_beyond_all_ids_names_nothing(client: Client) -> None:
    client.add_user("ann")
    for number in BEYOND_ALL_IDS:
        for method, path, payload in (
            ("PATCH", "roles/update", {"name": "x"}),
            ("DELETE", "roles/delete", {}),
            ("POST", "roles/assign", {"username": "ann"}),
            ("DELETE", "roles/unassign", {"username": "ann"}),
        ):
            sent = payload | {"role_id": number}
            assert client.ask(ADMIN, method, f"{V3}/{path}", sent).status == 404, path
            assert client.ask("ann", method, f"{V3}/{path}", sent).status == 403, path
        for path in ("roles/get", "roles/users/list"):
            answer = client.ask(ADMIN, "GET", f"{V3}/{path}?role_id={number}")
            assert answer.status == (400 if isinstance(number, float) else 404), path


def test_a_change_counts_at_once_at_another_process(uri: str, tmp_path: Path) -> None:
    with ExitStack() as stack:
        first, second = (stack.enter_context(with_users(uri, tmp_path)) for _ in range(2))
        one, other = (
            stack.enter_context(closing(Client(server.url))) for server in (first, second)
        )
        one.add_user("ann")
        current = f"{V2}/users/current"
        assert other.ok("ann", "GET", current)["user"]["is_admin"] is False
        one.ok(ADMIN, "PATCH", f"{V2}/users/update-admin", {"username": "ann", "is_admin": True})
        assert other.ok("ann", "GET", current)["user"]["is_admin"] is True
        change = {"username": "ann", "password": "another-password"}
        one.ok(ADMIN, "PATCH", f"{V2}/users/update-password", change)
        assert other.ask("ann", "GET", current).status == 401
        assert other.ask("ann", "GET", current, password="another-password").status == 200
        one.ok(ADMIN, "DELETE", f"{V2}/users/delete", {"username": "ann"})
        assert other.ask("ann", "GET", current, password="another-password").status == 401


def test_of_concurrent_users_with_one_name_one_is_made(server: Server, client: Client) -> None:
    request = (ADMIN, "POST", CREATE, {"username": "ann", "password": PASSWORD})
    assert sorted(at_once(server.url, *[request] * MANY)) == [200] + [400] * (MANY - 1)
    listed = client.ok(ADMIN, "GET", f"{V2}/users/list")["users"]
    assert [user["username"] for user in listed] == [ADMIN, "ann"]


def test_concurrent_grants_to_one_user_are_all_stored(server: Server, client: Client) -> None:
    client.add_user("ann")
    grants = [
        (
            ADMIN,
            "POST",
            f"{V3}/users/permissions/grant",
            {
                "username": "ann",
                "resource_type": "experiment",
                "resource_id": str(n),
                "permission": "EDIT",
            },
        )
        for n in range(MANY)
    ]
    assert at_once(server.url, *grants) == [200] * MANY
    held = client.ok("ann", "GET", f"{V3}/users/current/permissions")["permissions"]
    assert sorted(int(row["resource_pattern"]) for row in held) == list(range(MANY))
    assert len({row["role_id"] for row in held}) == 1


@pytest.mark.parametrize("spelled", ["07", " 7", "+7", "\u0667", 7])
def test_a_grant_on_an_experiment_holds_however_its_id_is_written(
    client: Client, spelled: str | int
) -> None:
    """The tracking database knows ids as numbers; so does 3.18."""
    client.add_user("ann")
    routes = f"{V3}/users/permissions"
    for type_, id_, stored in (
        ("experiment", spelled, "7"),
        ("scorer", f"{spelled}/s%2F07", "7/s%2F07"),
        ("registered_model", spelled, str(spelled)),
    ):
        key = {"username": "ann", "resource_type": type_, "resource_id": id_}
        client.ok(ADMIN, "POST", f"{routes}/grant", key | {"permission": "DENY"})
        again = client.ask(ADMIN, "POST", f"{routes}/grant", key | {"permission": "READ"})
        assert f"resource_id={stored} already exists" in again.json()["message"]
        level = client.ok(ADMIN, "GET", f"{routes}/get?{urlencode(key)}")
        assert level == {"allowed": False, "permission": "DENY"}
        (held,) = client.ok("ann", "GET", f"{V3}/users/current/permissions")["permissions"]
        assert held["resource_pattern"] == stored
        client.ok(ADMIN, "POST", f"{routes}/revoke", key)
    role = client.ok(ADMIN, "POST", f"{V3}/roles/create", {"name": "team", "workspace": "default"})
    new = {"role_id": role["role"]["id"], "resource_type": "experiment", "permission": "DENY"}
    path = f"{V3}/roles/permissions/add"
    made = client.ok(ADMIN, "POST", path, new | {"resource_pattern": spelled})
    assert made["role_permission"]["resource_pattern"] == "7"


def test_a_user_who_is_deleted_during_other_changes_leaves_nothing(
    server: Server, client: Client
) -> None:
    role = client.ok(ADMIN, "POST", f"{V3}/roles/create", {"name": "team", "workspace": "default"})[
        "role"
    ]["id"]
    for round_ in range(5):
        name = f"user-{round_}"
        client.add_user(name)
        grant = {
            "username": name,
            "resource_type": "experiment",
            "resource_id": "1",
            "permission": "READ",
        }
        statuses = at_once(
            server.url,
            (ADMIN, "POST", f"{V3}/users/permissions/grant", grant),
            (ADMIN, "POST", f"{V3}/roles/assign", {"username": name, "role_id": role}),
            (ADMIN, "DELETE", f"{V2}/users/delete", {"username": name}),
            (ADMIN, "PATCH", f"{V2}/users/update-admin", {"username": name, "is_admin": True}),
            (ADMIN, "POST", f"{V3}/users/permissions/grant", grant | {"resource_id": "2"}),
        )
        assert set(statuses) <= {200, 404}, statuses
        assert statuses[2] == 200
    assert client.ok(ADMIN, "GET", f"{V3}/roles/users/list?role_id={role}") == {"assignments": []}
    found = client.ok(ADMIN, "GET", f"{V3}/roles/list")["roles"]
    assert [one["name"] for one in found] == ["team"]


def test_a_role_that_is_deleted_during_other_changes_leaves_nothing(
    server: Server, client: Client
) -> None:
    client.add_user("ann")
    for round_ in range(5):
        made = {"name": f"role-{round_}", "workspace": "default"}
        role = client.ok(ADMIN, "POST", f"{V3}/roles/create", made)["role"]["id"]
        permission = {"role_id": role, "resource_pattern": "*", "permission": "READ"}
        added = f"{V3}/roles/permissions/add"
        statuses = at_once(
            server.url,
            (ADMIN, "POST", added, permission | {"resource_type": "experiment"}),
            (ADMIN, "POST", added, permission | {"resource_type": "run"}),
            (ADMIN, "POST", f"{V3}/roles/assign", {"username": "ann", "role_id": role}),
            (ADMIN, "PATCH", f"{V3}/roles/update", {"role_id": role, "description": "d"}),
            (ADMIN, "DELETE", f"{V3}/roles/delete", {"role_id": role}),
        )
        assert set(statuses) <= {200, 404}, statuses
        assert statuses[-1] == 200
    assert client.ok("ann", "GET", f"{V3}/users/current/permissions")["permissions"] == []
    assert client.ok(ADMIN, "GET", f"{V3}/roles/list") == {"roles": []}


async def fill(tx: Tx) -> None:
    """250 users with two roles each, and one user with 2,600 permissions."""
    team = await roles.create(tx, "team", "default", None)
    for n in range(3):
        await roles.add_permission(tx, team.id, "experiment", str(n), "READ")
    for n in range(250):
        name = f"user {n}"
        await users.create(tx, name, "!")
        own = await roles.create(tx, f"role {n}", "default" if n % 2 else "other", "d")
        await roles.assign(tx, name, team.id)
        await roles.assign(tx, name, own.id)
        for m in range(2600 if n == 120 else 2):
            await roles.add_permission(tx, own.id, "registered_model", f"ä{m}", "EDIT")


async def test_long_lists_are_complete_and_sent_in_parts(uri: str, tmp_path: Path) -> None:
    async with accounts_in(uri) as accounts:
        await accounts.db.write(fill)
    with with_users(uri, tmp_path) as server, closing(Client(server.url)) as client:
        answer = client.ask(ADMIN, "GET", f"{V2}/users/list")
        assert answer.headers["transfer-encoding"] == "chunked"
        listed = answer.json()["users"][:-1]  # the admin is the last one
        assert [user["username"] for user in listed] == [f"user {n}" for n in range(250)]
        for n, user in enumerate(listed):
            team, own = user["roles"]
            assert (team["name"], len(team["permissions"])) == ("team", 3)
            assert own["name"] == f"role {n}"
            patterns = [row["resource_pattern"] for row in own["permissions"]]
            assert patterns == [f"ä{m}" for m in range(2600 if n == 120 else 2)]
        assert canonical(answer.json()) == answer.body
        long, short = listed[120]["roles"][1], listed[121]["roles"][1]
        assert client.ok(ADMIN, "GET", f"{V3}/roles/get?role_id={long['id']}") == {"role": long}
        assert client.ok(ADMIN, "GET", f"{V3}/roles/get?role_id={short['id']}") == {"role": short}
        found = client.ok(ADMIN, "GET", f"{V3}/roles/permissions/list?role_id={long['id']}")
        assert found == {"role_permissions": long["permissions"]}
        found = client.ok(ADMIN, "GET", f"{V3}/users/permissions/list?username=user%20120")
        assert len(found["permissions"]) == 2603
        found = client.ok(ADMIN, "GET", f"{V3}/roles/list?workspace=other")["roles"]
        assert [role["name"] for role in found] == [f"role {n}" for n in range(0, 250, 2)]
        assigned = client.ok(ADMIN, "GET", f"{V3}/roles/users/list?role_id={team['id']}")
        assert len(assigned["assignments"]) == 250


def canonical(value: Any) -> bytes:
    """JSON with sorted keys and a final newline."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode() + b"\n"


def test_each_change_is_logged_without_values(server: Server, client: Client) -> None:
    client.add_user("ann")
    change = {"username": "ann", "password": "another-password"}
    client.ok(ADMIN, "PATCH", f"{V2}/users/update-password", change)
    role = {"name": "team", "workspace": "default", "description": "a secret plan"}
    role_id = client.ok(ADMIN, "POST", f"{V3}/roles/create", role)["role"]["id"]
    client.ok(ADMIN, "POST", f"{V3}/roles/assign", {"username": "ann", "role_id": role_id})
    log = server.log()
    for action in ("user.create target=ann", "user.password target=ann", "role.create role=1"):
        assert f"changed user=admin client=127.0.0.1 action={action}" in log
    assert "action=role.assign target=ann role=1" in log
    for secret in (PASSWORD, "another-password", ADMIN_PASSWORD, "scrypt:", "a secret plan"):
        assert secret not in log


async def test_the_page_offers_to_change_a_password_only_if_one_was_sent(
    uri: str, server: Server, client: Client
) -> None:
    client.add_user("ann")
    async with accounts_in(uri) as accounts:
        account = await accounts.db.read(users.get, "ann")
    token = Tokens(SECRET_KEY).issue("ann", account, 1)
    current = f"{V2}/users/current"
    assert client.ok("ann", "GET", current)["is_basic_auth"] is True
    answer = client.ask(None, "GET", current, Authorization=f"Bearer {token}")
    assert answer.json()["user"]["username"] == "ann"
    assert answer.json()["is_basic_auth"] is False


def test_a_password_that_an_admin_sets_during_a_change_by_the_user_stays(
    server: Server, client: Client
) -> None:
    client.add_user("ann")
    current, path = f"{V2}/users/current", f"{V2}/users/update-password"
    client.ok("ann", "GET", current)  # verified, so that only new passwords are hashed below
    reset = {"username": "ann", "password": "the admin's password"}
    own = {"username": "ann", "password": "ann's new password", "current_password": PASSWORD}
    changes = [("ann", "PATCH", path, own)] * 3
    statuses = at_once(server.url, (ADMIN, "PATCH", path, reset), *changes)
    assert statuses[0] == 200
    assert set(statuses[1:]) <= {200, 400, 401}, "401: the reset came first"
    assert client.ask("ann", "GET", current, password="the admin's password").status == 200
    assert client.ask("ann", "GET", current, password="ann's new password").status == 401


async def test_guesses_of_the_current_password_are_limited(
    uri: str, server: Server, client: Client
) -> None:
    """With the address and the user of a failed login. A stolen token must not reveal the password."""
    client.add_user("ann", "bob")
    async with accounts_in(uri) as accounts:
        account = await accounts.db.read(users.get, "ann")
    token = "Bearer " + Tokens(SECRET_KEY).issue("ann", account, 1)

    def change(current: Any) -> Any:
        payload = {"username": "ann", "password": "another-password", "current_password": current}
        return client.ask(
            None, "PATCH", f"{V2}/users/update-password", payload, Authorization=token
        )

    for n in range(PER_USER.burst):
        answer = change(f"guess {n}")
        assert answer.status == 400
        assert answer.json()["message"] == "Current password does not match."
    assert change("guess 0").status == 400  # known to be wrong
    assert change(5).status == 400
    refused = change("one more guess")
    assert refused.status == 429
    assert 0 < int(refused.headers["retry-after"]) <= PER_USER.interval_s
    assert change(PASSWORD).status == 429
    current = f"{V2}/users/current"
    assert client.ask("ann", "GET", current, password="one more guess").status == 429
    assert client.ask("bob", "GET", current).status == 200
    assert "one more guess" not in server.log()
