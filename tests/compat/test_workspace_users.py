"""Users of a server with workspaces: the same requests to stock and to headrace get the same answers."""

from __future__ import annotations

import json
import re
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Any, Final

import pytest
from tests.compat.normalise import Twins
from tests.compat.workspace_steps import ASKED, CHANGES, HEADERS, PREPARED, WORKSPACES, Step
from tests.fix_database import empty_database
from tests.fix_logins import basic, with_users
from tests.fix_server import headrace, stock
from tests.wire import Answer, Wire
from tests.workspaces import make

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.fix_server import Server

pytestmark = [pytest.mark.compat, pytest.mark.timeout(600)]  # stock hashes each password
# Intended differences: a pattern of the step, and the reason.
DIFFERENT: Final[dict[str, str]] = {}
# The ids of users, roles and grants, which are counted, and the order of lists that have none.
_OF_USERS: Final = {"role_id", "roles", "permissions"}
_RANDOM: Final = re.compile(r"[0-9a-f]{32}|id': \d+")
_COUNTED: Final = re.compile(r'"((?:role_|user_)?id)": ?\d+')


class Side:
    """A server with users and workspaces, and the ids that its answers had."""

    def __init__(self, server: Server) -> None:
        self.log = server.log
        self.wire = Wire(server.url)
        self.ids: dict[str, str] = {}

    def ask(self, step: Step) -> Answer:
        """Send a step and keep the id in its answer."""
        headers = {"Authorization": basic(step.who)}
        if step.workspace is not None:
            headers["X-MLFLOW-WORKSPACE"] = step.workspace
        body = step.body
        if step.payload is not None:
            headers["Content-Type"] = "application/json"
            body = self._filled(json.dumps(step.payload)).encode()
        answer = self.wire.ask(step.method, self._filled(step.path), body, headers)
        if step.keep and answer.status == 200 and step.at:
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


class Sides:
    """Both servers. `differences` has what `compare` found."""

    def __init__(self, theirs: Side, ours: Side) -> None:
        self.theirs, self.ours = theirs, ours
        self.differences: list[str] = []
        self.used: set[str] = set()
        self._twins = Twins({}, {})

    def compare(self, steps: list[Step]) -> None:
        """Send the steps to both."""
        for step in steps:
            answers = self.theirs.ask(step), self.ours.ask(step)
            expected, got = self._twins.align(*map(shown, answers))
            if expected == got:
                continue
            known = [pattern for pattern in DIFFERENT if re.search(pattern, str(step))]
            self.used.update(known)
            if not known:
                self.differences.append(f"{step}\n  stock: {expected}\n  ours:  {got}")


@pytest.fixture(scope="module")
def sides(
    database: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Sides]:
    """Stock and headrace with users and workspaces, each on a database of its own."""
    found = []
    with ExitStack() as stack:
        for name, start in (("stock", stock), ("ours", headrace)):
            directory = tmp_path_factory.mktemp(f"{name}-{database}")
            uri = stack.enter_context(empty_database(database, request, directory))
            server = with_users(uri, directory, "--enable-workspaces", start=start)
            side = Side(stack.enter_context(server))
            stack.enter_context(closing(side.wire))
            make(uri, *WORKSPACES)
            found.append(side)
        both = Sides(*found)
        both.compare(PREPARED)
        assert both.differences == []
        yield both


def shown(answer: Answer) -> list[Any]:
    """The status, the media type and the body, without what every request changes."""
    media = answer.headers.get("content-type", "").partition(";")[0]
    text = answer.body.decode()
    if answer.is_json:
        value = json.loads(text)
        if "message" in value:
            value["message"] = re.sub(r" Error: \(.*", "", value["message"], flags=re.DOTALL)
        text = _COUNTED.sub(r'"\1": 0', json.dumps(ordered(value)))
    return [answer.status, media, text]


def ordered(value: Any) -> Any:
    """The value with the lists of roles and grants in one order; stock does not order them."""
    if isinstance(value, dict):
        return {name: ordered(part) for name, part in value.items()}
    if isinstance(value, list):
        items = [ordered(part) for part in value]
        is_of_users = items and isinstance(items[0], dict) and _OF_USERS & set(items[0])
        return sorted(items, key=lambda item: _RANDOM.sub("", str(item))) if is_of_users else items
    return value


@pytest.mark.parametrize("steps", [HEADERS, ASKED, CHANGES], ids=["headers", "asked", "changes"])
def test_the_answers_are_those_of_stock(sides: Sides, steps: list[Step]) -> None:
    """In this order: the last steps change what the first ones read."""
    sides.differences.clear()
    sides.compare(steps)
    assert not sides.differences, f"{len(sides.differences)} differences\n" + "\n".join(
        sides.differences[:40]
    )


def test_the_log_names_the_workspace_of_a_grant(sides: Sides) -> None:
    """The steps above made grants in each."""
    for workspace in ("default", *WORKSPACES):
        line = (
            rf"action=grant\.add target=stranger type=run id=\* level=READ workspace={workspace}\b"
        )
        assert re.search(line, sides.ours.log()), workspace
