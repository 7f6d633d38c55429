"""The rule column: every route has a rule, and its ids are fields of the handler's request."""

from __future__ import annotations

import re
import typing
from typing import Any

import pytest

from headrace.api.route import Raw, Route
from headrace.api.routes import ROUTES, USER_ROUTES
from headrace.api.traces.traces.types import ExperimentLocation, SearchTraces, TraceLocation
from headrace.api.tracking.artifacts.rules import PresignsUpload
from headrace.api.tracking.artifacts.types import PresignUpload
from headrace.api.tracking.runs.types import LogBatch, MetricIn
from headrace.auth.rules import (
    ADMIN,
    ANYONE,
    METRICS,
    OPEN,
    UNRULED,
    Demand,
    Judged,
    Needs,
    Scoped,
    experiment,
    logged_model,
    needs,
    run,
    undenied,
    values,
)
from headrace.contract.errors import ApiError

# Fields that raw handlers read from the query string (MLflow's contract), besides arguments of the path.
QUERY_FIELDS = {"run_id", "run_uuid", "name", "path", "request_id"}


async def handler(req: Any, ctx: Any) -> None:
    """Answers nothing."""


def test_a_row_without_a_rule_does_not_load() -> None:
    with pytest.raises(TypeError, match="rule"):
        Route("GET", "/x", handler)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="rule"):
        Raw("GET", "/x", handler)  # type: ignore[call-arg]


def test_the_ids_of_a_rule_are_fields_of_the_request() -> None:
    checked = 0
    for route in ROUTES + USER_ROUTES:
        if not isinstance(route.rule, Needs | Judged):
            assert route.rule in (OPEN, ANYONE, METRICS, ADMIN, UNRULED)
            continue
        for need in getattr(route.rule, "needs", ()):
            if isinstance(need.ids, str):
                assert_fields(route, need.ids)
                checked += 1
    assert checked > 60


def assert_fields(route: Route, path: str) -> None:
    head, many, rest = path.partition("[]")
    arguments = set(re.findall(r"\{(\w+)(?::path)?\}", route.path))
    if route.raw:
        known_names = QUERY_FIELDS | arguments | {name for _, name in route.header_fields}
        assert set(head.split("|")) & known_names or "artifacts/" in route.path
        return
    fields = typing.get_type_hints(typing.get_type_hints(route.handler)["req"])
    *outer, head = head.split(".")
    for name in outer:
        (inside, *_) = typing.get_args(fields[name]) or (fields[name],)
        fields = typing.get_type_hints(inside)
    known = [fields[name] for name in head.split("|") if name in fields]
    assert known, (route.method, route.path, path)
    for field in known:
        assert (typing.get_origin(field) is list) == bool(many), (route.path, path)
        if rest:
            (item,) = typing.get_args(field)
            for name in rest.removeprefix(".").split("."):
                assert name in typing.get_type_hints(item), (route.path, path)
                kinds = typing.get_args(typing.get_type_hints(item)[name])
                item = kinds[0] if kinds else None


def test_a_path_reaches_a_field_of_a_field() -> None:
    """Of Structs and of mappings: the places of a search for traces."""
    places = [
        TraceLocation(mlflow_experiment=ExperimentLocation(experiment_id="1")),
        TraceLocation(),
        TraceLocation(mlflow_experiment=ExperimentLocation(experiment_id="2")),
    ]
    path = "locations[].mlflow_experiment.experiment_id"
    assert list(values(path, SearchTraces(locations=places))) == ["1", "2"]
    request = {"locations": [{"mlflow_experiment": {"experiment_id": "3"}}, {}]}
    assert list(values(path, request)) == ["3"]


def test_the_conditions_of_a_request_name_each_id_in_it() -> None:
    rule = needs(run("update"), logged_model("update", "metrics[].model_id"), undenied("trace"))
    request = LogBatch(
        run_id="r1",
        metrics=[
            MetricIn(key="a", value=1.0, timestamp=1, model_id="m-1"),
            MetricIn(key="b", value=1.0, timestamp=1),
            MetricIn(key="c", value=1.0, timestamp=1, model_id="m-2"),
        ],
    )
    assert list(rule.demands(request)) == [
        Demand("run", "update", "r1", "experiment", None, "run"),
        Demand("logged_model", "update", "m-1", "experiment", None, "logged_model"),
        Demand("logged_model", "update", "m-2", "experiment", None, "logged_model"),
        Demand("trace", "undenied", None, None, None, "trace"),
    ]


def test_the_first_alternative_that_is_set_is_the_id() -> None:
    rule = needs(run("read"))
    assert [d.id for d in rule.demands({"run_id": "", "run_uuid": "old"})] == ["old"]
    assert [d.id for d in rule.demands({"run_id": "new", "run_uuid": "old"})] == ["new"]
    assert [d.id for d in rule.demands({}, {"run_id": "new"})] == ["new"]
    with pytest.raises(ApiError, match="required parameter 'run_uuid'"):
        list(rule.demands({}))


def test_each_id_of_a_list_is_a_condition() -> None:
    rule = needs(experiment("read", "experiment_ids[]"))
    assert [d.id for d in rule.demands({"experiment_ids": ["1", "2"]})] == ["1", "2"]


def test_searches_say_which_rows_they_are_narrowed_to() -> None:
    scoped = {route.path: route.rule.rows for route in ROUTES if isinstance(route.rule, Scoped)}
    assert scoped["/api/2.0/mlflow/experiments/search"] == "experiment"
    assert scoped["/api/2.0/mlflow/runs/search"] == "experiment"
    assert scoped["/api/2.0/mlflow/model-versions/search"] == "registered_model"


def test_the_page_uploads_to_the_run_that_is_judged() -> None:
    """The handler prefers `run_id`, so a `run_uuid` beside it must not be judged in its place."""
    (route,) = [r for r in ROUTES if r.path == "/ajax-api/2.0/mlflow/upload-artifact"]
    demands = route.rule.demands({"run_uuid": "other", "run_id": "written"})
    assert [demand.id for demand in demands] == ["written"]


def test_only_probes_and_static_files_are_open() -> None:
    assert {route.path for route in ROUTES if route.rule is OPEN} == {
        "/health",
        "/livez",
        "/oidc/callback",
        "/oidc/login",
        "/oidc/logout",
        "/readyz",
        "/static-files/{path:path}",
        "/api/3.0/mlflow/server-info",
    }


def test_a_presigned_upload_is_of_a_run_or_a_model_and_the_request_is_judged_by_it() -> None:
    """A request with both or none is not valid, whatever the caller may do."""
    rule = PresignsUpload()
    for req in (PresignUpload(path="x", run_id="r", model_id="m"), PresignUpload(path="x")):
        with pytest.raises(ApiError, match="Exactly one of run_id and model_id"):
            list(rule.demands(req))
    assert [d.id for d in rule.demands(PresignUpload(path="x", run_id="r"))] == ["r"]
    assert [d.named for d in rule.demands(PresignUpload(path="x", model_id="m"))] == [
        "logged_model"
    ]
