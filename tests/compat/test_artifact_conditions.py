"""Conditional and ranged downloads against stock MLflow, with each server's own entity tag and date."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.fix_pair import Pair
    from tests.wire import Answer, Wire

pytestmark = pytest.mark.compat
LETTERS = b"abcdefghijklmnopqrstuvwxyz"
OBJECT = "/api/2.0/mlflow-artifacts/artifacts/conditions/b.bin"
HEADERS = (
    "content-type",
    "content-length",
    "content-disposition",
    "content-range",
    "accept-ranges",
    "cache-control",
    "x-content-type-options",
)
# ETAG and DATE are replaced by the server's own values for the file.
CONDITIONS = (
    {},
    {"Range": "bytes=0-1", "If-Range": "ETAG"},
    {"Range": "bytes=0-1", "If-Range": "DATE"},
    {"Range": "bytes=0-1", "If-Range": "W/ETAG"},
    {"Range": "bytes=0-1", "If-Range": '"x"'},
    {"Range": "bytes=0-1", "If-Range": "Mon, 01 Jan 2018 00:00:00 GMT"},
    {"Range": "bytes=0-1", "If-Range": "Fri, 01 Jan 2100 00:00:00 GMT"},
    {"If-None-Match": "ETAG"},
    {"If-None-Match": "W/ETAG"},
    {"If-None-Match": '"x", ETAG'},
    {"If-None-Match": '"x"'},
    {"If-Modified-Since": "DATE"},
    {"If-None-Match": '"x"', "If-Modified-Since": "DATE"},
    {"If-Match": "ETAG"},
    {"If-Match": "W/ETAG"},
    {"If-Match": '"x", ETAG'},
    {"Range": "bytes=0-1", "If-None-Match": "ETAG"},
    {"Range": "bytes=0-1", "If-Match": '"x"'},
    {"If-Unmodified-Since": "Mon, 01 Jan 2018 00:00:00 GMT"},
)


def answered(wire: Wire, target: str, condition: dict[str, str]) -> list[str]:
    """A server's answer to a conditional request, as lines to compare."""
    plain = wire.ask("GET", target)
    tag, date = plain.headers["etag"], plain.headers["last-modified"]
    headers = {k: v.replace("ETAG", tag).replace("DATE", date) for k, v in condition.items()}
    answer: Answer = wire.ask("GET", target, headers=headers)
    shown = [f"{name}: {answer.headers[name]}" for name in HEADERS if name in answer.headers]
    kept = [name for name in ("etag", "last-modified") if name in answer.headers]
    return [str(answer.status), *shown, *kept, answer.body.decode()]


@pytest.fixture(scope="module")
def page(pair: Pair) -> str:
    """The page's download link for a file that has the same name on both servers."""
    for wire in (pair.stock, pair.ours):
        assert wire.ask("PUT", OBJECT, LETTERS).status == 200
    return OBJECT


@pytest.mark.parametrize("condition", CONDITIONS, ids=str)
def test_an_object_is_sent_under_the_same_conditions(
    pair: Pair, page: str, condition: dict[str, str]
) -> None:
    assert answered(pair.ours, page, condition) == answered(pair.stock, page, condition)


def run_of(wire: Wire) -> str:
    """A new run with a file; the link to that file."""
    body = b'{"experiment_id": "0", "start_time": 1}'
    answer = wire.ask(
        "POST", "/api/2.0/mlflow/runs/create", body, {"Content-Type": "application/json"}
    )
    run_id = answer.json()["run"]["info"]["run_id"]
    root = answer.json()["run"]["info"]["artifact_uri"].removeprefix("mlflow-artifacts:/")
    put = wire.ask("PUT", f"/api/2.0/mlflow-artifacts/artifacts/{root}/b.bin", LETTERS)
    assert put.status == 200
    return f"/get-artifact?run_id={run_id}&path=b.bin"


@pytest.mark.parametrize("condition", CONDITIONS, ids=str)
def test_a_page_download_is_sent_under_the_same_conditions(
    pair: Pair, condition: dict[str, str]
) -> None:
    ours, stock = (answered(wire, run_of(wire), condition) for wire in (pair.ours, pair.stock))
    assert ours == stock


def test_entity_tags_are_made_in_the_same_way(pair: Pair, page: str) -> None:
    for wire in (pair.ours, pair.stock):
        assert re.fullmatch(r'"\d+\.\d+-26-\d+"', wire.ask("GET", run_of(wire)).headers["etag"])
        assert re.fullmatch(r'"[0-9a-f]{32}"', wire.ask("GET", page).headers["etag"])
