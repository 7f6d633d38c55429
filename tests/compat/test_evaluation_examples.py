"""headrace gives the recorded answers of a stock server for the routes of evaluation, without the bridge."""

from __future__ import annotations

import base64
import json
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import pytest
from tests.compat.examples import Replay, load
from tests.fix_database import empty_database
from tests.fix_server import headrace
from tests.sql.dumps import restore_postgres, restore_sqlite
from tests.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.wire import Answer

pytestmark = pytest.mark.compat
FILE = Path(__file__).with_name("examples-genai.jsonl")
AREAS: Final = ("datasets", "scorers", "issues", "label-schemas", "review-queues", "jobs")
REVIEWED: Final = tuple(f"tr-abc0000000000000000000000000000{n}" for n in (1, 2))
API: Final = "/api/2.0/mlflow/"
JSON: Final = {"Content-Type": "application/json"}
REFUSED: Final = "refused with a clear message instead of an error page"
# The reasons for answers other than the recorded ones, by the number of the request.
INTENDED: Final = {
    371: REFUSED,
    378: REFUSED,
    380: "404 for a dataset that does not exist, instead of the driver's message",
    384: REFUSED,
    443: REFUSED,
    462: "an unknown type is reported by its name",
    470: "an unknown type is reported by its name",
    480: "users that are no list are refused; stock reads the fields before them",
}
# The further differences on a database at the schema of MLflow 3.18, whose issues have more fields.
INTENDED_AT_3_18: Final = dict.fromkeys((440, 441, 445, 447, 450, 451), "as MLflow 3.18")
BRIDGED: Final = frozenset({531})  # it would start a job
# Answers that depend on the order of random ids: of two datasets of one name.
SOMETIMES: Final = frozenset({410})
# Values of a record that differ from one recording to the next.
OWN: Final = ("dataset_record_id", "dataset_id", "created_time", "last_update_time")


class Recorded(Replay):
    """A replay that compares records without the random order of those of one upsert."""

    def __init__(self, wire: Wire) -> None:
        super().__init__(wire)
        self.tokens: dict[str, str] = {}

    def filled(self, value: Any) -> Any:
        filled = super().filled(value)
        if isinstance(filled, str):
            for recorded, ours in self.tokens.items():
                filled = filled.replace(quote(recorded, safe=""), quote(ours, safe=""))
        return filled

    def unlike(self, expected: Any, actual: Any, path: str) -> list[str]:
        if path.endswith(".digest"):  # depends on the time
            return [] if len(expected) == len(actual) else [f"{path}: {actual}"]
        if path.endswith("].tags"):  # PostgreSQL moves a row that is changed
            expected, actual = json.loads(expected), json.loads(actual)
            return [] if expected == actual else [f"{path}: {actual} instead of {expected}"]
        if path == "$.next_page_token" and is_place(expected):
            self.tokens[expected] = actual
            return [] if is_place(actual) else [f"{path}: {actual}"]
        if path == "$.records":
            return self._unlike_records(expected, actual)
        return super().unlike(expected, actual, path)

    def _unlike_records(self, expected: str, actual: str) -> list[str]:
        found = []
        for one, other in zip(records(expected), records(actual), strict=True):
            if list(one) != list(other):
                found.append(f"keys {list(other)} instead of {list(one)}")
            self.bound[one["dataset_record_id"].removeprefix("dr-")] = other[
                "dataset_record_id"
            ].removeprefix("dr-")
            if {k: v for k, v in one.items() if k not in OWN} != {
                k: v for k, v in other.items() if k not in OWN
            }:
                found.append(f"{other} instead of {one}")
        return found


def is_place(token: str) -> bool:
    """Whether a page token names a record."""
    try:
        return base64.b64decode(token).decode().partition(":")[2].startswith("dr-")
    except ValueError:
        return False


def records(text: str) -> list[dict[str, Any]]:
    """The records of an answer, in the order of their inputs."""
    found: list[dict[str, Any]] = json.loads(text.replace("{{MS}}", "1").replace("<now>", "1"))
    return sorted(found, key=lambda one: json.dumps(one["inputs"]))


def ask(wire: Wire, path: str, body: dict[str, Any]) -> Any:
    """The answer to a request that must succeed."""
    target = path if path.startswith("/") else API + path
    answer: Answer = wire.ask("POST", target, json.dumps(body).encode(), JSON)
    assert answer.status == 200, f"{path}: {answer}"
    return answer.json()


def info_of(trace_id: str) -> dict[str, Any]:
    """A trace of the first experiment."""
    place = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": "1"}}
    return {"trace_id": trace_id, "trace_location": place, "state": "OK"}


@contextmanager
def restored(
    database: str, release: str, request: pytest.FixtureRequest, directory: Path
) -> Iterator[str]:
    """A database at the schema of a release."""
    with empty_database(database, request, directory) as uri:
        if database == "postgres":
            restore_postgres(release, uri)
        else:
            restore_sqlite(release, Path(uri.removeprefix("sqlite:///")))
        yield uri


@pytest.mark.parametrize("release", ["3.17.2", "3.18.0"])
def test_recorded_requests_are_answered_as_stock_answered(
    database: str, release: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    wrong: dict[int, list[str]] = {}
    intended = INTENDED | (INTENDED_AT_3_18 if release == "3.18.0" else {})
    with (
        restored(database, release, request, tmp_path) as uri,
        headrace(uri, tmp_path, environment={"HEADRACE_BRIDGE": "off"}) as server,
        Wire(server.url) as wire,
    ):
        replay = Recorded(wire)
        for name in ("one", "two"):
            ask(wire, "experiments/create", {"name": name})
        run = ask(wire, "runs/create", {"experiment_id": "1", "start_time": 1})
        for trace_id in REVIEWED:
            ask(wire, "/api/3.0/mlflow/traces", {"trace": {"trace_info": info_of(trace_id)}})
        replay.bound["{{ID1}}"] = run["run"]["info"]["run_id"]
        for example in load(AREAS, FILE):
            if example.number in BRIDGED:
                continue
            found = replay.play(example)[2]
            if found:
                wrong[example.number] = found
    unexpected = {n: found for n, found in wrong.items() if n not in intended.keys() | SOMETIMES}
    assert not unexpected, json.dumps(unexpected, indent=1)
    assert not intended.keys() - wrong.keys()
