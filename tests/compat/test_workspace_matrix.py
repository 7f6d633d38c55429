"""No native route gives access to the resources of another workspace, and each answers as stock does."""

from __future__ import annotations

import json
import re
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from tests import rows
from tests.compat.population import API, API3
from tests.compat.users_matrix import compared
from tests.compat.workspace_matrix import Case, cases, fields, unknown
from tests.fix_auth import (
    ADMIN,
    ADMIN_PASSWORD,
    auth_environment,
    credentials,
    password_of,
)
from tests.fix_database import empty_database
from tests.fix_server import headrace, stock, stock_uri
from tests.fix_workspaces import ENVIRONMENT, SECRET, Member, TwoWorkspaces, Values
from tests.wire import Wire

from headrace.auth.foreign import FIELDS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.compat.users_matrix import Row
    from tests.wire import Answer

TIME = re.compile(r"\b1\d{12}\b|\b20\d\d-\d\d-\d\dT[0-9:.]+Z?")
NEW_ID = re.compile(
    r"[a-z]+-[0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|\b[0-9a-f]{8}\b"
)
VERSION = re.compile(r'"version": ?"\d+"')
DRIVER = re.compile(r'(The database holds|\((sqlite3|psycopg2|raised as))([^"\\]|\\.)*')
REPLACEMENT = re.compile(r"none-[0-9a-f]{20}-|-21474836\d\d\b")  # of an id of another workspace
# Where headrace differs from stock on purpose, also without workspaces.
DIFFERENT: dict[tuple[str, str], str] = {
    ("GET", "/"): "the page of headrace",
    ("GET", "/graphql"): "stock answers 500 to a request without a query",
    ("GET", "/ajax-api/3.0/mlflow/assistant/providers"): "the programs on this machine",
    ("GET", "/ajax-api/3.0/mlflow/assistant/config"): "the programs on this machine",
    (
        "POST",
        "/api/2.0/mlflow/runs/log-batch",
    ): "stock writes metrics of a model of another workspace",
    (
        "POST",
        "/api/2.0/mlflow/runs/log-metric",
    ): "stock writes metrics of a model of another workspace",
    ("POST", "/api/3.0/mlflow/issues"): "stock accepts the run of another workspace",
    ("POST", "/api/3.0/mlflow/gateway/endpoints/create"): "stock accepts its experiment",
    ("POST", "/api/3.0/mlflow/gateway/endpoints/update"): "stock accepts its experiment",
    ("POST", "/api/3.0/mlflow/gateway/guardrails/create"): "stock accepts its endpoint",
    ("GET", "/api/3.0/mlflow/gateway/guardrails/list"): "stock accepted an endpoint, see above",
    ("GET", "/api/2.0/mlflow/model-versions/search"): "stock keeps versions that it then refuses",
    (
        "GET",
        "/api/3.0/mlflow/gateway/budgets/windows",
    ): "stock knows global budgets of one workspace",
    ("GET", "/api/3.0/mlflow/gateway/budgets/list"): "in the order of random ids",
    ("GET", "/api/3.0/mlflow/gateway/endpoints/list"): "stock accepted an experiment, see above",
}
# The same for users.
DIFFERENT_FOR_USERS: dict[tuple[str, str], str] = DIFFERENT | {
    ("POST", "/api/3.0/mlflow/traces/search"): "an unknown experiment is refused",
    ("GET", "/api/2.0/mlflow/traces"): "an unknown experiment is refused",
    ("POST", "/api/3.0/mlflow/traces/calculate-filter-correlation"): "as above",
    ("POST", "/api/3.0/mlflow/traces/metrics"): "as above",
    ("POST", "/v1/traces"): "the error for a missing header is JSON",
    ("GET", "/api/3.0/mlflow/review-queues/get-by-name"): "an unknown experiment is a 404",
}


class Side(TwoWorkspaces):
    """A server with two workspaces, and the requests of the matrix.

    With users, they are those of a user who manages workspace B and has no other grants.
    """

    def __init__(self, uri: str, wire: Wire, *, users: bool) -> None:
        admin = credentials(ADMIN, ADMIN_PASSWORD) if users else None
        super().__init__(uri, wire, admin)
        self.different = DIFFERENT_FOR_USERS if users else DIFFERENT
        self.unknown = unknown()
        if users:
            self._make_manager()
            self.b = Member(wire, "team-b", credentials("bob"))

    def _make_manager(self) -> None:
        ask = self.b.ask
        ask(API + "users/create", {"username": "bob", "password": password_of("bob")})
        role = ask(API3 + "roles/create", {"name": "managers", "workspace": "team-b"})["role"]
        grant = {"resource_type": "workspace", "resource_pattern": "*", "permission": "MANAGE"}
        ask(API3 + "roles/permissions/add", {"role_id": role["id"], **grant})
        ask(API3 + "roles/assign", {"role_id": role["id"], "username": "bob"})

    def cases(self) -> list[Case]:
        """The requests of the matrix, in the order of the routes."""
        return list(cases(self.own, self.foreign, self.unknown))

    def ask(self, row: Row) -> Answer:
        """The answer to a member of workspace B."""
        return self.b.send(row.method, row.target, row.body, row.headers)

    def plain(self, text: str, other: Values) -> str:
        """A text with names for ids: equal for ids of another workspace and for unknown ones."""
        for made, label in ((other, "other"), (self.own, "own"), (self.unknown, "other")):
            for kind, id_ in made.items():
                if kind != "experiment":
                    text = text.replace(str(id_), f"<{label} {kind}>")
            text = re.sub(rf"\b{made['experiment']}\b", f"<{label} experiment>", text)
        return NEW_ID.sub("<new>", text)


@pytest.fixture(scope="module", params=["open", "users"])
def sides(
    database: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Side, Side]]:
    """headrace and stock, without and with users."""
    users = request.param == "users"
    with ExitStack() as stack:
        found = []
        for start, users_uri_of in ((headrace, str), (stock, stock_uri)):
            directory = tmp_path_factory.mktemp("server")
            uri = stack.enter_context(empty_database(database, request, directory))
            options, environment = ["--enable-workspaces"], ENVIRONMENT
            if users:
                options += ["--app-name", "basic-auth"]
                file = f"sqlite:///{directory}/auth.db"
                environment = environment | auth_environment(
                    directory, users_uri_of(file), cache_s=3600
                )
            started = start(uri, directory, *options, environment=environment)
            wire = stack.enter_context(Wire(stack.enter_context(started).url))
            found.append(Side(uri, wire, users=users))
        yield found[0], found[1]


@pytest.mark.compat
@pytest.mark.timeout(600)
def test_each_route_answers_as_stock_and_as_for_unknown_ids(sides: tuple[Side, Side]) -> None:
    """In every answer, and nothing of the other workspace changes."""
    ours, theirs = sides
    before = ours.rows_of_a()
    wrong = []
    for mine, its in zip(ours.cases(), theirs.cases(), strict=True):
        answer = shown(ours.ask(mine.foreign))
        tells = SECRET in answer and SECRET not in str(mine.foreign)
        foreign = ours.plain(answer, ours.foreign)
        unknown = foreign
        if mine.unknown != mine.foreign:
            unknown = ours.plain(shown(ours.ask(mine.unknown)), ours.unknown)
        expected = theirs.plain(shown(theirs.ask(its.foreign)), theirs.foreign)
        if its.unknown != its.foreign:
            theirs.ask(its.unknown)  # for the same effects
        request = ours.plain(str(mine.foreign), ours.foreign)
        if tells or REPLACEMENT.search(answer):
            wrong.append(f"{request}\n   tells {foreign}")
        if foreign != unknown:
            wrong.append(f"{request}\n   foreign {foreign}\n   unknown {unknown}")
        differs = foreign != expected and not is_fault(expected)
        if differs and key_of(mine.foreign) not in ours.different:
            wrong.append(f"{request}\n   ours  {foreign}\n   stock {expected}")
    assert not wrong, f"{len(wrong)}\n" + "\n".join(wrong)
    assert ours.rows_of_a() == before
    file = ours.a.send("GET", ours.a.file(ours.foreign), None)
    assert file.body == SECRET.encode()
    assert not REPLACEMENT.search(json.dumps(rows.tables(ours.uri), default=repr))


def shown(answer: Answer) -> str:
    """An answer without times, numbers of new versions, and messages of drivers."""
    text = DRIVER.sub("<driver>", answer.body.decode(errors="replace"))
    text = VERSION.sub('"version": "<new>"', text)
    if answer.is_json and answer.body:
        text = json.dumps(json.loads(text), sort_keys=True)
    return f"{answer.status} {TIME.sub('<time>', text)}"


def is_fault(answer: str) -> bool:
    """Whether stock answers with an error of its own or of its driver."""
    return answer.startswith("500 ")


def key_of(row: Row) -> tuple[str, str]:
    """The route of a request."""
    return row.method, row.path


def test_every_native_route_has_a_row() -> None:
    """A new route needs values for its fields in users_matrix.py and workspace_matrix.py."""
    made = [unknown() for _ in range(3)]
    tried = {key_of(case.foreign) for case in cases(*made)}
    assert {(route.method, route.path) for route in compared()} == tried


def test_every_field_with_ids_has_a_value() -> None:
    """Fields by which a request can name something of another workspace."""
    assert not FIELDS.keys() - fields(unknown()).keys()
