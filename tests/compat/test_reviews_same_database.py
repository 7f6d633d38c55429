"""headrace and stock on one database: each reads the scorers and review queues that the other wrote.

Invalid requests get the same answers from both.
"""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

import pytest
from tests.fix_database import empty_database
from tests.fix_server import headrace, stock
from tests.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.wire import Answer

pytestmark = pytest.mark.compat
A3: Final = "/api/3.0/mlflow/"
JSON: Final = {"Content-Type": "application/json"}
TRACES: Final = ("tr-1", "tr-2", "tr-3")
JUDGE: Final = {
    "name": "j",
    "instructions_judge_pydantic_data": {"instructions": "{{ outputs }}", "model": "gateway:/ep"},
}


@dataclass(frozen=True)
class Both:
    """Two servers on one database."""

    stock: Wire
    ours: Wire
    model_definition_id: str

    def writer(self, which: str) -> Wire:
        """One of the servers."""
        return self.stock if which == "stock" else self.ours

    def read(self, path: str, **query: Any) -> Any:
        """The answer to a GET, which must be the same from both."""
        target = f"{A3}{path}?{urlencode(query, doseq=True)}"
        theirs, ours = (wire.ask("GET", target) for wire in (self.stock, self.ours))
        assert (ours.status, ours.json()) == (theirs.status, theirs.json()), target
        assert ours.status == 200, str(ours)
        return ours.json()


def send(wire: Wire, path: str, body: Any, method: str = "POST") -> Answer:
    """The answer to a request with this body."""
    return wire.ask(method, A3 + path, json.dumps(body).encode(), JSON)


def ok(wire: Wire, path: str, body: Any, method: str = "POST") -> Any:
    """The JSON of an answer that must be 200."""
    answer = send(wire, path, body, method)
    assert answer.status == 200, f"{path} {body}: {answer}"
    return answer.json()


@pytest.fixture(scope="module")
def both(
    database: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Both]:
    """Both servers, with an endpoint of the gateway and some traces."""
    directory = tmp_path_factory.mktemp(f"reviews-{database}")
    with ExitStack() as stack:
        uri = stack.enter_context(empty_database(database, request, directory))
        theirs = stack.enter_context(Wire(stack.enter_context(stock(uri, directory)).url))
        running = stack.enter_context(
            headrace(uri, directory, environment={"HEADRACE_BRIDGE": "off"})
        )
        ours = stack.enter_context(Wire(running.url))
        secret = {"secret_name": "k", "secret_value": {"api_key": "x"}, "provider": "openai"}
        secret_id = ok(theirs, "gateway/secrets/create", secret)["secret"]["secret_id"]
        definition = {"name": "d", "secret_id": secret_id, "provider": "openai", "model_name": "m"}
        made = ok(theirs, "gateway/model-definitions/create", definition)["model_definition"]
        used = {"model_definition_id": made["model_definition_id"], "linkage_type": "PRIMARY"}
        for name in ("ep", "gone"):
            endpoint = {"name": name, "model_configs": [used | {"weight": 1.0}]}
            found = ok(theirs, "gateway/endpoints/create", endpoint)["endpoint"]
            ids = {"endpoint_id": found["endpoint_id"]}
        gone = JUDGE | {"instructions_judge_pydantic_data": {"model": "gateway:/gone"}}
        register(ours, "gone", gone)
        ok(theirs, "gateway/endpoints/delete", ids, "DELETE")
        place = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": "0"}}
        for trace_id in TRACES:
            info = {"trace_id": trace_id, "trace_location": place, "state": "OK"}
            ok(theirs, "traces", {"trace": {"trace_info": info}})
        yield Both(theirs, ours, made["model_definition_id"])


def register(wire: Wire, name: str, scorer: Any) -> Any:
    """The answer to a registration in the default experiment."""
    text = scorer if isinstance(scorer, str) else json.dumps(scorer)
    body = {"experiment_id": "0", "name": name, "serialized_scorer": text}
    return ok(wire, "scorers/register", body)


@pytest.mark.parametrize("which", ["ours", "stock"])
def test_scorers_are_read_as_the_other_wrote_them(both: Both, which: str) -> None:
    writer, name = both.writer(which), f"of {which}"
    made = register(writer, name, JUDGE)
    assert json.loads(made["serialized_scorer"]) == JUDGE
    register(writer, name, {"call_source": None, "x": "\u00e4"})
    assert register(writer, name, '{"name":"j" }')["serialized_scorer"] == '{"name":"j" }'
    for version in ((), (1,), (2,), (3,)):
        given = {"version": version[0]} if version else {}
        both.read("scorers/get", experiment_id="0", name=name, **given)
    both.read("scorers/versions", experiment_id="0", name=name)
    both.read("scorers/list", experiment_id="0")
    both.read("scorers/list")
    both.read("scorers/list", experiment_ids=["0"])
    config = {
        "experiment_id": "0",
        "name": name,
        "sample_rate": 0,
        "filter_string": "status = 'OK'",
    }
    ok(writer, "scorers/online-config", config, "PUT")
    register(writer, name, JUDGE)
    ok(
        writer,
        "scorers/online-config",
        {**config, "sample_rate": 0.25, "filter_string": None},
        "PUT",
    )
    found = both.read("scorers/online-configs", scorer_ids=[made["scorer_id"], "nope"])
    assert [one["sample_rate"] for one in found["configs"]] == [0.25]
    reader = both.stock if which == "ours" else both.ours
    named = {"experiment_id": "0", "name": name}
    ok(reader, "scorers/delete", {**named, "version": 4}, "DELETE")
    both.read("scorers/versions", experiment_id="0", name=name)
    ok(reader, "scorers/delete", named, "DELETE")
    both.read("scorers/list", experiment_id="0")
    assert both.read("scorers/online-configs", scorer_ids=[made["scorer_id"]])["configs"] == []


def test_an_endpoint_that_is_gone_is_null_for_both(both: Both) -> None:
    found = both.read("scorers/get", experiment_id="0", name="gone")["scorer"]
    assert json.loads(found["serialized_scorer"])["instructions_judge_pydantic_data"] == {
        "model": None
    }


@pytest.mark.parametrize("which", ["ours", "stock"])
def test_review_queues_are_read_as_the_other_wrote_them(both: Both, which: str) -> None:
    writer = both.writer(which)
    schema = {"experiment_id": "0", "name": which, "type": "FEEDBACK", "input": {"text": {}}}
    schema_id = ok(writer, "label-schemas/create", schema)["label_schema"]["schema_id"]
    queue = {
        "experiment_id": "0",
        "name": f" Of {which} ",
        "queue_type": "CUSTOM",
        "users": ["B", " a"],
    }
    made = ok(writer, "review-queues/create", queue | {"schema_ids": [schema_id]})["review_queue"]
    queue_id = made["queue_id"]
    user = {"experiment_id": "0", "user": f"User {which}"}
    ok(writer, "review-queues/get-or-create-user", user)
    items = {"queue_id": queue_id, "item_ids": [*TRACES, TRACES[0]]}
    ok(writer, "review-queues/items/add", items)
    for item, status in zip(TRACES, ("COMPLETE", "DECLINED", "COMPLETE"), strict=True):
        done = {"queue_id": queue_id, "item_id": item, "status": status, "completed_by": "A"}
        ok(writer, "review-queues/items/set-status", done)
    again = {"queue_id": queue_id, "item_id": TRACES[2], "status": "PENDING"}
    ok(writer, "review-queues/items/set-status", again)
    both.read("review-queues/get", queue_id=queue_id)
    both.read("review-queues/get-by-name", experiment_id="0", name=f"OF {which}")
    for query in ({}, {"user": "A"}, {"item_id": TRACES[0]}, {"max_results": 1}, {"user": ""}):
        both.read("review-queues/list", experiment_id="0", **query)
    for query in ({}, {"status": "COMPLETE"}, {"max_results": 2}):
        page = both.read("review-queues/items/list", queue_id=queue_id, **query)
    both.read("review-queues/items/list", queue_id=queue_id, page_token=page["next_page_token"])
    reader = both.stock if which == "ours" else both.ours
    ok(reader, "review-queues/items/remove", items | {"item_ids": TRACES[:1]})
    new = {
        "queue_id": queue_id,
        "name": "New",
        "new_owner": "C",
        "update_users": True,
        "users": ["d"],
    }
    ok(reader, "review-queues/update", new)
    both.read("review-queues/get", queue_id=queue_id)
    ok(reader, "review-queues/delete", {"queue_id": queue_id})
    both.read("review-queues/list", experiment_id="0")


SCORER: Final = {"experiment_id": "0", "name": "gone", "serialized_scorer": "{}"}
QUEUE: Final = {"experiment_id": "0", "name": "q", "queue_type": "CUSTOM"}
STATUS: Final = {"queue_id": "rq-1", "item_id": "x", "status": "PENDING"}
REFUSED: Final = [
    ("POST", "scorers/register", SCORER | {"name": " "}),
    ("POST", "scorers/register", SCORER | {"serialized_scorer": "nope"}),
    ("POST", "scorers/register", SCORER | {"experiment_id": "x"}),
    ("POST", "scorers/register", {"experiment_id": "0"}),
    *(
        ("POST", "scorers/register", SCORER | {"serialized_scorer": json.dumps(data)})
        for data in (
            JUDGE | {"instructions_judge_pydantic_data": {"model": "gateway:/none"}},
            {"builtin_scorer_pydantic_data": {"model": 5}},
            {"third_party_scorer_data": {"model": " "}},
            {"memory_augmented_judge_data": {"base_judge": {"builtin_scorer_pydantic_data": {"model": ""}}}},
            {"third_party_scorer_data": {"kwargs": [1]}},
            {"a": [{"third_party_scorer_data": {"kwargs": {"x": [["api_base", 1]], "base_url": 1}}}]},
        )
    ),
    ("GET", "scorers/list?experiment_id=999", None),
    ("GET", "scorers/list?experiment_id=x", None),
    ("GET", "scorers/list?experiment_id=0&experiment_ids=0", None),
    ("GET", "scorers/versions?experiment_id=0", None),
    ("GET", "scorers/versions?experiment_id=0&name=none", None),
    ("GET", "scorers/get?experiment_id=0&name=gone&version=7", None),
    ("GET", "scorers/get?experiment_id=0&name=none&version=7", None),
    ("DELETE", "scorers/delete", {"experiment_id": "0", "name": "gone", "version": 7}),
    ("DELETE", "scorers/delete", {"experiment_id": "999", "name": "gone"}),
    ("PUT", "scorers/online-config", {"experiment_id": "0", "name": "none", "sample_rate": 0}),
    ("PUT", "scorers/online-config", {"experiment_id": "0", "name": "gone", "sample_rate": -0.5}),
    ("PUT", "scorers/online-config", {"experiment_id": "0", "name": "gone"}),
    ("PUT", "scorers/online-config", {"experiment_id": "0", "name": "gone", "sample_rate": 0, "filter_string": "x ="}),
    ("GET", "scorers/online-configs", None),
    ("POST", "review-queues/create", QUEUE | {"name": " "}),
    ("POST", "review-queues/create", QUEUE | {"name": " Default"}),
    ("POST", "review-queues/create", QUEUE | {"name": "x" * 251}),
    ("POST", "review-queues/create", QUEUE | {"users": [f"u{n}" for n in range(11)]}),
    ("POST", "review-queues/create", QUEUE | {"users": [" "]}),
    ("POST", "review-queues/create", QUEUE | {"schema_ids": ["ls-no", "ls-no", "x"]}),
    ("POST", "review-queues/create", QUEUE | {"schema_ids": ["x" * 37]}),
    ("POST", "review-queues/create", QUEUE | {"queue_type": "USER", "users": ["other"]}),
    ("POST", "review-queues/create", QUEUE | {"queue_type": "USER", "schema_ids": ["ls-1"]}),
    ("POST", "review-queues/create", {"experiment_id": "0", "name": "q"}),
    ("POST", "review-queues/create", QUEUE | {"experiment_id": "999"}),
    ("POST", "review-queues/get-or-create-user", {"experiment_id": "0", "user": " "}),
    ("POST", "review-queues/get-or-create-user", {"experiment_id": "0"}),
    ("GET", "review-queues/get", None),
    ("GET", "review-queues/get-by-name?experiment_id=0&name=none", None),
    ("GET", "review-queues/list?experiment_id=999", None),
    ("GET", "review-queues/list?experiment_id=0&max_results=0", None),
    ("GET", "review-queues/list?experiment_id=0&page_token=nope", None),
    ("POST", "review-queues/update", {"queue_id": "rq-1"}),
    ("POST", "review-queues/items/add", {"queue_id": "rq-1"}),
    ("POST", "review-queues/items/add", {"queue_id": "rq-1", "item_ids": ["tr-1"]}),
    ("POST", "review-queues/items/add", {"queue_id": "rq-1", "item_ids": ["x" * 51]}),
    ("POST", "review-queues/items/remove", {"queue_id": "rq-1", "item_ids": ["tr-1"]}),
    ("GET", "review-queues/items/list?queue_id=rq-1", None),
    ("GET", "review-queues/items/list?queue_id=rq-1&max_results=x", None),
    ("POST", "review-queues/items/set-status", STATUS),
    ("POST", "review-queues/items/set-status", STATUS | {"completed_by": "a"}),
    ("POST", "review-queues/items/set-status", STATUS | {"status": "COMPLETE"}),
    ("POST", "review-queues/items/set-status", STATUS | {"status": "COMPLETE", "completed_by": "x" * 251}),
    ("POST", "review-queues/items/set-status", {"queue_id": "rq-1", "item_id": "x"}),
]  # fmt: skip


def test_invalid_requests_get_the_same_answers(both: Both) -> None:
    wrong = []
    for method, path, body in REFUSED:
        sent = None if body is None else json.dumps(body).encode()
        theirs, ours = (
            wire.ask(method, A3 + path, sent, JSON if sent else {})
            for wire in (both.stock, both.ours)
        )
        assert theirs.status >= 400, f"{path} {body}: {theirs}"
        if (ours.status, ours.json()) != (theirs.status, theirs.json()):
            wrong.append(f"{method} {path} {body}\n   stock {theirs}\n   ours  {ours}")
    assert not wrong, "\n".join(wrong)


def test_the_questions_of_a_queue_with_items_stay(both: Both) -> None:
    made = ok(both.ours, "review-queues/create", QUEUE | {"name": "locked"})["review_queue"]
    user = {"experiment_id": "0", "user": "somebody"}
    own = ok(both.ours, "review-queues/get-or-create-user", user)["review_queue"]
    items = {"queue_id": made["queue_id"], "item_ids": TRACES[:1]}
    ok(both.ours, "review-queues/items/add", items)
    done = {"queue_id": made["queue_id"], "item_id": TRACES[1], "status": "PENDING"}
    for path, body in (
        ("update", {"queue_id": made["queue_id"], "update_schema_ids": True}),
        ("update", {"queue_id": made["queue_id"], "name": "SOMEBODY"}),
        ("update", {"queue_id": made["queue_id"], "new_owner": " "}),
        ("update", {"queue_id": own["queue_id"], "update_users": True}),
        ("items/add", items | {"item_ids": [TRACES[0], "tr-nope"]}),
        ("items/set-status", done),
        ("create", QUEUE | {"name": "LOCKED"}),
        ("get-or-create-user", user | {"user": "Locked"}),
    ):
        theirs, ours = (
            send(wire, f"review-queues/{path}", body) for wire in (both.stock, both.ours)
        )
        assert theirs.status >= 400
        assert (ours.status, ours.json()) == (theirs.status, theirs.json()), f"{path} {body}"


def test_an_endpoint_without_a_model_is_null_in_lists(both: Both) -> None:
    """`scorers/get` has its name, as in stock."""
    used = {"model_definition_id": both.model_definition_id, "linkage_type": "PRIMARY"}
    endpoint = {"name": "bare", "model_configs": [used]}
    endpoint_id = ok(both.stock, "gateway/endpoints/create", endpoint)["endpoint"]["endpoint_id"]
    judge = JUDGE | {"instructions_judge_pydantic_data": {"model": "gateway:/bare"}}
    register(both.ours, "bare", judge)
    detached = {
        "endpoint_id": endpoint_id,
        "model_definition_id": both.model_definition_id,
    }
    ok(both.ours, "gateway/endpoints/models/detach", detached)
    for path in ("list", "versions"):
        name = {} if path == "list" else {"name": "bare"}
        found = both.read(f"scorers/{path}", experiment_id="0", **name)["scorers"]
        (text,) = (one["serialized_scorer"] for one in found if one["scorer_name"] == "bare")
        assert json.loads(text)["instructions_judge_pydantic_data"] == {"model": None}
    one = both.read("scorers/get", experiment_id="0", name="bare")["scorer"]
    assert json.loads(one["serialized_scorer"]) == judge


def test_numbers_that_only_stock_stores_are_named(both: Both) -> None:
    """headrace refuses NaN and infinities, and shows those of stock as stock does."""
    bounds = {"min_value": "-Infinity", "max_value": "NaN"}
    schema = {"experiment_id": "0", "name": "odd", "type": "FEEDBACK", "input": {"numeric": bounds}}
    schema_id = ok(both.stock, "label-schemas/create", schema)["label_schema"]["schema_id"]
    found = both.read("label-schemas/get", schema_id=schema_id)["label_schema"]
    assert found["input"]["numeric"] == bounds
    both.read("label-schemas/list", experiment_id="0")
    used = {"model_definition_id": both.model_definition_id, "linkage_type": "PRIMARY"}
    endpoint = {"name": "odd", "model_configs": [used | {"weight": "Infinity"}]}
    ok(both.stock, "gateway/endpoints/create", endpoint)
    assert '"weight": "Infinity"' in json.dumps(both.read("gateway/endpoints/get", name="odd"))
    theirs, ours = (
        sorted(
            wire.ask("GET", f"{A3}gateway/endpoints/list").json()["endpoints"],
            key=itemgetter("name"),
        )
        for wire in (both.stock, both.ours)
    )  # stock's order is that of an index by random ids
    assert ours == theirs
    budget = {"budget_unit": "USD", "budget_amount": "Infinity", "target_scope": "GLOBAL",
              "duration": {"unit": "DAYS", "value": 1}, "budget_action": "ALERT"}  # fmt: skip
    policy = ok(both.stock, "gateway/budgets/create", budget)["budget_policy"]
    id_ = {"budget_policy_id": policy["budget_policy_id"]}
    assert both.read("gateway/budgets/get", **id_)["budget_policy"]["budget_amount"] == "Infinity"
    both.read("gateway/budgets/list")


def test_datasets_are_found_by_regular_expressions(both: Both) -> None:
    for name in ("answers 1", "answers 22", "questions"):
        ok(both.ours, "datasets/create", {"name": name, "tags": '{"t": "x"}'})
    for text in (
        "name RLIKE '^answers [0-9]{2}$'",
        "name RLIKE 'ANSWERS'",
        "name RLIKE '^answers' AND name != 'answers 1'",
        "created_by RLIKE 'x'",
        "name > 'b'",
    ):
        both.read("datasets/search", filter_string=text)
    for text in ("tags.t RLIKE 'x'", "created_time RLIKE 'x'"):
        target = f"{A3}datasets/search?{urlencode({'filter_string': text})}"
        theirs, ours = (wire.ask("GET", target) for wire in (both.stock, both.ours))
        assert (ours.status, ours.json()) == (theirs.status, theirs.json()), text
        assert ours.status == 400


def test_what_was_spent_of_a_budget_is_the_same_for_both(both: Both) -> None:
    """By all calls of models, and by those through an endpoint."""
    endpoint_id = both.read("gateway/endpoints/get", name="ep")["endpoint"]["endpoint_id"]
    now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    for n, (endpoint, user, dollars) in enumerate(
        (
            (endpoint_id, "ann", 0.5),
            (endpoint_id, "bob", 0.25),
            ("e-2", "ann", 4.0),
            ("", "ann", 100.0),
        )
    ):
        cost = {"input_cost": 0.0, "output_cost": dollars, "total_cost": dollars}
        metadata = {"mlflow.trace.cost": json.dumps(cost), "mlflow.auth.username": user}
        if endpoint:
            metadata["mlflow.gateway.endpointId"] = endpoint
        info = {
            "trace_id": f"tr-cost-{n}",
            "trace_location": {
                "type": "MLFLOW_EXPERIMENT",
                "mlflow_experiment": {"experiment_id": "0"},
            },
            "state": "OK",
            "request_time": now,
            "trace_metadata": metadata,
        }
        ok(both.ours, "traces", {"trace": {"trace_info": info}})
    for scope, target in (("GLOBAL", None), ("ENDPOINT", endpoint_id)):
        for unit, value in (("MONTHS", 1), ("WEEKS", 2), ("MINUTES", 60_000_000)):
            budget = {"budget_unit": "USD", "budget_amount": 5, "target_scope": scope,
                      "duration": {"unit": unit, "value": value}, "budget_action": "ALERT"}  # fmt: skip
            ok(both.stock, "gateway/budgets/create",
               budget | ({"target_value": target} if target else {}))  # fmt: skip
    windows = both.read("gateway/budgets/windows")["windows"]
    assert {one["current_spend"] for one in windows} == {4.75, 0.75}
