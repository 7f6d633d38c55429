"""The routes of users, roles and grants answer as stock's, to every kind of caller."""

from __future__ import annotations

import json
import re
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Any, Final

import pytest
from tests.compat.account_steps import CALLERS, STEPS, Step
from tests.fix_database import empty_database
from tests.fix_logins import basic, with_users
from tests.fix_server import headrace, stock
from tests.wire import Answer, Wire

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.compat, pytest.mark.timeout(400)]  # stock hashes each password
IDS: Final = re.compile(r'"((?:role_|user_)?id)": ?\d+')
OTHER_ROUTES: Final = ("/experiments/create", "/registered-models/create")
# Intended differences: a part of a step's text, the reason, and headrace's status and message.
DIFFERENT: Final = {
    "users/create {'username': 'x', 'password': 5}": (
        "stock answers 500",
        400,
        "Password must be a string.",
    ),
    "users/create {'username': 'x', 'password': ['a'": (
        "stock answers 500",
        400,
        "Password must be a string.",
    ),
    "users/update-password {'username': 'bob', 'password': 5}": (
        "stock answers 500",
        400,
        "Password must be a string.",
    ),
    "'is_admin': 'true'": (
        "stock's message contains the statement",
        400,
        "Value must be true or false.",
    ),
}


class Side:
    """A server with users, and the ids that its answers had."""

    def __init__(self, url: str) -> None:
        self.wire = Wire(url)
        self.ids: dict[str, str] = {}

    def ask(self, step: Step) -> Answer:
        """Send a step and keep the id in its answer."""
        payload = step.payload
        body = payload if isinstance(payload, str) else json.dumps(payload)
        headers = {"Authorization": basic(step.who)}
        if step.content_type is not None and payload is not None:
            headers["Content-Type"] = step.content_type
        sent = None if payload is None else self._filled(body).encode()
        answer = self.wire.ask(step.method, self._filled(step.target), sent, headers)
        if step.keep:
            found = answer.json()
            for name in step.at.split("."):
                found = found[name]
            self.ids["$" + step.keep] = str(found)
        return answer

    def _filled(self, text: str) -> str:
        """The text with the ids of this server. Longer names come first."""
        for name in sorted(self.ids, key=len, reverse=True):
            text = text.replace(name, self.ids[name]).replace("%24" + name[1:], self.ids[name])
        return text


@pytest.fixture(scope="module")
def sides(
    database: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Side, Side]]:
    """Stock and headrace with users, each on a database of its own."""
    found = []
    with ExitStack() as stack:
        for name, start in (("stock", stock), ("ours", headrace)):
            directory = tmp_path_factory.mktemp(f"{name}-{database}")
            uri = stack.enter_context(empty_database(database, request, directory))
            started = stack.enter_context(with_users(uri, directory, start=start))
            found.append(Side(started.url))
            stack.enter_context(closing(found[-1].wire))
        yield found[0], found[1]


def ordered(value: Any) -> Any:
    """The value with its lists in the order of ids, then of resources."""
    if isinstance(value, dict):
        return {name: ordered(part) for name, part in value.items()}
    if isinstance(value, list):
        keys = ("id", "role_id", "resource_type", "resource_pattern")
        return sorted(
            map(ordered, value), key=lambda row: [str(row.get(key)).zfill(9) for key in keys]
        )
    return value


def shown(step: Step, answer: Answer, *, has_order: bool) -> tuple[int, str, str]:
    """The status, the media type and the body, without ids and the statement in an error.

    Stock does not order its lists: on PostgreSQL a changed row moves to the end, and the roles of
    several workspaces have any order.
    """
    media = answer.headers.get("content-type", "").partition(";")[0]
    if step.path.endswith(OTHER_ROUTES):
        return answer.status, media, ""
    text = answer.body.decode()
    if answer.is_json:
        value: Any = json.loads(text)
        if "error_code" in value:
            value["message"] = re.sub(r" Error: \(.*", "", value["message"], flags=re.DOTALL)
            text = json.dumps(value, sort_keys=True)
            text = re.sub(r"\b(role_id|user_id|id|resource_id)=\d+", r"\1=#", text)
        elif not has_order or (len(step.query) > 1 and step.path.endswith("/roles/list")):
            text = json.dumps(ordered(value))
        elif "\\u" in text:  # Flask escapes what is not ASCII; all else is equal byte for byte
            text = json.dumps(value, ensure_ascii=False, separators=(",", ":")) + "\n"
        text = IDS.sub(r'"\1":#', text)
    return answer.status, media, text


def test_the_answers_are_those_of_stock(sides: tuple[Side, Side], database: str) -> None:
    theirs, ours = sides
    has_order = database == "sqlite"
    differences, seen = [], set()
    for step in STEPS:
        answer = ours.ask(step)
        got = shown(step, answer, has_order=has_order)
        expected = shown(step, theirs.ask(step), has_order=has_order)
        if expected == got:
            continue
        known = [part for part in DIFFERENT if part in str(step)]
        if not known:
            differences.append(f"{step}\n  stock: {expected}\n  ours:  {got}")
        for part in known:
            seen.add(part)
            _, status, message = DIFFERENT[part]
            assert answer.status == status, answer
            assert message in answer.json()["message"]
    assert not differences, "\n" + "\n".join(differences)
    assert seen == set(DIFFERENT)


def test_every_caller_is_among_the_steps() -> None:
    assert {step.who for step in STEPS} == set(CALLERS)
