"""The table of stock's routes against the URL map of the installed mlflow package."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING

import pytest
from tests.compat.url_map import url_map

from headrace.api.routes import ROUTES
from headrace.bridge.reasons import reason
from headrace.bridge.routes import Table, listing, rows, spellings
from headrace.bridge.rules import RULES

if TYPE_CHECKING:
    from pathlib import Path


def test_the_table_is_the_url_map_of_mlflow(tmp_path: Path) -> None:
    table = {
        (method, spelling)
        for line in rows()
        if not line.since
        for method in line.methods
        for spelling in spellings(line.path)
    }
    stock = url_map(sys.executable, tmp_path)
    assert len(stock) > 400
    assert sorted(stock - table) == []
    assert sorted(table - stock) == []


def test_every_route_is_listed_once_as_native_or_bridged() -> None:
    listed = listing(ROUTES)
    assert len({(method, path) for method, path, _ in listed}) == len(listed)
    ours = {(route.method, route.path) for route in ROUTES}
    assert {(method, path) for method, path, native in listed if native} == ours
    of_stock = sum(len(line.methods) for line in rows() if not line.since)
    added = [path for method, path, native in listed if native and not is_stocks(method, path)]
    assert len(listed) == of_stock + len(added)


def test_every_bridged_route_has_a_reason() -> None:
    assert all(reason(path) for _, path, native in listing(ROUTES) if not native)
    with pytest.raises(LookupError):
        reason("/api/3.0/mlflow/something/new")


def is_stocks(method: str, path: str) -> bool:
    found = Table().find(re.sub(r"\{[\w-]+(:path)?\}", "x", path))
    return found is not None and method in found.methods


def test_arguments_in_a_path_are_matched_as_stock_matches_them() -> None:
    table = Table()

    def methods(path: str) -> set[str]:
        found = table.find(path)
        return set(found.methods) if found else set()

    assert methods("/api/3.0/mlflow/traces/tr-1") == {"GET"}
    assert methods("/ajax-api/3.0/mlflow/traces/tr-1/assessments/a-1") == {
        "DELETE",
        "GET",
        "PATCH",
    }
    assert methods("/api/3.0/mlflow/traces/tr-1/nothing") == set()
    assert methods("/api/3.0/mlflow/mcp-servers/com.example/files/versions/1.0") >= {"DELETE"}
    assert methods("/gateway/gemini/v1beta/models/m:generateContent") == {"POST"}
    assert methods("/gateway/gemini/v1beta/models/m:other") == set()
    assert methods("/api/2.0/mlflow/users/current") == set()
    assert methods("/api/3.0/mlflow/traces/search/") == set()


def test_only_what_starts_a_job_asks_for_job_runners() -> None:
    table = Table()
    for path, expected in [
        ("/ajax-api/3.0/jobs/", {"POST"}),
        ("/ajax-api/3.0/jobs/search", set()),
        ("/ajax-api/3.0/jobs/j-1", set()),
        ("/api/3.0/mlflow/prompt-optimization/jobs", {"POST"}),
        ("/api/3.0/mlflow/prompt-optimization/jobs/search", set()),
        ("/ajax-api/3.0/mlflow/scorer/invoke", {"POST"}),
        ("/api/3.0/mlflow/traces/search", set()),
    ]:
        found = table.find(path)
        assert found is not None, path
        assert found.job_methods == expected, path


def test_every_bridged_route_has_a_rule_and_no_native_one_has_two() -> None:
    native = {(method, path) for method, path, is_native in listing(ROUTES) if is_native}
    shapes = {(method, re.sub(r"\{[\w-]+(:path)?\}", "{}", path)) for method, path in native}
    for line in rows():
        for method in line.methods:
            shape = method, re.sub(r"\{[\w-]+(:path)?\}", "{}", line.path)
            assert (line.rule is None) == (shape in shapes), (method, line.path)
            found = Table().find(re.sub(r"\{[\w-]+(:path)?\}", "x", line.path))
            assert found is not None
            assert line.rule is None or method in found.rules


def test_every_rule_of_the_bridge_is_used() -> None:
    used = {id(line.rule) for line in rows()}
    assert not [name for name, rule in RULES.items() if id(rule) not in used]
