"""Which experiment ids of a request are numbers in another spelling than the decimal text."""

from __future__ import annotations

from typing import Any

import pytest

from headrace.bridge.experiment_ids import misspelled

OTHER = ["01", " 1", "1 ", "+1", "-0", "1_0", "1.0", ".1e1", "0x1", "\u0661", "\x1f1", "00"]


@pytest.mark.parametrize("id_", [*OTHER, 1, 1.0, True])
def test_a_number_in_another_spelling(id_: Any) -> None:
    assert misspelled([("experiment_ids", "1"), ("experiment_ids", str(id_))], None) == (
        str(id_) not in {"1", "True"}
    )
    location = {"mlflow_experiment": {"experiment_id": id_}}
    for body in (
        {"experiment_id": id_},
        {"experimentIds": ["1", id_]},
        {"locations": [{}, location]},
        {"trace": {"traceInfo": {"trace_location": location}}},
    ):
        assert misspelled([], body), body


@pytest.mark.parametrize("id_", ["0", "1", "10", "-1", "", "abc", "a1", None])
def test_other_ids_are_left_to_mlflow(id_: Any) -> None:
    assert not misspelled([("experiment_id", id_ or "")], {"experiment_ids": [id_]})


def test_values_of_users_are_not_judged() -> None:
    assert not misspelled(
        [("filter", "01"), ("max_results", "01")],
        {"assessment": {"feedback": {"value": {"experiment_id": "01"}}}, "run_id": "01"},
    )


@pytest.mark.parametrize(
    "body", [None, [], "01", 1, {"query": 1}, {"query": "{"}, {"locations": 1}]
)
def test_a_body_without_ids(body: Any) -> None:
    assert not misspelled([], body)
    assert not misspelled([], body, graphql=True)


@pytest.mark.parametrize(
    ("query", "variables"),
    [
        ('{f(input: {experimentId: "ID"}) {x}}', None),
        ('{a: f(input: {experimentIds: ["1", "ID"]}) {x}}', {}),
        ("query q($x: String) {f(input: {experimentIds: [$x]}) {x}}", {"x": "ID"}),
        ('query q($x: String = "ID") {f(input: {experimentId: $x}) {x}}', None),
        ("query q($data: I) {f(input: $data) {x}}", {"data": {"experimentId": "ID"}}),
        ('query q($data: I = {experimentId: "ID"}) {f(input: $data) {x}}', None),
        ('fragment p on Q {f(input: {experimentId: "ID"}) {x}} {...p}', None),
    ],
)
def test_ids_in_graphql(query: str, variables: Any) -> None:
    def judged(id_: str) -> bool:
        sent = {"query": query.replace("ID", id_), "variables": variables}
        if variables == {"x": "ID"}:
            sent["variables"] = {"x": id_}
        elif variables:
            sent["variables"] = {"data": {"experimentId": id_}}
        return misspelled([], sent, graphql=True)

    assert judged("01")
    assert not judged("1")
