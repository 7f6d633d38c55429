"""`headrace.connect` on both databases."""

from __future__ import annotations

import asyncio
import contextlib
import math
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from mlflow.entities import RunStatus as MlflowStatus

import headrace
from headrace import ApiError
from headrace.api.tracking.runs.types import RunStatus
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
    found = tracking.search_runs([0], order_by=["attributes.run_name"], page_size=2)
    expected = [f"run {n}" for n in range(5)]
    assert [run.info.run_name for run in found] == expected
    assert [len(page) for page in found.pages()] == [2, 2, 1]
    first, token = found.page()
    second, _ = found.page(token)
    assert [run.info.run_name for run in first + second] == expected[:4]
    few = tracking.search_runs(["0"], order_by=["run_name"], max_results=3, page_size=2)
    assert [run.info.run_name for run in few] == expected[:3]


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
        runs = tracking.search_runs(["0"], text)
        assert {ids.index(run.info.run_id) for run in runs} == expected, text
    page = tracking.search_experiments("name = 'x' OR NOT name = 'y'")
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
    found = tracking.search_experiments("name LIKE '%o%'", ["name"], page_size=1)
    page, token = found.page()
    assert ([one.name for one in page], token is None) == (["one"], False)
    page, token = found.page(token)
    assert ([one.name for one in page], token) == (["two"], None)
    assert tracking.search_experiments("name = 'three'").first() is None


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
        lambda: tracking.search_experiments(page_size=50_001),
        lambda: tracking.search_runs("0"),
        lambda: tracking.search_runs(["0"], order_by="metrics.loss"),
        lambda: tracking.search_experiments(order_by="name"),
        lambda: tracking.log_metrics("0" * 32, [("loss", 1.0)]),  # type: ignore[arg-type]
        lambda: tracking.end_run("0" * 32, "DONE"),
        lambda: tracking.log_artifact("0" * 32, "missing.txt"),
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
        lambda: tracking.experiment_id("a\0b"),
    ):
        with pytest.raises(ApiError, match="must not contain NUL"):
            written()
    assert tracking.run(run_id).data.params == []


def test_numbers_of_other_libraries_are_stored_as_numbers(uri: str) -> None:
    tracking = headrace.connect(uri)
    run_id = tracking.create_run("0", tags={"n": np.int8(3)})
    tracking.log_metric(run_id, "loss", np.float32(0.5), step=np.int64(3), timestamp_ms=np.int64(9))
    tracking.log_metric(run_id, "loss", np.array([2]), step=4.0, timestamp_ms=9.9)
    tracking.log_metric(run_id, "loss", Decimal("0.25"), step=None, timestamp_ms=9)
    tracking.log_metric(run_id, "loss", "1.5", step=True, timestamp_ms=9)
    tracking.log_params(run_id, {"rate": np.float64(0.1), "none": None})
    expected = [(0, 9, 0.25), (1, 9, 1.5), (3, 9, 0.5), (4, 9, 2.0)]
    assert tracking.metric_history(run_id, "loss") == expected
    run = tracking.run(run_id)
    assert {(p.key, p.value) for p in run.data.params} == {("rate", "0.1"), ("none", "None")}
    assert ("n", "3") in {(t.key, t.value) for t in run.data.tags}


@pytest.mark.parametrize("step", ["x", "1", 1.5, np.float32(0.5), 2**63, [1], float("nan")])
def test_a_step_that_is_no_integer_is_refused(sqlite_uri: str, step: object) -> None:
    tracking = headrace.connect(sqlite_uri)
    run_id = tracking.create_run("0")
    with pytest.raises(ApiError, match="Step must be a valid long") as refusal:
        tracking.log_metric(run_id, "loss", 1.0, step=step)
    assert refusal.value.code == ErrorCode.INVALID_PARAMETER_VALUE
    assert tracking.metric_history(run_id, "loss") == []


def test_texts_that_no_database_stores_are_refused(sqlite_uri: str) -> None:
    tracking = headrace.connect(sqlite_uri)
    run_id = tracking.create_run("0")
    half = "\ud800"
    for wrong in (
        lambda: tracking.set_tag(run_id, "t", half),
        lambda: tracking.log_metric(run_id, half, 1.0),
        lambda: tracking.create_run("0", half),
        lambda: tracking.search_runs(["0"], f"tags.t = '{half}'").page(),
        lambda: tracking.search_runs(["0"], 5).page(),  # type: ignore[arg-type]
        lambda: tracking.experiment_id(half),
        lambda: tracking.metric_history(run_id, half),
        lambda: tracking.run(half),
    ):
        with pytest.raises(ApiError) as refusal:
            wrong()
        assert refusal.value.code == ErrorCode.INVALID_PARAMETER_VALUE


def test_values_that_are_no_numbers_are_refused(sqlite_uri: str) -> None:
    tracking = headrace.connect(sqlite_uri)
    run_id = tracking.create_run("0")
    for value in ("high", None, [1, 2], np.array([1, 2]), object(), 1j, 10**400):
        with pytest.raises(ApiError) as refusal:
            tracking.log_metric(run_id, "loss", value)
        assert refusal.value.code == ErrorCode.INVALID_PARAMETER_VALUE
    for time in (-1, "now", math.nan):
        with pytest.raises(ApiError, match="Timestamp must be a nonnegative long"):
            tracking.log_metric(run_id, "loss", 1.0, timestamp_ms=time)


@pytest.mark.parametrize(
    ("status", "stored"),
    [("FAILED", "FAILED"), (RunStatus.KILLED, "KILLED"), (MlflowStatus.FINISHED, "FINISHED")],
)
def test_a_run_ends_with_a_status_as_text_or_enum(
    sqlite_uri: str, status: object, stored: str
) -> None:
    tracking = headrace.connect(sqlite_uri)
    run_id = tracking.create_run("0")
    tracking.end_run(run_id, status)  # type: ignore[arg-type]
    assert tracking.run(run_id).info.status == stored


def test_many_params_tags_and_metrics_are_logged_in_batches(sqlite_uri: str) -> None:
    tracking = headrace.connect(sqlite_uri)
    run_id = tracking.create_run("0")
    tracking.log_params(run_id, {f"p{n}": n for n in range(150)})
    tracking.set_tags(run_id, {f"t{n}": n for n in range(150)})
    tracking.log_metrics(run_id, {f"m{n}": n for n in range(1500)}, step=2)
    data = tracking.run(run_id).data
    assert (len(data.params), len(data.tags), len(data.metrics)) == (150, 151, 1500)
    assert {metric.step for metric in data.metrics} == {2}


def test_a_deleted_run_is_not_found_by_a_search(uri: str) -> None:
    tracking = headrace.connect(uri)
    run_id = tracking.create_run("0")
    tracking.delete_run(run_id)
    assert tracking.search_runs(["0"]).first() is None
    assert tracking.run(run_id).info.lifecycle_stage == "deleted"


def test_records_tables_and_frames_have_the_same_columns(sqlite_uri: str) -> None:
    tracking = headrace.connect(sqlite_uri)
    tracking.log_batch(tracking.create_run("0", "a"), {"loss": math.nan}, {"lr": "0.1"})
    tracking.create_run("0", "b")
    found = tracking.search_runs(["0"], order_by=["run_name"])
    first, second = found.to_records()
    assert (first["run_name"], first["params.lr"], second.get("params.lr")) == ("a", "0.1", None)
    assert math.isnan(first["metrics.loss"])
    table, frame = found.to_arrow(), found.to_pandas()
    assert table.column_names == list(frame.columns) == list(first)
    assert table["params.lr"].to_pylist() == ["0.1", None]
    assert frame["start_time"][0].value == first["start_time"] * 1_000_000
    assert table["start_time"][0].value == first["start_time"]


def test_artifacts_are_copied_to_the_run(sqlite_uri: str, tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "deep").mkdir(parents=True)
    (source / "deep/a%20b.txt").write_text("deep")
    (source / "top.txt").write_text("top")
    tracking = headrace.connect(sqlite_uri)
    with contextlib.chdir(tmp_path):
        run_id = tracking.create_run(tracking.experiment_id("files"))
        tracking.log_artifacts(run_id, source, "copy")
        tracking.log_artifact(run_id, source / "top.txt")
    root = Path(tracking.run(run_id).info.artifact_uri)
    assert (root / "copy/deep/a%20b.txt").read_text() == "deep"
    assert (root / "top.txt").read_text() == (root / "copy/top.txt").read_text() == "top"
    with pytest.raises(ApiError, match="Invalid artifact path"):
        tracking.log_artifact(run_id, source / "top.txt", "../out")
    for odd, said in (("a\0b", "must not contain NUL"), ("\ud800", "must be valid Unicode")):
        for log, what in (
            (tracking.log_artifact, source / "top.txt"),
            (tracking.log_artifacts, source),
        ):
            with pytest.raises(ApiError, match=said):
                log(run_id, what, odd)
        with pytest.raises(ApiError, match="is not a file"):
            tracking.log_artifact(run_id, odd)


def test_a_closed_connection_leaves_no_file_open(sqlite_uri: str) -> None:
    with headrace.connect(sqlite_uri) as first, headrace.connect(sqlite_uri) as second:
        run_id = first.create_run("0")
        first.close()
        first.close()
        second.log_metric(run_id, "loss", 1.0)  # the database stays open for the other
        assert "(closed)" in repr(first)
        assert repr(second) == f"<headrace.Connection {sqlite_uri}>"
    path = Path(sqlite_uri.removeprefix("sqlite:///"))
    assert [file.name for file in path.parent.glob(f"{path.name}*")] == [path.name]
    with pytest.raises(headrace.Error, match="closed"):
        second.run(run_id)
    with headrace.connect(sqlite_uri) as third:
        assert len(third.metric_history(run_id, "loss")) == 1


async def test_an_asynchronous_search_reads_all_pages(sqlite_uri: str) -> None:
    async with headrace.connect(sqlite_uri).asynchronous as tracking:
        for n in range(5):
            await tracking.create_run("0", f"run {n}")
        found = tracking.search_runs(["0"], order_by=["run_name"], page_size=2)
        assert [run.info.run_name async for run in found] == [f"run {n}" for n in range(5)]


def test_the_package_shows_its_api_only() -> None:
    assert dir(headrace) == sorted(headrace.__all__)
    for name in headrace.__all__:
        assert getattr(headrace, name) is not None


def test_every_error_is_headraces(tmp_path: Path) -> None:
    for uri, kind in (("mysql://x/y", headrace.UriError), ("", headrace.UriError)):
        with pytest.raises(headrace.Error) as refusal:
            headrace.connect(uri)
        assert type(refusal.value) is kind
    (tmp_path / "no.db").write_bytes(b"no database" * 100)
    with pytest.raises(headrace.UnusableDatabase):
        headrace.connect(f"sqlite:///{tmp_path}/no.db")
    for kind in (headrace.ApiError, headrace.DatabaseError, headrace.UnusableDatabase):
        assert issubclass(kind, headrace.Error)
