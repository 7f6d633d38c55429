"""headrace gives the recorded answers of a stock server with users, to every kind of caller."""

from __future__ import annotations

import json
import re
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from tests.compat.examples import Example, Replay
from tests.fix_auth import credentials, headrace_with_users
from tests.fix_database import empty_database
from tests.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.compat.dialogue import Exchange

pytestmark = pytest.mark.compat
FILE = Path(__file__).with_name("examples-auth.jsonl")
# Each area was recorded on a server of its own with this default_permission.
DEFAULTS = {"auth/none": "NO_PERMISSIONS", "auth/read": "READ"}
# Answers that differ on purpose: a part of each difference, and why. No other difference is allowed.
TAKEN = "stock repeats its driver's message, with the statement and the hash of the new password"
FULL_PAGES = "pages are filtered in the query: a token only if a row that may be read follows"
FORM = "the form is headrace's own: one page with a strict policy, without stock's script"
DIFFERENT = {
    5: ("status 401 instead of 404", "only the routes of the table are open, and it has no icon"),
    20: ("status 401 instead of 500", "a malformed token is no reason to fail"),
    32: ("status 400 instead of 500", "a password that is not a text"),
    58: ("already exists.' instead of", TAKEN),
    119: ("keys ['experiments'] instead of", FULL_PAGES),
    233: ("keys ['registered_models'] instead of", FULL_PAGES),
    320: ("already exists.' instead of", TAKEN),
    325: ("already exists.' instead of", TAKEN),
    359: ("Add a user", FORM),
    383: ("Add a user", FORM),
    386: ("instead of", FORM),
    387: ("instead of", FORM),
    410: ("content type 'application/json'", "an error of a rule is MLflow's JSON on every route"),
    446: ("keys ['experiments'] instead of", FULL_PAGES),
}
NEW_PASSWORD = {370: "reader-password", 371: "new-reader-password"}  # of `reader`, for a while


def load_with_users() -> list[Example]:
    """The recorded requests, with the credentials of their callers."""
    rows = map(json.loads, FILE.read_text().splitlines())
    return [
        Example(
            row["n"],
            row["area"],
            f"{row['label']}, {row['user']}",
            request_of(row),
            row["response"],
        )
        for row in rows
    ]


def request_of(row: dict[str, Any]) -> dict[str, Any]:
    """The request with the header of its caller."""
    user = row["user"]
    if user == "anonymous":
        extra = {}
    elif user == "wrong-password":
        extra = credentials("reader", "not the password")
    else:
        extra = credentials(user, NEW_PASSWORD.get(row["n"]))
    request = dict(row["request"])
    request["headers"] = extra | request.get("headers", {})
    return request


EXAMPLES = load_with_users()


class ReplayWithForm(Replay):
    """A replay that keeps the cookie and the token of the page with the form."""

    cookie = ""

    def play(self, example: Example) -> tuple[Exchange, Exchange, list[str]]:
        """See `Replay.play`."""
        if self.cookie and example.request["path"].endswith(("create-ui", "/signup")):
            example.request["headers"]["Cookie"] = self.cookie
        recorded, ours, differences = super().play(example)
        token = re.search(rb'name="csrf_token" value="([^"]+)"', ours.answer.body)
        if token is not None:
            self.bound["{{CSRF}}"] = token[1].decode()
            self.cookie = ours.answer.headers["set-cookie"].partition(";")[0]
        return recorded, ours, differences


@pytest.fixture(scope="module", params=["same", "other"])
def found(
    database: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[Example], list[str]]:
    """Plays every example once, in order, and records the differences of each answer.

    The users are in the tracking database, or in another one.
    """
    faults: dict[int, list[str]] = {}
    for area, default_permission in DEFAULTS.items():
        directory = tmp_path_factory.mktemp("examples")
        with ExitStack() as stack:
            uri = users = stack.enter_context(empty_database(database, request, directory))
            if request.param == "other":
                another = empty_database(database, request, directory, "basic_auth")
                users = stack.enter_context(another)
            server = stack.enter_context(
                headrace_with_users(uri, directory, users, default_permission=default_permission)
            )
            replay = ReplayWithForm(stack.enter_context(Wire(server.url)))
            for example in EXAMPLES:
                if example.area == area:
                    faults[example.number] = replay.play(example)[2]
                    if database == "postgres" and example.request["method"] != "GET":
                        close_gaps(users)
    return lambda example: faults[example.number]


def close_gaps(uri: str) -> None:
    """Let the next ids be those that SQLite gives: on PostgreSQL a refused row takes one too."""
    with psycopg.connect(uri, autocommit=True) as connection:
        for table in ("users", "roles", "role_permissions", "user_role_assignments"):
            sequence = f"pg_get_serial_sequence('{table}', 'id')"
            following = f"(SELECT coalesce(max(id), 0) + 1 FROM {table})"
            connection.execute(f"SELECT setval({sequence}, {following}, false)".encode())


@pytest.mark.timeout(600)
@pytest.mark.parametrize("example", EXAMPLES, ids=str)
def test_a_recorded_answer_is_given_again(
    example: Example, found: Callable[[Example], list[str]]
) -> None:
    differences = found(example)
    if example.number in DIFFERENT:
        expected, _ = DIFFERENT[example.number]
        assert expected in "\n".join(differences)
    else:
        assert not differences, "\n".join(differences)
