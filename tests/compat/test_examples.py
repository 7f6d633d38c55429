"""headrace gives the recorded answers of a stock server, also on a database at the schema of MLflow 3.18."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from tests.compat.examples import Example, Replay, load
from tests.compat.overrides import OTHER_METRICS, RULES
from tests.fix_server import headrace
from tests.sql.dumps import releases, restore_sqlite
from tests.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.compat
# Stock repeats its driver's message about a foreign key; headrace looks the model up and names the missing one.
# Those of server-info and of experiments' filters are MLflow 3.18's.
SAID_BY_US = {
    3: "model_artifact_presigned_downloads_supported",
    47: "Valid entity types are ('attribute', 'attributes', 'tag', 'tags')",
    195: "$.message: \"Logged model with ID 'm-nope' not found.\" instead of",
}

# Filters with OR, which only headrace accepts.
NEWER_FILTERS = {46, 154}
BRIDGED = ("promptlab run", "promptlab run, empty")
# Areas whose routes are native.
NATIVE_AREAS = ("general", "tracking-core", "logged-models", "model-registry")
EXAMPLES = load(NATIVE_AREAS)


@pytest.fixture(scope="module", params=["created by headrace", "3.18.0"])
def complaints(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[Example], list[str]]:
    """Plays every example once, in order, and records the faults of each answer."""
    directory = tmp_path_factory.mktemp("examples")
    if request.param in releases("sqlite"):
        path = restore_sqlite(request.param, directory / "mlflow.db")
        now_ms = int(time.time() * 1000)
        with closing(sqlite3.connect(path)) as connection, connection:  # a dump has no times
            connection.execute(
                "UPDATE experiments SET creation_time = ?, last_update_time = ?", (now_ms, now_ms)
            )
    found: dict[int, list[str]] = {}
    with (
        headrace(
            f"sqlite:///{directory}/mlflow.db", directory, "--chart-sampling", "stock"
        ) as server,
        Wire(server.url) as wire,
    ):
        replay = Replay(wire, OTHER_METRICS)
        for example in EXAMPLES:
            recorded, ours, differences = replay.play(example)
            if example.label in BRIDGED and request.param == "3.18.0":
                assert ours.answer.status == 501, "the MLflow beside headrace is older"
                differences = []
            if differences and any(rule.applies(recorded) for rule in RULES.values()):
                refused = ours.answer.status in (400, 404) and ours.answer.is_json
                differences = [] if refused else [f"should be refused: {ours.answer}"]
            if example.number in SAID_BY_US and len(differences) == 1:
                differences = [] if SAID_BY_US[example.number] in differences[0] else differences
            if example.number in NEWER_FILTERS:
                assert recorded.answer.status == 400, example
                differences = [] if ours.answer.status == 200 else [f"a filter: {ours.answer}"]
            found[example.number] = differences
    return lambda example: found[example.number]


@pytest.mark.parametrize("example", EXAMPLES, ids=str)
def test_a_recorded_answer_is_given_again(
    example: Example, complaints: Callable[[Example], list[str]]
) -> None:
    found = complaints(example)
    assert not found, "\n".join(found)
