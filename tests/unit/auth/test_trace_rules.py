"""The rules of traces: which experiments, and which types a search tells about."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from headrace.api.traces.rules import ADDS_TO_TRACE, ReadsTraces, has_assessments, selected_types
from headrace.api.traces.traces.types import SearchTracesV2
from headrace.auth.authority import Denied
from headrace.auth.decide import Defaults, Either, Grant, Level, Step, levels, meets
from headrace.auth.owners_sql import Owners
from headrace.auth.resolve import requirements

if TYPE_CHECKING:
    from headrace.auth.rules import Resource

OWNERS = Owners({}, {}, {"tr-1": "1"}, {}, {})


def search(**fields: Any) -> list[str]:
    rule = ReadsTraces()
    req = SearchTracesV2(experiment_ids=["1", "02"], **fields)
    found = [steps for demand in rule.demands(req) for steps in requirements(demand, OWNERS, "ann")]
    return [" or ".join(f"{s.resource_type}/{s.id}.{s.action}" for s in steps) for steps in found]


def of(part: str) -> list[str]:
    return [f"{part}/*.read or experiment/{n}.read" for n in (1, 2)]


def test_a_search_needs_every_experiment_and_its_traces() -> None:
    assert search() == ["experiment/1.read", "experiment/2.read", *of("trace")]


@pytest.mark.parametrize(
    ("fields", "types"),
    [
        ({"filter": "metadata.x = 'a'"}, []),
        ({"filter": "run_id = 'r'"}, ["run"]),
        ({"filter": "metadata.`mlflow.modelId` = 'm'"}, ["logged_model"]),
        ({"filter": "feedback.good = 'yes'"}, ["assessment"]),
        ({"order_by": ["run_id DESC"]}, ["run"]),
        ({"filter": "nonsense"}, ["assessment", "logged_model", "run"]),
    ],
)
def test_a_search_by_an_id_needs_its_type(fields: Any, types: list[Resource]) -> None:
    expected = [one for part in types for one in of(part)]
    assert search(**fields)[4:] == expected
    found = selected_types([fields.get("filter")], fields.get("order_by", ()))
    assert found == frozenset(types)


def test_a_search_without_experiments_is_denied() -> None:
    with pytest.raises(Denied):
        list(ReadsTraces().demands(SearchTracesV2(experiment_ids=[])))


@pytest.mark.parametrize(
    ("grants", "met"),
    [
        ("experiment 1 EDIT", True),
        ("experiment 1 EDIT,trace * READ", True),
        ("experiment 1 READ,trace * EDIT", True),
        ("experiment 1 READ,trace * READ", False),
        ("experiment 1 READ", False),
    ],
)
def test_an_assessment_needs_the_experiment_or_the_traces(grants: str, met: bool) -> None:
    """A grant for traces that is too low does not take away what the experiment allows."""
    (read, either) = requirements(ADDS_TO_TRACE.demand("tr-1"), OWNERS, "ann")
    assert read == (Step("experiment", "1", "read"),)
    assert isinstance(either, Either)
    found = levels([Grant(*one.split()) for one in grants.split(",")])
    nothing = Defaults(Level.NO_PERMISSIONS, Level.NO_PERMISSIONS)
    assert meets(either, found, nothing) is met


def test_a_trace_may_bring_assessments() -> None:
    class Info:
        assessments: tuple[str, ...] = ("a",)

    class Trace:
        trace_info = Info()

    class Request:
        trace = Trace()

    assert has_assessments(Request())
    Info.assessments = ()
    assert not has_assessments(Request())
