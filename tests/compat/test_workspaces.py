"""The routes of workspaces, and the header, answer as those of a stock server with workspaces."""

from __future__ import annotations

import json
import re
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final

import pytest
from tests.fix_database import empty_database
from tests.fix_server import headrace, stock
from tests.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.wire import Answer

OPTIONS: Final = ("--enable-workspaces",)
CRUD: Final = "/api/3.0/mlflow/workspaces"
A2: Final = "/api/2.0/mlflow"
_TIME: Final = re.compile(r"\b1\d{12}\b")
_DRIVER: Final = re.compile(r"Error: .*", re.DOTALL)

Step = tuple[str, str, str | None, Any]  # method, path, workspace of the header, body

MAKE: Final[tuple[Step, ...]] = (
    ("GET", CRUD, None, None),
    ("POST", CRUD, None, {"name": "team-a", "description": "the first"}),
    ("POST", CRUD, None, {"name": "team-b", "default_artifact_root": " s3://bucket/b "}),
    ("POST", CRUD, None, {"name": "team-a"}),
    ("GET", CRUD, None, None),
    ("GET", CRUD, "team-a", None),
    ("GET", f"{CRUD}/team-b", None, None),
    ("GET", f"{CRUD}/default", None, None),
    ("GET", "/ajax-api/3.0/mlflow/workspaces/team-a", None, None),
)
# Requests with a mistake, each on its own.
WRONG: Final[tuple[Step, ...]] = (
    *(
        ("POST", CRUD, None, {"name": name})
        for name in ("default", "A", "a", "x" * 64, "-ab", "ab-", "a_b", "workspaces", "api", "", 3)
    ),
    ("POST", CRUD, None, {}),
    ("POST", CRUD, None, {"name": "zz", "description": 3}),
    *(
        ("POST", CRUD, None, {"name": "zz", "default_artifact_root": root})
        for root in ("relative", "C:team", "s3://b#f", "s3://b?x=..", "runs:/1", "hdfs://h/x", 3)
    ),
    *(
        ("POST", CRUD, None, {"name": "zz", "trace_archival_config": config})
        for config in (
            {"retention": "0d"},
            {"retention": "30"},
            {"retention": "9" * 40 + "d"},
            {"location": "/local"},
            {"location": "mlflow-artifacts:/x"},
            {"location": 3},
            "text",
        )
    ),
    ("PATCH", f"{CRUD}/team-a", None, {}),
    ("PATCH", f"{CRUD}/team-a", None, {"trace_archival_config": {}}),
    ("PATCH", f"{CRUD}/nobody", None, {"description": "x"}),
    ("PATCH", f"{CRUD}/NO", None, {"description": "x"}),
    ("PATCH", f"{CRUD}/team-a", None, {"default_artifact_root": "relative"}),
    ("GET", f"{CRUD}/nobody", None, None),
    ("GET", f"{CRUD}/NO", None, None),
    ("DELETE", f"{CRUD}/default", None, None),
    ("DELETE", f"{CRUD}/nobody", None, None),
    ("DELETE", f"{CRUD}/NO", None, None),
    ("DELETE", f"{CRUD}/team-a?mode=X", None, None),
    ("DELETE", f"{CRUD}/team-a?mode=", None, None),
    ("GET", f"{A2}/experiments/get?experiment_id=0", "nobody", None),
    ("GET", f"{A2}/experiments/get?experiment_id=0", "NO", None),
    ("GET", f"{A2}/experiments/get?experiment_id=0", "api", None),
    ("GET", CRUD, "nobody", None),
    ("GET", "/health", "nobody", None),
    ("GET", "/version", "nobody", None),
    ("GET", "/nowhere", "nobody", None),
    ("POST", f"{A2}/experiments/create", "team-a", {"name": "x", "artifact_location": "s3://x"}),
)
# Requests that we answer otherwise.
INTENDED: Final[tuple[Step, ...]] = (
    # The message names the whole field.
    ("POST", CRUD, None, {"name": "zz", "trace_archival_config": {"location": 3}}),
)
CHANGE: Final[tuple[Step, ...]] = (
    (
        "PATCH",
        f"{CRUD}/team-a",
        None,
        {"default_artifact_root": "/data/a", "trace_archival_config": {"retention": " 30d "}},
    ),
    ("PATCH", f"{CRUD}/team-a", None, {"trace_archival_config": {"location": "s3://old"}}),
    ("POST", f"{A2}/experiments/create", "team-a", {"name": "own root"}),
    ("GET", f"{A2}/experiments/get-by-name?experiment_name=own%20root", "team-a", None),
    ("PATCH", f"{CRUD}/team-a", None, {"default_artifact_root": "", "description": ""}),
    ("PATCH", f"{CRUD}/team-a", None, {"trace_archival_config": {"retention": "", "location": ""}}),
    ("PATCH", f"{CRUD}/default", None, {"description": "of everyone"}),
    ("GET", CRUD, None, None),
)


def fill(name: str) -> tuple[Step, ...]:
    """Make something of several kinds in a workspace."""
    return (
        (
            "POST",
            f"{A2}/experiments/create",
            name,
            {"name": "e", "tags": [{"key": "k", "value": "v"}]},
        ),
        ("POST", f"{A2}/registered-models/create", name, {"name": "m"}),
        ("POST", f"{A2}/model-versions/create", name, {"name": "m", "source": "s3://b/m"}),
        (
            "POST",
            f"{A2}/registered-models/alias",
            name,
            {"name": "m", "alias": "a", "version": "1"},
        ),
        ("GET", f"{A2}/experiments/get-by-name?experiment_name=e", name, None),
        ("GET", f"{A2}/registered-models/get?name=m", name, None),
    )


def look(name: str) -> tuple[Step, ...]:
    """Read what a workspace has."""
    return (
        ("GET", f"{A2}/experiments/search?max_results=9&order_by=name", name, None),
        ("GET", f"{A2}/registered-models/search", name, None),
        ("GET", f"{A2}/model-versions/search", name, None),
    )


DELETE: Final[tuple[Step, ...]] = (
    *fill("team-a"),
    *fill("team-b"),
    ("DELETE", f"{CRUD}/team-a", None, None),
    ("DELETE", f"{CRUD}/team-a?mode=RESTRICT", "team-a", None),
    ("DELETE", f"{CRUD}/team-a?mode=SET_DEFAULT", None, None),
    *look("default"),
    ("GET", f"{A2}/registered-models/get?name=m", "team-a", None),
    ("DELETE", f"{CRUD}/team-b?mode=SET_DEFAULT", None, None),
    ("DELETE", f"{CRUD}/team-b?mode=CASCADE", None, None),
    ("DELETE", f"{CRUD}/team-b?mode=CASCADE", None, None),
    ("POST", CRUD, None, {"name": "team-b"}),
    *look("team-b"),
    ("DELETE", f"{CRUD}/team-b", None, None),
    ("GET", CRUD, None, None),
)


pytestmark = pytest.mark.compat


@pytest.fixture(scope="module")
def servers(
    database: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Wire, Wire]]:
    """headrace and stock with workspaces, each on an empty database."""
    with ExitStack() as stack:
        wires = []
        for name, start in (("ours", headrace), ("stock", stock)):
            directory = tmp_path_factory.mktemp(f"{name}-{database}")
            uri = stack.enter_context(empty_database(database, request, directory))
            server = start(uri, directory, *OPTIONS)
            wires.append(stack.enter_context(Wire(stack.enter_context(server).url)))
        yield wires[0], wires[1]


def asked(wire: Wire, step: Step) -> Answer:
    """The answer to a step."""
    method, path, workspace, body = step
    headers = {} if workspace is None else {"X-MLFLOW-WORKSPACE": workspace}
    if method in ("POST", "PATCH"):
        headers["content-type"] = "application/json"
    data = json.dumps(body).encode() if body is not None else None
    return wire.ask(method, path, data, headers)


def shown(answer: Answer) -> str:
    """Status and body without times and without the texts of drivers."""
    body: Any = answer.body.decode()
    if answer.is_json:
        body = answer.json()
        if "error_code" in body:  # headrace says more
            body = {"error_code": body["error_code"], "message": body["message"]}
    return _DRIVER.sub("Error: …", _TIME.sub("TIME", f"{answer.status} {json.dumps(body)}"))


def test_answers_are_those_of_stock(servers: tuple[Wire, Wire]) -> None:
    different = []
    for step in (*MAKE, *WRONG, *CHANGE, *DELETE):
        mine, its = (shown(asked(wire, step)) for wire in servers)
        if (mine != its) is not (step in INTENDED):
            different.append(f"{step}:\n  ours  {mine}\n  stock {its}")
    assert not different, "\n".join(different)
