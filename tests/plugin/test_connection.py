"""`headrace.connect` on both databases."""

from __future__ import annotations

import asyncio
import math
from concurrent.futures import ThreadPoolExecutor

import pytest

import headrace
from headrace import ApiError
from headrace.client import engine
from headrace.contract.errors import ErrorCode


@pytest.fixture(autouse=True)
def _closed() -> object:
    yield
    engine.close_all()


def test_what_was_logged_is_read_back(empty_uri: str) -> None:
    tracking = headrace.connect(empty_uri)
    experiment = tracking.experiment_id("one")
    assert tracking.experiment_id("one") == experiment
    run_id = tracking.create_run(experiment, "by hand", {"team": "blue"})
    tracking.log_batch(
        run_id, {"loss": 0.5, "odd": math.nan}, {"lr": "0.1"}, step=3, timestamp_ms=7
    )
    tracking.end_run(run_id)
    run = tracking.run(run_id)
    assert run.info.status == "FINISHED"
    assert {(m.key, m.value, m.step) for m in run.data.metrics} == {
        ("loss", 0.5, 3),
        ("odd", "NaN", 3),
    }
    assert [(p.key, p.value) for p in run.data.params] == [("lr", "0.1")]
    assert tracking.metric_history(run_id, "loss") == [(3, 7, 0.5)]
    assert math.isnan(tracking.metric_history(run_id, "odd")[0][2])


def test_pages_of_a_search_follow_each_other(uri: str) -> None:
    tracking = headrace.connect(uri)
    for n in range(5):
        tracking.create_run("0", f"run {n}")
    names, token = [], None
    while True:
        runs, token = tracking.search_runs(
            ["0"], order_by=["attributes.run_name"], max_results=2, page_token=token
        )
        names += [run.info.run_name for run in runs]
        if token is None:
            break
    assert names == [f"run {n}" for n in range(5)]


def test_filters_with_or_not_and_parentheses(uri: str) -> None:
    tracking = headrace.connect(uri)
    ids = [tracking.create_run("0", f"run {n}") for n in range(3)]
    tracking.log_batch(ids[0], {"loss": 0.5})
    tracking.log_batch(ids[1], {"loss": 2.0}, {"lr": "0.1"})
    for text, expected in (
        ("metrics.loss < 1 OR params.lr = '0.1'", {0, 1}),
        ("NOT (metrics.loss < 1)", {1, 2}),
        ("NOT metrics.loss < 1 AND (params.lr = '0.1' OR run_name = 'run 0')", {1}),
    ):
        runs, _ = tracking.search_runs(["0"], text)
        assert {ids.index(run.info.run_id) for run in runs} == expected, text
    page, _ = tracking.search_experiments("name = 'x' OR NOT name = 'y'")
    assert [one.name for one in page] == ["Default"]


def test_a_refusal_carries_mlflows_code_and_writes_nothing(uri: str) -> None:
    tracking = headrace.connect(uri)
    run_id = tracking.create_run("0")
    tracking.log_batch(run_id, params={"a": "1"})
    with pytest.raises(ApiError, match="Changing param values") as refusal:
        tracking.log_batch(run_id, {"loss": 1.0}, {"a": "2"}, {"t": "v"})
    assert refusal.value.code == ErrorCode.INVALID_PARAMETER_VALUE
    assert tracking.run(run_id).data.metrics == []
    with pytest.raises(ApiError) as refusal:
        tracking.run("0" * 32)
    assert refusal.value.code == ErrorCode.RESOURCE_DOES_NOT_EXIST


def test_listing_experiments_creates_none(uri: str) -> None:
    tracking = headrace.connect(uri)
    for name in ("one", "two"):
        tracking.experiment_id(name)
    page, token = tracking.search_experiments("name LIKE '%o%'", ["name"], max_results=1)
    assert ([one.name for one in page], token is None) == (["one"], False)
    page, token = tracking.search_experiments("name LIKE '%o%'", ["name"], 1, token)
    assert ([one.name for one in page], token) == (["two"], None)
    assert tracking.search_experiments("name = 'three'") == ([], None)


def test_an_experiment_that_two_create_at_once_exists_once(uri: str) -> None:
    tracking = headrace.connect(uri)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: tracking.experiment_id("same"), range(8)))
    assert len(set(found)) == 1


def test_what_the_server_refuses_is_refused(uri: str) -> None:
    tracking = headrace.connect(uri)
    for wrong in (
        lambda: tracking.experiment_id(""),
        lambda: tracking.experiment_id("n" * 501),
        lambda: tracking.search_runs(["abc"]),
        lambda: tracking.search_runs(["0"], max_results=0),
        lambda: tracking.search_experiments(max_results=50_001),
    ):
        with pytest.raises(ApiError) as refusal:
            wrong()
        assert refusal.value.code == ErrorCode.INVALID_PARAMETER_VALUE


async def test_many_concurrent_awaited_calls(uri: str) -> None:
    tracking = headrace.connect(uri).asynchronous
    run_id = await tracking.create_run("0")
    await asyncio.gather(
        *(tracking.log_batch(run_id, {"loss": float(n)}, step=n) for n in range(40))
    )
    assert len(await tracking.metric_history(run_id, "loss")) == 40


def test_text_with_nul_is_refused_on_every_database(uri: str) -> None:
    tracking = headrace.connect(uri)
    run_id = tracking.create_run("0")
    for written in (
        lambda: tracking.log_batch(run_id, params={"a": "x\0"}),
        lambda: tracking.create_run("0", "x\0"),
        lambda: tracking.create_run("0", "run", {"a": "x\0"}),
    ):
        with pytest.raises(ApiError, match="must not contain NUL"):
            written()
    assert tracking.run(run_id).data.params == []
