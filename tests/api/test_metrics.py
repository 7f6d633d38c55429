"""Metrics: values, which point is the latest, histories and their sampling, on each database."""

from __future__ import annotations

import itertools
import random
from typing import TYPE_CHECKING, Any

import pytest
from tests.fix_api import Api
from tests.fix_server import headrace

if TYPE_CHECKING:
    from pathlib import Path

LARGEST = 1.7976931348623157e308


def log(api: Api, run_id: str, *points: tuple[Any, ...], key: str = "m") -> None:
    """Log (value, timestamp, step) points in one batch."""
    metrics = [{"key": key, "value": v, "timestamp": t, "step": s} for v, t, s in points]
    api.ok("runs/log-batch", run_id=run_id, metrics=metrics)


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        (0.1, 0.1),
        (3, 3.0),
        ("1.5", 1.5),
        ("NaN", "NaN"),
        ("Infinity", LARGEST),
        ("-Infinity", -LARGEST),
        (5e-324, 5e-324),
        (True, 1.0),
    ],
)
def test_a_value_comes_back_as_mlflow_shows_it(api: Api, sent: Any, shown: Any) -> None:
    run = api.run()
    api.ok("runs/log-metric", run_id=run.id, key="m", value=sent, timestamp=5)
    assert api.history(run.id, "m") == [(5, 0, shown)]
    assert api.get(run.id)["metrics"]["m"]["value"] == shown


def test_the_latest_point_is_the_greatest_by_step_time_and_value(api: Api) -> None:
    points = [(v, t, s) for v, t, s in itertools.product((1.0, 2.0), (1, 2), (1, 2))]
    for seed in range(5):
        run = api.run()
        shuffled = random.Random(seed).sample(points, len(points))
        for point in shuffled[:4]:
            log(api, run.id, point)
        log(api, run.id, *shuffled[4:])
        latest = api.get(run.id)["metrics"]["m"]
        assert latest == {"key": "m", "value": 2.0, "timestamp": 2, "step": 2}, f"seed {seed}"


@pytest.mark.parametrize(("first", "latest"), [(5.0, 5.0), (-5.0, "NaN")])
def test_nan_counts_as_zero_among_points_of_one_time(api: Api, first: float, latest: Any) -> None:
    run = api.run()
    log(api, run.id, (first, 1, 1))
    log(api, run.id, ("NaN", 1, 1))
    assert api.get(run.id)["metrics"]["m"]["value"] == latest


def test_the_same_point_is_stored_once(api: Api) -> None:
    run = api.run()
    log(api, run.id, (1.0, 1, 1), (1.0, 1, 1))
    log(api, run.id, (1.0, 1, 1), (2.0, 1, 1))
    assert api.history(run.id, "m") == [(1, 1, 1.0), (1, 1, 2.0)]


def test_a_history_is_in_order_of_time_step_and_value(api: Api) -> None:
    run = api.run()
    points = [(3.0, 2, 1), (1.0, 2, 1), (9.0, 1, 5), (2.0, 2, 0), (7.0, 1, -3)]
    log(api, run.id, *points)
    expected = sorted((t, s, v) for v, t, s in points)
    assert api.history(run.id, "m") == expected


def test_pages_of_a_history_join_to_the_whole(api: Api) -> None:
    run = api.run()
    log(api, run.id, *((float(n), n, n) for n in range(25)))
    found: list[Any] = []
    query: dict[str, Any] = {"run_id": run.id, "metric_key": "m", "max_results": 10}
    while True:
        page = api.ok("metrics/get-history", **query)
        found += [m["step"] for m in page["metrics"]]
        if "next_page_token" not in page:
            break
        query["page_token"] = page["next_page_token"]
    assert found == list(range(25))


def test_a_long_history_comes_whole(api: Api) -> None:
    run = api.run()
    for start in range(0, 12_000, 1000):
        log(api, run.id, *((n / 7, n, n) for n in range(start, start + 1000)))
    assert api.history(run.id, "m") == [(n, n, n / 7) for n in range(12_000)]


def test_a_chart_keeps_the_extremes_of_a_long_history(api: Api) -> None:
    run = api.run()
    values: dict[int, Any] = dict.fromkeys(range(1000), 0.5)
    values |= {0: 0.25, 333: 1e9, 500: "NaN", 700: "Infinity", 701: "-Infinity", 900: -7.0}
    log(api, run.id, *((value, step, step) for step, value in values.items()))
    answer = api.ok(
        "metrics/get-history-bulk-interval", run_ids=[run.id], metric_key="m", max_results=50
    )["metrics"]
    found = {point["step"]: point["value"] for point in answer}
    kept = {0, 333, 500, 700, 701, 900, 999}
    assert found.keys() > kept
    assert len(answer) <= 50
    assert [found[step] for step in (333, 500, 900)] == [1e9, "NaN", -7.0]
    assert sorted(found) == [point["step"] for point in answer]


def test_a_chart_of_few_points_has_them_all(api: Api) -> None:
    run = api.run()
    log(api, run.id, *((float(n), n, n) for n in range(10)))
    for points in (10, 11, 2500):
        answer = api.ok(
            "metrics/get-history-bulk-interval",
            run_ids=[run.id],
            metric_key="m",
            max_results=points,
        )
        assert [m["step"] for m in answer["metrics"]] == list(range(10))


def test_with_stock_sampling_a_chart_has_the_first_points_of_buckets_and_the_last(
    uri: str, tmp_path: Path
) -> None:
    def steps(api: Api, run_id: str, points: int) -> list[int]:
        asked = {"run_ids": [run_id], "metric_key": "m", "max_results": points}
        return [m["step"] for m in api.ok("metrics/get-history-bulk-interval", **asked)["metrics"]]

    with headrace(uri, tmp_path, "--chart-sampling", "stock") as server:
        api = Api(server, uri)
        run = api.run()
        log(api, run.id, *((float(n), n, n) for n in range(10)))
        assert steps(api, run.id, 1) == [9]
        assert steps(api, run.id, 3) == [0, 4, 9]
        assert steps(api, run.id, 7) == [0, 2, 4, 6, 7, 8, 9]
        assert steps(api, run.id, 10) == list(range(10))
        api.wire.close()


def test_a_negative_time_is_refused_and_nothing_of_its_batch_is_stored(api: Api) -> None:
    run = api.run()
    metrics = [
        {"key": "good", "value": 1.0, "timestamp": 1},
        {"key": "bad", "value": 1.0, "timestamp": -1},
    ]
    api.fails(
        "runs/log-batch",
        run_id=run.id,
        metrics=metrics,
        says="Invalid value -1 for parameter 'metrics[1].timestamp' supplied: metric 'bad' (value=1.0).",
    )
    assert api.get(run.id)["metrics"] == {}
