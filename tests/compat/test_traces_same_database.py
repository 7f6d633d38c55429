"""headrace and stock read the same traces from one database and give the same answers.

Stock writes them: the recorded requests of examples-genai.jsonl. The readers are asked afterwards.
"""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.compat.archiver import archive
from tests.compat.examples import PLACEHOLDER, Example, Replay, load
from tests.compat.normalise import Twins, compared
from tests.fix_database import empty_database
from tests.fix_server import headrace, stock
from tests.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.wire import Answer

pytestmark = pytest.mark.compat
FILE = Path(__file__).with_name("examples-genai.jsonl")
AREAS = ("otlp", "traces", "assessments", "trace-search", "trace-metrics", "datasets")
UNORDERED = (
    "dimensions",
    "values",
    "trace_metadata",
    "tags",
    "request_metadata",
    "assessments",
    "metadata",
    "data_points",
)
JSON = {"Content-Type": "application/json"}
A3 = "/api/3.0/mlflow/"
AJAX = "/ajax-api/3.0/mlflow/"
# The stored spans of a trace are streamed, without ranges.
INTENDED = ("-accept-ranges: bytes",)
# Recorded requests that headrace answers otherwise on purpose, as MLflow 3.18 does.
AS_IN_3_18 = {
    197: "a token only if another trace follows",
    313: "a token only if another trace follows",
    293: "the end time can be sorted by",
    294: "the end time can be sorted by",
}
# Requests that stock misreads, or answers with an error page; headrace refuses them.
REFUSED = {
    360: "an unknown view is read as TRACES",
    361: "a percentile above 100 is an error page",
}
# The requests that delete what the others read.
LAST_WRITE = 552


@dataclass(frozen=True)
class Readers:
    """Two servers on one database, and the ids of its traces."""

    database: str
    stock: Wire
    ours: Wire
    replay: Replay
    trace_ids: list[str]
    uri: str
    directory: Path

    def both(
        self, method: str, target: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> tuple[Answer, Answer]:
        """The answers of stock and of headrace."""
        sent = None if body is None else json.dumps(body).encode()
        headers = headers if headers is not None else (JSON if method == "POST" else {})
        answers = [wire.ask(method, target, sent, headers) for wire in (self.stock, self.ours)]
        return answers[0], answers[1]

    def differences(self, method: str, target: str, body: Any = None) -> list[str]:
        """The differences of the answers, apart from lists and objects without an order."""
        twins = Twins({}, {})
        found = compared(*self.both(method, target, body), twins, UNORDERED)
        found = [line for line in found if line not in INTENDED]
        return [f"{method} {target} {body}", *found] if found else []


def is_write(example: Example) -> bool:
    """Whether the request changes the database."""
    method, path = example.request["method"], example.request["path"]
    last = path.partition("?")[0].rpartition("/")[2]
    reading = ("search", "metrics", "batchGetInfos", "calculate-filter-correlation")
    return method != "GET" and last not in reading


@pytest.fixture(scope="module")
def readers(
    database: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Readers]:
    """Stock and headrace on a database with what the examples write."""
    directory = tmp_path_factory.mktemp(f"traces-{database}")
    with ExitStack() as stack:
        uri = stack.enter_context(empty_database(database, request, directory))
        theirs = stack.enter_context(stock(uri, directory))
        wire = stack.enter_context(Wire(theirs.url))
        replay = Replay(wire)
        for example in load(AREAS, FILE):
            if example.number <= LAST_WRITE and not example.label.startswith("over"):
                replay.play(example) if is_write(example) else None
        ours = stack.enter_context(headrace(uri, directory, environment={"HEADRACE_BRIDGE": "off"}))
        found = wire.ask(
            "POST",
            f"{A3}traces/search",
            json.dumps({"locations": locations("1", "2"), "max_results": 500}).encode(),
            JSON,
        )
        ids = [trace["trace_id"] for trace in found.json()["traces"]]
        own = stack.enter_context(Wire(ours.url))
        yield Readers(database, wire, own, replay, ids, uri, directory)


def locations(*experiments: str) -> list[dict[str, Any]]:
    """The places of a search."""
    return [
        {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": id_}}
        for id_ in experiments
    ]


def test_every_trace_is_read_as_stock_reads_it(readers: Readers) -> None:
    wrong: list[str] = []
    assert len(readers.trace_ids) > 25
    for id_ in filter(None, readers.trace_ids):
        wrong += readers.differences("GET", f"{A3}traces/{id_}")
        wrong += readers.differences("GET", f"/api/2.0/mlflow/traces/{id_}/info")
    assert not wrong, "\n".join(wrong)


def test_every_whole_trace_is_read_as_stock_reads_it(readers: Readers) -> None:
    wrong: list[str] = []
    for id_ in filter(None, readers.trace_ids):
        for partial in ("", "&allow_partial=true"):
            wrong += readers.differences("GET", f"{A3}traces/get?trace_id={id_}{partial}")
    assert not wrong, "\n".join(wrong)


def test_batches_are_read_as_stock_reads_them(readers: Readers) -> None:
    ids = [id_ for id_ in readers.trace_ids if id_]
    wrong = readers.differences("POST", f"{A3}traces/batchGetInfos", {"trace_ids": ids[::-1]})
    for body in (
        {"trace_ids": []},
        {"trace_ids": [*ids[:3], "no", ids[0]], "experiment_ids": ["1"]},
    ):
        wrong += readers.differences("POST", f"{A3}traces/batchGetInfos", body)
    for body in ({}, {"trace_ids": ids, "experiment_ids": ["abc"]}):
        wrong += readers.differences("POST", f"{A3}traces/batchGetInfos", body)
    stored = [
        id_
        for id_ in ids
        if readers.stock.ask("GET", f"{A3}traces/get?trace_id={id_}").status == 200
    ]
    assert len(stored) > 15
    query = "&".join(f"trace_ids={id_}" for id_ in stored[::-1])
    wrong += readers.differences("GET", f"{A3}traces/batchGet?{query}")
    wrong += readers.differences("GET", f"{A3}traces/batchGet?{query}&experiment_ids=2")
    wrong += readers.differences("GET", f"{A3}traces/batchGet")
    assert not wrong, "\n".join(wrong)


def test_routes_that_stock_only_declares_do_not_exist(readers: Readers) -> None:
    for query in ("get-online-trace-details?trace_id=x", "unified-traces"):
        assert not readers.differences("GET", f"/api/2.0/mlflow/{query}")
        assert readers.ours.ask("GET", f"/api/2.0/mlflow/{query}").status == 404


def recorded_reads(area: str) -> list[Example]:
    """The recorded requests of an area that change nothing."""
    return [e for e in load((area,), FILE) if not is_write(e)]


@pytest.mark.parametrize(
    "area", ["otlp", "traces", "assessments", "trace-search", "trace-metrics", "datasets"]
)
def test_recorded_reads_are_answered_as_stock_answers_them(readers: Readers, area: str) -> None:
    wrong: list[str] = []
    reads = recorded_reads(area)
    assert len(reads) >= 3
    for example in reads:
        target = readers.replay.filled(example.request["path"])
        if PLACEHOLDER.search(target) or "batchGet" in target or target == "/v1/traces":
            continue
        if example.area == "datasets" and "/search" not in target:
            continue
        method, body = example.request["method"], readers.replay.filled(example.request.get("body"))
        found = readers.differences(method, target, body)
        if example.number in AS_IN_3_18:
            assert found, f"{example} is answered as stock answers it"
            assert readers.both(method, target, body)[1].status == 200
        elif example.number in REFUSED:
            assert readers.both(method, target, body)[1].status == 400
        else:
            wrong += found
    assert not wrong, "\n".join(wrong)


# Filters beyond the recorded ones: each comparator on each kind of key, and values of odd types.
FILTERS = (
    "timestamp_ms = '1760000000000'",
    "timestamp_ms != 'x'",
    "timestamp > 1.5",
    "execution_time_ms != 1000",
    "execution_time != 1000.5",
    "end_time > 1760000001000 AND execution_time > 0",
    "client_request_id IN ('cr', 'x')",
    "client_request_id != 'cr'",
    "client_request_id NOT IN ('x')",
    "request_id LIKE 'tr-abc%'",
    "request_id NOT IN ('tr-abc00000000000000000000000000001')",
    "status ilike 'ok'",
    "status in ('OK')",
    "name ILIKE 'AG%' AND name IS NOT NULL",
    "name IS NULL",
    "tags.NAME = 'agent'",
    "tags.`k2` LIKE 'v%' AND tags.k = 'v'",
    "tags.k != 'x'",
    "tags.`mlflow.trace.spansLocation` = 'TRACKING_STORE'",
    "metadata.mlflow.source.type != 'LOCAL'",
    "metadata.m2 IS NOT NULL AND metadata.nope IS NULL",
    "metadata.`mlflow.trace.session` LIKE 's%'",
    "metadata.mlflow.trace.session IS NULL",
    "metadata.`mlflow.trace.tokenUsage` IS NULL",
    'metadata.mlflow.trace.tokenUsage != \'{"input_tokens": 11, "output_tokens": 5, "total_tokens": 15}\'',
    "metadata.mlflow.trace.tokenUsage = 'x'",
    'metadata.mlflow.trace.cost = \'{"input_cost": 1.5e-06, "output_cost": 3e-06, "total_cost": 4.5e-06}\'',
    "metadata.mlflow.trace.cost != '{}'",
    "run_id IS NOT NULL",
    "run_id IS NULL",
    "prompt != 'p/1'",
    "prompt = 'p'",
    "span.name != 'root'",
    "span.name like 'r%'",
    "span.name ILIKE 'CH%'",
    "span.status IN ('OK', 'UNSET')",
    "span.name = 'root' AND timestamp_ms > 1760000000000",
    "span.name = 'root' AND timestamp_ms >= 1759999999000 AND timestamp < 1860000000000",
    "span.name = 'root' AND span.name = 'child'",
    "span.content ILIKE '%PLAIN%' AND span.name = 'root'",
    "trace.text like '%yo%'",
    "span.attributes.s ILIKE '%PLAIN%'",
    "span.attributes.s != 'plain'",
    "span.attributes.`gen_ai.request.model` LIKE '%gpt%'",
    "feedback.helpful != 'true'",
    "feedback.helpful IS NULL",
    "feedback.score <= 4 AND feedback.score < 5.5",
    "feedback.score LIKE '4%'",
    "feedback.q ILIKE '%GOOD%'",
    "expectation.exp IS NOT NULL",
    "expectation.exp IS NULL",
    "feedback.exp IS NOT NULL",
    "expectation.expn >= 3",
    "feedback.q >= 'a'",
    "feedback.q in ('a')",
    "issue.id = 'x'",
    "issue.other = 'x'",
    "status = 'OK'; status = 'ERROR'",
    "status = 'OK' status = 'OK'",
    "request_id = 'a' AND AND status = 'OK'",
    "status = 5",
    "timestamp_ms = ('a')",
    "timestamp BETWEEN 1 AND 2",
    "tags. = 'x'",
    "span. = 'x'",
    "span.attributes = 'x'",
    "`attribute`.status = 'OK'",
    'attributes.`status` = "OK"',
    "metadata.x IN ('a')",
    "text IS NULL",
    "prompt IS NULL",
    'name = "it\'s"',
    "name RLIKE '^a.*t$'",
    "name RLIKE '(?i)AGENT' AND tags.k RLIKE 'v|x'",
    "request_id RLIKE 'tr-abc0+[1-4]$'",
    "client_request_id RLIKE '[[:alpha:]]{2}'",
    "metadata.m2 RLIKE '.'",
    "span.name RLIKE 'o{2}t' AND span.type RLIKE '^$|L'",
    "span.attributes.s RLIKE 'pl.*n$'",
    "feedback.q RLIKE 'go+d' AND expectation.exp RLIKE '.'",
    "run_id RLIKE '.'",
)
ORDERS = (
    ["name DESC", "status"],
    ["execution_time DESC", "request_id DESC"],
    ["tags.k", "metadata.m2 DESC"],
    ["tags.name"],
    ["metadata.`mlflow.trace.session` DESC", "experiment_id"],
    ["timestamp", "timestamp_ms"],
    ["trace.status DESC"],
    ["issue.id"],
    ["run_id DESC"],
    ["tags.`k` ASC", "tags.k2"],
)


def test_every_filter_finds_what_stock_finds(readers: Readers) -> None:
    wrong: list[str] = []
    for text in FILTERS:
        body = {"locations": locations("1", "2"), "filter": text, "max_results": 400}
        wrong += readers.differences("POST", f"{A3}traces/search", body)
    assert not wrong, "\n".join(wrong)


def test_every_order_is_that_of_stock(readers: Readers) -> None:
    wrong: list[str] = []
    for order_by in ORDERS:
        body = {"locations": locations("1", "2"), "order_by": order_by, "max_results": 400}
        wrong += readers.differences("POST", f"{A3}traces/search", body)
    assert not wrong, "\n".join(wrong)


def test_pages_put_together_are_the_whole_result(readers: Readers) -> None:
    found: list[str] = []
    token = None
    while token is not None or not found:
        body = {"locations": locations("1", "2"), "max_results": 7}
        sent = json.dumps(body | ({"page_token": token} if token else {})).encode()
        page = readers.ours.ask("POST", f"{A3}traces/search", sent, JSON).json()
        found += [trace["trace_id"] for trace in page["traces"]]
        token = page.get("next_page_token")
    assert found == readers.trace_ids


RANGE = {"start_time_ms": 1759913600000, "end_time_ms": 1760086400000}


def a_metric(view: str, name: str, *kinds: str | float, **more: Any) -> dict[str, Any]:
    """A query for a metric; a number is a percentile."""
    aggregations = [
        {"aggregation_type": kind}
        if isinstance(kind, str)
        else {"aggregation_type": "PERCENTILE", "percentile_value": kind}
        for kind in kinds
    ]
    query = {"view_type": view, "metric_name": name, "aggregations": aggregations}
    return {"experiment_ids": ["1", "2"], **query, **more}


# Beyond the recorded ones: filters of each kind in each view, buckets, percentiles of groups.
METRIC_QUERIES = (
    a_metric("TRACES", "trace_count", "COUNT", time_interval_seconds=7, **RANGE),
    a_metric("TRACES", "latency", 0, 33, 100, "AVG", dimensions=["trace_name"]),
    a_metric("TRACES", "total_tokens", "SUM", 90, time_interval_seconds=60, **RANGE),
    a_metric("TRACES", "session_count", "COUNT", time_interval_seconds=86400, **RANGE),
    a_metric("TRACES", "trace_count", "COUNT", filters=["trace.metadata.`mlflow.user` = 'root'"]),
    a_metric(
        "TRACES",
        *("trace_count", "COUNT"),
        filters=[
            "trace.metadata.`mlflow.trace.tokenUsage` = "
            '\'{"input_tokens": 11, "output_tokens": 5, "total_tokens": 15}\''
        ],
    ),
    a_metric("SPANS", "span_count", "COUNT", filters=["trace.tag.k = 'v'"]),
    a_metric("SPANS", "span_count", "COUNT", filters=["span.status = 'OK'"], **RANGE),
    a_metric("SPANS", "latency", 50, 99.9, "MIN", "MAX", time_interval_seconds=3600, **RANGE),
    a_metric("SPANS", "total_cost", "SUM", "AVG", 50, filters=["trace.status = 'OK'"]),
    a_metric("SPANS", "input_cost", "MAX", dimensions=["span_model_name"], **RANGE),
    a_metric("SPANS", "total_cost", "SUM", filters=["span.name = 'root'"]),
    a_metric("SPANS", "span_count", "COUNT", filters=["assessment.name = 'x'"]),
    a_metric("ASSESSMENTS", "assessment_count", "COUNT", filters=["trace.status = 'OK'"]),
    a_metric("ASSESSMENTS", "assessment_count", "COUNT", filters=["trace.tag.k = 'v'"]),
    a_metric(
        "ASSESSMENTS",
        *("assessment_count", "COUNT"),
        filters=["trace.metadata.mlflow.trace.session = 's-1'", "assessment.type = 'feedback'"],
    ),
    a_metric("ASSESSMENTS", "assessment_value", 25, time_interval_seconds=86400, **RANGE),
    a_metric("TRACES", "trace_count", "COUNT", filters=["trace.status.x = 'OK'"]),
    a_metric("TRACES", "trace_count", "COUNT", filters=["bogus.status = 'OK'"]),
    a_metric("TRACES", "trace_count", "COUNT", filters=["trace.status = 5"]),
    a_metric("TRACES", "trace_count", "COUNT", max_results=1, dimensions=["trace_status"]),
    a_metric("SPANS", "bogus", "COUNT"),
    a_metric("ASSESSMENTS", "assessment_value", "SUM"),
    a_metric("TRACES", "latency", "AVG", dimensions=["trace_name", "x"]),
    a_metric("TRACES", "trace_count", "COUNT") | {"experiment_ids": []},
)


def test_every_metric_is_that_of_stock(readers: Readers) -> None:
    wrong: list[str] = []
    for query in METRIC_QUERIES:
        wrong += readers.differences("POST", f"{A3}traces/metrics", query)
    assert not wrong, "\n".join(wrong)


DATASET_SEARCHES = (
    {"filter_string": "created_time > 5 AND tags.team = 'y'"},
    {"filter_string": "created_time = 1.5"},
    {"filter_string": "created_time = 'x'"},
    {"filter_string": "created_by ILIKE 'BO%'"},
    {"filter_string": "created_by IN ('bob')"},
    {"filter_string": "name IS NULL"},
    {"filter_string": "tags.team != 'x' AND last_updated_by = 'bob'"},
    {"filter_string": "tag.x = 'y'"},
    {"filter_string": "tags.x = 5"},
    {"order_by": ["last_update_time", "name DESC"]},
    {"order_by": ["created_by"]},
    {"max_results": 0},
    {"max_results": 50001},
    {"max_results": 2, "page_token": "eyJvZmZzZXQiOiAxfQ=="},
    {"page_token": "x"},
    {"experiment_ids": ["1", "999"]},
    {"experiment_ids": ["2"]},
)


def test_every_search_for_datasets_finds_what_stock_finds(readers: Readers) -> None:
    wrong: list[str] = []
    for body in DATASET_SEARCHES:
        wrong += readers.differences("POST", f"{A3}datasets/search", body)
    assert not wrong, "\n".join(wrong)


def test_archived_traces_are_read_and_deleted_as_by_stock(readers: Readers) -> None:
    """The last test: stock moves the spans of all finished traces to files."""
    files = readers.directory / "mlartifacts" / "archive"
    count = archive(readers.uri, files.as_uri())
    found = sorted(files.rglob("traces.pb"))
    assert len(found) == count > 10
    ids = [path.parent.parent.name for path in found]
    gone, broken, *whole = ids
    wrong: list[str] = []
    for id_ in ids:
        for query in ("", "&allow_partial=true"):
            wrong += readers.differences("GET", f"{A3}traces/get?trace_id={id_}{query}")
        theirs, ours = readers.both("GET", f"{AJAX}get-trace-artifact?request_id={id_}")
        assert theirs.json() == ours.json(), id_
    query = "&".join(f"trace_ids={id_}" for id_ in [*whole, "no"])
    wrong += readers.differences("GET", f"{A3}traces/batchGet?{query}")
    assert not wrong, "\n".join(wrong)

    found[0].unlink()
    found[1].write_bytes(found[1].read_bytes()[:-1])
    query = f"trace_ids={whole[0]}&trace_ids={gone}"
    for target in (f"{A3}traces/get?trace_id={gone}", f"{A3}traces/batchGet?{query}"):
        assert not readers.differences("GET", target)
    for target in (
        f"{A3}traces/get?trace_id={broken}",
        f"{A3}traces/batchGet?{query}&trace_ids={broken}",
        f"{AJAX}get-trace-artifact?request_id={broken}",
    ):
        theirs, ours = readers.both("GET", target)
        assert (theirs.status, ours.status) == (500, 500)
        assert ours.json()["message"] == "Trace data is corrupted for path=traces.pb"

    body = {"experiment_id": "1", "request_ids": [gone, whole[0]]}
    experiment = {path.parts[-5]: path for path in found}
    assert set(experiment) == {"1"}, "the traces of the recorded requests belong to experiment 1"
    asked = readers.ours.ask("POST", f"{A3}traces/delete-traces", json.dumps(body).encode(), JSON)
    assert asked.json() == {"traces_deleted": 2}
    assert not found[2].exists()
    assert not readers.differences("GET", f"{A3}traces/get?trace_id={whole[0]}")
