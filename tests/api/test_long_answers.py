"""Large answers are sent in pieces and equal the concatenation of small pages."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest
from tests.fill import fill

if TYPE_CHECKING:
    from tests.fix_api import Api

LONG = "x" * 5000
POINTS = 25_000


def runs(api: Api, count: int) -> tuple[str, list[str]]:
    """An experiment with so many runs, and their ids in the order of a search."""
    experiment = api.experiment().id
    ids = [f"{int(experiment):08x}{n:024x}" for n in range(count)]
    columns = (
        "run_uuid, experiment_id, name, user_id, status, start_time, artifact_uri, lifecycle_stage"
    )
    row = ("name", "user", "RUNNING", 1, "a", "active")
    fill(api.uri, "runs", columns, [(run, int(experiment), *row) for run in ids])
    return experiment, ids


def in_small_pages(api: Api, path: str, field: str, **fields: Any) -> list[Any]:
    """All items of a list, a few at a time."""
    found: list[Any] = []
    token = None
    while True:
        more = {"page_token": token} if token else {}
        page = ask(api, path, max_results=20, **fields, **more)
        found += page.get(field, [])
        token = page.get("next_page_token")
        if token is None:
            return found


def ask(api: Api, path: str, **fields: Any) -> Any:
    """The JSON of a list; those of the registry are GET."""
    if not path.startswith(("registered-models", "model-versions")):
        return api.ok(path, **fields)
    answer = api.wire.ask("GET", f"/api/2.0/mlflow/{path}?{urlencode(fields)}")
    assert answer.status == 200, answer
    return answer.json()


def came_in_pieces(api: Api, path: str, **fields: Any) -> bool:
    """Whether the server sent the answer without a Content-Length."""
    return "transfer-encoding" in api._ask(path, fields).headers


def test_a_large_page_of_runs_is_what_small_pages_show(api: Api) -> None:
    experiment, ids = runs(api, 150)
    fill(
        api.uri,
        "latest_metrics",
        "run_uuid, key, value, timestamp, step, is_nan",
        [(run, f"m{n}", n, 1, n, n == 7) for run in ids for n in range(200)],
    )
    fill(
        api.uri,
        "params",
        "run_uuid, key, value",
        [(run, f"p{n}", f"{n}") for run in ids for n in (3, 1, 2)],
    )
    fill(
        api.uri,
        "tags",
        "run_uuid, key, value",
        [(run, f"t{n}", LONG) for run in ids[:100:2] for n in range(3)],
    )
    whole = api.ok("runs/search", experiment_ids=[experiment], max_results=1000)
    assert "next_page_token" not in whole
    assert whole["runs"] == in_small_pages(api, "runs/search", "runs", experiment_ids=[experiment])
    assert [run["info"]["run_id"] for run in whole["runs"]] == ids
    assert came_in_pieces(api, "runs/search", experiment_ids=[experiment], max_results=1000)
    assert not came_in_pieces(api, "runs/search", experiment_ids=[experiment], max_results=20)


def test_a_large_page_ends_with_the_token_of_the_next(api: Api) -> None:
    experiment, ids = runs(api, 160)
    fill(
        api.uri,
        "tags",
        "run_uuid, key, value",
        [(r, f"t{n}", LONG) for r in ids for n in (1, 2, 3)],
    )
    fields = {"experiment_ids": [experiment], "max_results": 150}
    first = api.ok("runs/search", **fields)
    assert [run["info"]["run_id"] for run in first["runs"]] == ids[:150]
    second = api.ok("runs/search", **fields, page_token=first["next_page_token"])
    assert [run["info"]["run_id"] for run in second["runs"]] == ids[150:]
    assert "next_page_token" not in second


def test_a_page_of_more_than_a_thousand_small_runs_is_whole(api: Api) -> None:
    experiment, ids = runs(api, 1300)
    assert api.search(experiment, max_results=50_000) == ids


def test_a_run_with_very_many_tags_comes_whole(api: Api) -> None:
    run = api.run(tags=[{"key": "a", "value": "first"}])
    tags = {f"tag {n}": f"välue {n}" for n in range(10_500)}
    fill(api.uri, "tags", "run_uuid, key, value", [(run.id, *tag) for tag in tags.items()])
    api.ok("runs/log-parameter", run_id=run.id, key="p", value="v")
    for name in ("one", "two"):
        dataset = {"name": name, "digest": "d", "source_type": "local", "source": "s"}
        used = {"dataset": dataset, "tags": [{"key": "mlflow.data.context", "value": "train"}]}
        api.ok(
            "runs/log-inputs", run_id=run.id, datasets=[used], models=[{"model_id": f"m-{name}"}]
        )
    api.ok("runs/outputs", run_id=run.id, models=[{"model_id": "m-out", "step": 3}])
    found = api.get(run.id)
    assert found["tags"] == tags | run.tags
    assert found["params"] == {"p": "v"}
    assert found["metrics"] == {}
    assert [one["dataset"]["name"] for one in found["inputs"]["dataset_inputs"]] == ["one", "two"]
    assert [one["model_id"] for one in found["inputs"]["model_inputs"]] == ["m-one", "m-two"]
    assert found["outputs"] == {"model_outputs": [{"model_id": "m-out", "step": 3}]}
    searched = api.ok("runs/search", experiment_ids=[run.experiment_id])["runs"][0]
    assert {tag["key"] for tag in searched["data"]["tags"]} == set(found["tags"])


def test_long_values_keep_their_place_among_short_ones(api: Api) -> None:
    experiment, ids = runs(api, 3)
    values = ["short", LONG, "é" * 790, "", LONG + "2"]
    for table in ("params", "tags"):
        rows = [(run, f"k{n}", value) for run in ids for n, value in enumerate(values)]
        fill(api.uri, table, "run_uuid, key, value", rows)
    fill(api.uri, "tags", "run_uuid, key, value", [(run, "none", None) for run in ids])
    for shown in (
        *api.ok("runs/search", experiment_ids=[experiment])["runs"],
        *(api.ok("runs/get", run_id=run)["run"] for run in ids),
    ):
        params = [(one["key"], one["value"]) for one in shown["data"]["params"]]
        assert params == [(f"k{n}", value) for n, value in enumerate(values)]
        tags = [(one["key"], one["value"]) for one in shown["data"]["tags"]]
        assert tags == [*params, ("none", "")]


def test_a_run_of_many_megabytes_is_searched_for_in_parts(api: Api) -> None:
    experiment, ids = runs(api, 3)
    big = "y" * 7000
    fill(api.uri, "tags", "run_uuid, key, value", [(ids[1], f"t{n}", big) for n in range(700)])
    fill(
        api.uri,
        "latest_metrics",
        "run_uuid, key, value, timestamp, step, is_nan",
        [(run, f"m{n}", n, 1, n, False) for run in ids for n in range(3500)],
    )
    found = api.ok("runs/search", experiment_ids=[experiment])["runs"]
    assert [run["info"]["run_id"] for run in found] == ids
    assert [len(run["data"]["metrics"]) for run in found] == [3500] * 3
    assert {tag["key"]: tag["value"] for tag in found[1]["data"]["tags"]} == {
        f"t{n}": big for n in range(700)
    }
    assert found[0].keys() == found[1].keys()
    assert found[0]["inputs"] == found[1]["inputs"]


@pytest.mark.parametrize("sizes", [(1_100_000,) * 3], ids=["three of a megabyte"])
def test_datasets_with_large_profiles_come_one_after_the_other(
    api: Api, sizes: tuple[int, ...]
) -> None:
    run = api.run()
    for n, size in enumerate(sizes):
        dataset = {"name": f"d{n}", "digest": "d", "source_type": "local", "source": "s"}
        used = {"dataset": {**dataset, "profile": "p" * size}}
        api.ok("runs/log-inputs", run_id=run.id, datasets=[used])
    for shown in (
        api.get(run.id)["inputs"],
        api.ok("runs/search", experiment_ids=[run.experiment_id])["runs"][0]["inputs"],
    ):
        datasets = [one["dataset"] for one in shown["dataset_inputs"]]
        assert [one["name"] for one in datasets] == ["d0", "d1", "d2"]
        assert [len(one["profile"]) for one in datasets] == list(sizes)


def test_a_large_page_of_experiments_is_what_small_pages_show(api: Api) -> None:
    prefix = api.experiment().name
    columns = "experiment_id, name, lifecycle_stage, creation_time, last_update_time"
    first = 500_000
    rows = [(first + n, f"{prefix} {n}", "active", n // 3, 1) for n in range(1100)]
    fill(api.uri, "experiments", columns, rows)
    tags = [(first + n, f"t{k}", LONG) for n in range(0, 1100, 10) for k in range(5)]
    fill(api.uri, "experiment_tags", "experiment_id, key, value", tags)
    fields: dict[str, Any] = {"filter": f"name LIKE '{prefix} %'"}
    whole = api.ok("experiments/search", max_results=2000, **fields)["experiments"]
    assert len(whole) == 1100
    assert whole == in_small_pages(api, "experiments/search", "experiments", **fields)


def test_a_large_page_of_models_and_versions_is_what_small_pages_show(api: Api) -> None:
    names = [f"large {n:03}" for n in range(120)]
    fill(
        api.uri,
        "registered_models",
        "name, creation_time, last_updated_time",
        [(name, 1, 1) for name in names],
    )
    versions = [(name, n) for name in names for n in (1, 2, 3)]
    fill(
        api.uri,
        "model_versions",
        "name, version, creation_time, last_updated_time, current_stage, status, source",
        [(*key, 1, 1, "Staging" if key[1] == 2 else "None", "READY", "s") for key in versions],
    )
    columns = "name, version, key, value"
    text = "text " * 4000
    fill(api.uri, "model_version_tags", columns, [(*key, "text", text) for key in versions])
    tags = [(name, "b", LONG) for name in names]
    fill(api.uri, "registered_model_tags", "name, key, value", tags)
    fill(
        api.uri, "registered_model_aliases", "name, alias, version", [(n, "best", 2) for n in names]
    )
    for path, field, count in (
        ("registered-models/search", "registered_models", 120),
        ("model-versions/search", "model_versions", 360),
    ):
        whole = ask(api, path, max_results=1000, filter="name LIKE 'large %'")[field]
        assert len(whole) == count
        assert whole == in_small_pages(api, path, field, filter="name LIKE 'large %'")
    assert whole[0]["tags"] == [{"key": "text", "value": text}]


def test_a_large_page_of_logged_models_is_what_small_pages_show(api: Api) -> None:
    experiment = api.experiment().id
    number = int(experiment)
    ids = [f"m-{number:016x}{n:016x}" for n in range(150)]
    columns = (
        "model_id, experiment_id, name, artifact_location, creation_timestamp_ms,"
        " last_updated_timestamp_ms, status, lifecycle_stage"
    )
    row = ("name", "a", 1, 1, 2, "active")
    fill(api.uri, "logged_models", columns, [(model, number, *row) for model in ids])
    run = api.run(experiment).id
    fill(
        api.uri,
        "logged_model_metrics",
        "model_id, metric_name, metric_timestamp_ms, metric_step, metric_value, experiment_id, run_id",
        [(model, f"m{n}", 1, n, n, number, run) for model in ids for n in range(90)],
    )
    fill(
        api.uri,
        "logged_model_params",
        "model_id, experiment_id, param_key, param_value",
        [(model, number, "p", "v") for model in ids],
    )
    fields = {"experiment_ids": [experiment]}
    whole = api.ok("logged-models/search", max_results=2000, **fields)["models"]
    assert [model["info"]["model_id"] for model in whole] == ids
    small = api.ok("logged-models/search", max_results=80, **fields)
    rest = api.ok(
        "logged-models/search", max_results=80, page_token=small["next_page_token"], **fields
    )
    assert whole == small["models"] + rest["models"]
    assert len(whole[0]["data"]["metrics"]) == 90


def history(seed: int) -> list[tuple[float, int, int, bool]]:
    """Points in the order of a history: equal times, decreasing steps, NaN next to 0."""
    chosen = random.Random(seed)
    points = {
        (n // 4 if n % 50 else 0, chosen.randrange(40), chosen.randrange(3) / 2, False)
        for n in range(POINTS)
    }
    points |= {(t, step, 0.0, True) for t, step, _, _ in list(points)[::9]}
    return [(value, t, step, nan) for t, step, value, nan in sorted(points)]


def shown(points: list[tuple[float, int, int, bool]]) -> list[tuple[int, int, Any]]:
    """The points as `Api.history` shows them."""
    return [(t, step, "NaN" if nan else value) for value, t, step, nan in points]


@pytest.fixture
def long_history(api: Api) -> tuple[str, list[tuple[int, int, Any]]]:
    """A run with a history of more than two parts, inserted in random order."""
    run = api.run().id
    points = history(seed=1)
    rows = [(run, "m", *point) for point in random.Random(2).sample(points, len(points))]
    fill(api.uri, "metrics", "run_uuid, key, value, timestamp, step, is_nan", rows)
    return run, shown(points)


def test_a_history_in_parts_has_every_point_once_in_order(
    api: Api, long_history: tuple[str, list[tuple[int, int, Any]]]
) -> None:
    run, points = long_history
    assert api.history(run, "m") == points


@pytest.mark.parametrize("limit", [10_000, 10_001, 19_999, 20_000, 23_000])
def test_long_pages_of_a_history_join_to_the_whole(
    api: Api, limit: int, long_history: tuple[str, list[tuple[int, int, Any]]]
) -> None:
    run, points = long_history
    first = api.ok("metrics/get-history", run_id=run, metric_key="m", max_results=limit)
    assert len(first["metrics"]) == limit
    token = first["next_page_token"]
    rest = api.ok("metrics/get-history", run_id=run, metric_key="m", page_token=token)
    joined = first["metrics"] + rest["metrics"]
    assert [(m["timestamp"], m["step"], m["value"]) for m in joined] == points
    assert "next_page_token" not in rest


def test_the_last_long_page_of_a_history_has_no_token(
    api: Api, long_history: tuple[str, list[tuple[int, int, Any]]]
) -> None:
    run, points = long_history
    for limit in (len(points), len(points) + 1):
        page = api.ok("metrics/get-history", run_id=run, metric_key="m", max_results=limit)
        assert len(page["metrics"]) == len(points)
        assert "next_page_token" not in page


def test_histories_of_runs_that_train_at_the_same_time_come_whole(api: Api) -> None:
    """Each of the first three has a third of the points of its time; the last is alone in its own."""
    *together, alone = (api.run().id for _ in range(4))
    points = [(t, t // 2, n / 4) for t in range(11_000) for n, _ in enumerate(together)]
    expected = {run: points[n::3] for n, run in enumerate(together)}
    expected[alone] = [(t, t, 1.0) for t in range(11_000, 33_000)]
    rows = [(run, "m", *point) for run, found in expected.items() for point in found]
    fill(
        api.uri,
        "metrics",
        "run_uuid, key, timestamp, step, value, is_nan",
        [(*r, False) for r in rows],
    )
    for run, found in expected.items():
        assert api.history(run, "m") == found
        page = api.ok("metrics/get-history", run_id=run, metric_key="m", max_results=10_500)
        token = page["next_page_token"]
        rest = api.ok("metrics/get-history", run_id=run, metric_key="m", page_token=token)
        joined = page["metrics"] + rest["metrics"]
        assert [(p["timestamp"], p["step"], p["value"]) for p in joined] == found


def test_nan_comes_after_zero_of_the_same_moment_on_every_page(api: Api) -> None:
    run = api.run()
    for value in ("NaN", 0.0, 1.0, -1.0):
        api.ok("runs/log-metric", run_id=run.id, key="m", value=value, timestamp=5, step=1)
    assert api.history(run.id, "m") == [(5, 1, -1.0), (5, 1, 0.0), (5, 1, "NaN"), (5, 1, 1.0)]
    found: list[Any] = []
    query: dict[str, Any] = {"run_id": run.id, "metric_key": "m", "max_results": 1}
    while True:
        page = api.ok("metrics/get-history", **query)
        found += [point["value"] for point in page["metrics"]]
        if "next_page_token" not in page:
            break
        query["page_token"] = page["next_page_token"]
    assert found == [-1.0, 0.0, "NaN", 1.0]


def test_histories_of_many_runs_come_whole(api: Api) -> None:
    _, ids = runs(api, 30)
    rows = [(run, "k" * 200, n / 3, n, n, n == 5) for run in ids for n in range(1500)]
    fill(api.uri, "metrics", "run_uuid, key, value, timestamp, step, is_nan", rows)
    asked = {"run_ids": ids, "metric_key": "k" * 200}
    charts = api.ok("metrics/get-history-bulk-interval", **asked)["metrics"]
    expected = [(run, n, "NaN" if n == 5 else n / 3) for run in ids for n in range(1500)]
    assert [(p["run_id"], p["step"], p["value"]) for p in charts] == expected
    query = urlencode({"run_id": ids, "metric_key": "k" * 200}, doseq=True)
    answer = api.wire.ask("GET", f"/ajax-api/2.0/mlflow/metrics/get-history-bulk?{query}")
    bulk = json.loads(answer.body)["metrics"]
    assert [(p["run_id"], p["step"]) for p in bulk] == [e[:2] for e in expected][:25_000]
