"""Every native route gives every kind of caller what stock MLflow with users gives: 401, 403, or an answer."""

from __future__ import annotations

import json
import shutil
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from tests.compat.population import Population
from tests.compat.users_matrix import CALLERS, JOBS, PARTS, Row, compared, row_of, rows, variants
from tests.fill import fill
from tests.fix_auth import credentials, headrace_with_users, password_of, stock_with_users
from tests.fix_database import empty_database
from tests.fix_postgres import fresh_database
from tests.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.wire import Answer

JSON = {"Content-Type": "application/json"}
API = "/api/2.0/mlflow/"
USERS = ("other", "nobody", "denied", "reader", "user", "editor", "subdenied", "manager", "chief")
LEVELS = {
    "reader": "READ", "user": "USE", "editor": "EDIT", "manager": "MANAGE", "subdenied": "MANAGE",
    "denied": "DENY",
}  # fmt: skip
GRANTED = (
    ("experiment", "1"),
    ("registered_model", "ma"),
    ("prompt", "pa"),
    ("scorer", "1/t"),
)
NAMES = {
    "run": "r",
    "logged_model": "m",
    "trace": "t",
    "dataset": "d",
    "unlinked dataset": "e",
    "issue": "i",
    "schema": "s",
    "secret": "s",
    "own secret": "s",
    "definition": "d",
    "own definition": "d",
    "endpoint": "e",
    "own endpoint": "e",
    "scorer": "s",
    "guardrail": "g",
    "online scorer": "s",
    "queue": "q",
    "queue of a user": "u",
    "role": 1,
    "permission": 1,
}


def headers_of(caller: str) -> dict[str, str]:
    """The credentials of a caller."""
    if caller == "anonymous":
        return {}
    if caller == "wrong-password":
        return credentials("reader", "not the password")
    return credentials(caller)


class Stock:
    """Prepares the databases through stock's own API."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire

    def ask(self, path: str, body: Any, method: str = "POST", by: str = "admin") -> Any:
        """The answer to a user's request, which must succeed."""
        answer = self.wire.ask(method, path, json.dumps(body).encode(), JSON | credentials(by))
        assert answer.status == 200, f"{path}: {answer}"
        return answer.json()

    def prepare(self) -> dict[str, Any]:
        """Users, roles and grants; experiments, runs and models. Returns the ids that are random."""
        for user in USERS:
            self.ask(API + "users/create", {"username": user, "password": password_of(user)})
        made = Population(self.ask).make()
        for user, level in LEVELS.items():
            for kind, id_ in (
                ("gateway_secret", made["secret"]),
                ("gateway_model_definition", made["definition"]),
                ("gateway_endpoint", made["endpoint"]),
            ):
                body = {"username": user, "resource_type": kind, "resource_id": id_}
                grant = "/api/3.0/mlflow/users/permissions/grant"
                self.ask(grant, body | {"permission": level})
            for kind, id_ in GRANTED:
                body = {"username": user, "resource_type": kind, "resource_id": id_}
                grant = "/api/3.0/mlflow/users/permissions/grant"
                # Only prompts of `editor` and stronger, so that grants on models show no effect.
                if kind != "prompt" or level in ("EDIT", "MANAGE"):
                    self.ask(grant, body | {"permission": level})
        queues = "/api/3.0/mlflow/review-queues/"
        queue = {"experiment_id": "1", "name": "Ma", "queue_type": "CUSTOM"}
        queue["users"] = ["user", "reader", "manager", "subdenied"]  # type: ignore[assignment]
        queue = self.ask(queues + "create", queue, by="editor")["review_queue"]
        own = {"experiment_id": "1", "user": "editor"}
        own = self.ask(queues + "get-or-create-user", own, by="editor")["review_queue"]
        parts = [*PARTS, "gateway_secret"]
        self.role("subdenied", [(part, "DENY") for part in parts])
        self.role("chief", [("workspace", "MANAGE"), ("run", "DENY")])
        spare = self.role("other", [("experiment", "READ")], name="spare")
        return {
            **made,
            **spare,
            "queue": queue["queue_id"],
            "queue of a user": own["queue_id"],
        }

    def role(
        self, user: str, grants: list[tuple[str, str]], name: str | None = None
    ) -> dict[str, Any]:
        """Give a user a role with grants on whole types; the ids of the role and of its last grant."""
        roles = "/api/3.0/mlflow/roles/"
        given = {"name": name or f"of {user}", "workspace": "default"}
        role = self.ask(roles + "create", given)["role"]
        made: Any = None
        for kind, level in grants:
            grant = {"resource_type": kind, "resource_pattern": "*", "permission": level}
            made = self.ask(roles + "permissions/add", {"role_id": role["id"], **grant})
        self.ask(roles + "assign", {"role_id": role["id"], "username": user})
        return {"role": role["id"], "permission": made["role_permission"]["id"]}


class Sides:
    """Both servers, with equal databases."""

    def __init__(self, stock: Wire, ours: Wire, made: dict[str, Any]) -> None:
        self.stock = stock
        self.ours = ours
        self.made = made


@pytest.fixture(scope="module")
def sides(
    database: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Sides]:
    """Stock with users, and headrace on copies of its databases."""
    theirs, ours = tmp_path_factory.mktemp("stock"), tmp_path_factory.mktemp("ours")
    with ExitStack() as stack:
        names = ("tracking", "users")
        uris = [stack.enter_context(empty_database(database, request, theirs, n)) for n in names]
        with (
            stock_with_users(uris[0], theirs, uris[1], **QUICK) as server,
            Wire(server.url) as wire,
        ):
            made = Stock(wire).prepare()
        start_jobs(uris[0])
        copies = [stack.enter_context(copied(database, request, uri, ours)) for uri in uris]
        stock = stack.enter_context(stock_with_users(uris[0], theirs, uris[1], **QUICK))
        subject = stack.enter_context(headrace_with_users(copies[0], ours, copies[1], **QUICK))
        yield Sides(
            stack.enter_context(Wire(stock.url)), stack.enter_context(Wire(subject.url)), made
        )


@contextmanager
def copied(
    database: str, request: pytest.FixtureRequest, uri: str, directory: Path
) -> Iterator[str]:
    """The URI of a copy of a database that nothing uses."""
    if database == "sqlite":
        copy = shutil.copy(uri.removeprefix("sqlite:///"), directory)
        yield f"sqlite:///{copy}"
        return
    server = request.getfixturevalue("postgres_server")
    with fresh_database(server, template=uri.rpartition("/")[2]) as uri_of_copy:
        yield uri_of_copy


def start_jobs(uri: str) -> None:
    """Add jobs, which stock would start with an LLM only."""
    columns = "id, creation_time, job_name, params, status, retry_count, last_update_time, workspace, creator"
    params = json.dumps({"experiment_id": "1"})
    jobs = [(id_, 1, "n", params, 0, 0, 1, "default", creator) for id_, creator in JOBS.items()]
    fill(uri, "jobs", columns, jobs)


QUICK: Any = {"default_permission": "NO_PERMISSIONS", "cache_s": 3600}


# Where headrace differs from stock on purpose.
DIFFERENT: dict[tuple[str, str], str] = {
    ("POST", "/api/2.0/mlflow/runs/outputs"): "an output that is logged again is an error in stock",
    ("GET", "/api/3.0/mlflow/traces/batchGet"): "stock fails on a trace without spans",
    ("PATCH", "/api/2.0/mlflow/traces/{request_id}"): "stock fails without a status",
    ("PATCH", "/api/2.0/mlflow/traces/{request_id}/tags"): "stock's error is that of its driver",
    ("PATCH", "/api/3.0/mlflow/traces/{trace_id}/tags"): "stock's error is that of its driver",
    ("GET", "/graphql"): "stock answers 500 to a request without a query",
    ("GET", "/model-versions/get-artifact"): "other errors for a bucket that cannot be reached",
}
# Stock's rule is keyed by the template of the path, so it refuses everyone but admins.
ANYONE_HERE = {
    ("GET", "/api/3.0/mlflow/workspaces/{workspace_name}"),
    ("GET", "/api/3.0/mlflow/prompt-optimization/jobs/{job_id}"),
    ("POST", "/api/3.0/mlflow/prompt-optimization/jobs/{job_id}/cancel"),
    ("DELETE", "/api/3.0/mlflow/prompt-optimization/jobs/{job_id}"),
}


# Where headrace refuses more than stock, which does not check a resource that the request names.
STRICTER = {
    (
        "POST",
        "/api/3.0/mlflow/gateway/endpoints/create",
    ): "the experiment must be the caller's to change",
    (
        "POST",
        "/api/3.0/mlflow/gateway/endpoints/update",
    ): "the experiment must be the caller's to change",
}


def verdict(row: Row, answer: Answer) -> str:
    """401 and 403 with their texts and types, or the status of any other answer."""
    if answer.status in (401, 403):
        return f"{answer.status} {answer.headers.get('content-type')} {answer.body!r}"
    route = (row.method, row.path)
    return "other" if route in DIFFERENT or route in STRICTER else str(answer.status)


@pytest.mark.compat
@pytest.mark.timeout(600)  # two starts of stock, and its migrations on PostgreSQL
def test_the_settings_of_the_gateway_are_shown_to_each_caller_as_by_stock(sides: Sides) -> None:
    """Lists have what the caller may read, without the secrets that a grant denies."""
    gateway = "/api/3.0/mlflow/gateway/"
    definition, secret = sides.made["definition"], sides.made["secret"]
    paths = (
        "secrets/list",
        "secrets/list?provider=openai",
        "model-definitions/list",
        f"model-definitions/list?secret_id={secret}",
        f"model-definitions/get?model_definition_id={definition}",
        "secrets/config",
    )
    for path in paths:
        for caller in CALLERS:
            target = gateway.replace("/api/", "/ajax-api/") + path
            stock, ours = (
                wire.ask("GET", target, None, headers_of(caller))
                for wire in (sides.stock, sides.ours)
            )
            assert stock.status == ours.status, f"{caller} {path}: {stock} {ours}"
            if stock.status == 200:
                assert stock.json() == ours.json(), f"{caller} {path}"


@pytest.mark.compat
@pytest.mark.timeout(1200)
def test_every_caller_gets_the_verdict_of_stock(sides: Sides) -> None:
    unlike = []
    asked = 0
    for row in rows(sides.made):
        for caller in CALLERS:
            sent = row.headers | headers_of(caller)
            stock = sides.stock.ask(row.method, row.target, row.body, sent)
            ours = sides.ours.ask(row.method, row.target, row.body, sent)
            asked += 1
            differ = verdict(row, stock) != verdict(row, ours)
            if ours.status == 403 and (row.method, row.path) in STRICTER:
                continue
            if differ and (row.method, row.path) not in ANYONE_HERE:
                unlike.append(f"{caller}: {row}\n   stock {stock}\n   ours  {ours}")
            undo(row, sides, stock, ours)
    assert not unlike, f"{len(unlike)} of {asked}\n" + "\n".join(unlike)


def undo(row: Row, sides: Sides, *answers: Answer) -> None:
    """Make the resource as it was."""
    if row.undo is not None and any(answer.status == 200 for answer in answers):
        path, body = row.undo
        for wire in (sides.stock, sides.ours):
            wire.ask("POST", path, json.dumps(body).encode(), JSON | credentials("admin"))


def test_every_native_route_has_a_row() -> None:
    """A new route needs values for its fields in tests/compat/users_matrix.py."""
    values = next(variants(NAMES))
    for route in compared():
        assert row_of(route, values), route.path
