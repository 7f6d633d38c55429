"""An experiment, a model or a version with very many tags, aliases, params or points comes whole, in pieces."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest
from tests.fill import fill
from tests.processes import peak_bytes, reset_peak

if TYPE_CHECKING:
    from tests.fix_api import Api

MANY = 10_050  # more than the keys that are read at a time
LARGE = 6_000
VALUE = "x" * 5_000  # what a column of PostgreSQL takes


def keys(count: int) -> list[str]:
    """Keys in the order of their bytes, in which a long list comes."""
    return sorted(f"{'kä'[n % 2 :]}{n}" for n in range(count))


def get(api: Api, path: str, **query: Any) -> tuple[Any, bool, int]:
    """An answer, whether it came in pieces, and how many bytes it has."""
    answer = api.wire.ask("GET", f"/api/2.0/mlflow/{path}?{urlencode(query)}")
    assert answer.status == 200, answer
    return answer.json(), "transfer-encoding" in answer.headers, len(answer.body)


def pairs(items: list[dict[str, Any]], key: str = "key") -> list[str]:
    """The keys of a list in an answer, each once."""
    found = [item[key] for item in items]
    assert len(set(found)) == len(found)
    return found


def values(count: int) -> list[tuple[str, str]]:
    """Many short values, or fewer long ones."""
    return [(key, VALUE if count == LARGE else f"v{n}") for n, key in enumerate(keys(count))]


class Grown:
    """How much memory the server took for an answer."""

    def __init__(self, api: Api) -> None:
        self._pid = api.server.process.pid
        self._before = reset_peak(self._pid)

    def check(self, size: int) -> None:
        """Less than half of a large answer."""
        if size > 20 << 20:
            assert peak_bytes(self._pid) - self._before < size / 2


@pytest.mark.parametrize("count", [MANY, LARGE])
def test_an_experiment(api: Api, count: int) -> None:
    experiment = api.experiment()
    rows = [(int(experiment.id), *pair) for pair in values(count)]
    fill(api.uri, "experiment_tags", "experiment_id, key, value", rows)
    get(api, "experiments/get", experiment_id=experiment.id)
    grown = Grown(api)
    found, in_pieces, size = get(api, "experiments/get", experiment_id=experiment.id)
    grown.check(size)
    assert in_pieces
    assert pairs(found["experiment"]["tags"]) == keys(count)
    assert [(t["key"], t["value"]) for t in found["experiment"]["tags"]] == values(count)
    name = found["experiment"]["name"]
    by_name, _, _ = get(api, "experiments/get-by-name", experiment_name=name)
    assert by_name == found
    page = api.ok("experiments/search", max_results=10, filter=f"name = '{name}'")
    assert page["experiments"] == [found["experiment"]]
    small = api.experiment().id
    (one,) = api.ok("experiments/search", max_results=1)["experiments"]
    assert one["experiment_id"] == small
    assert found["experiment"].keys() == one.keys() | {"tags"}


@pytest.mark.parametrize("count", [MANY, LARGE])
def test_a_registered_model_and_its_version(api: Api, count: int) -> None:
    name = f"model {count} {api.experiment().id}"
    api.ok("registered-models/create", name=name, description="d")
    for _ in range(2):
        api.ok("model-versions/create", name=name, source="s3://bucket/x")
    tags = values(count)
    fill(api.uri, "registered_model_tags", "name, key, value", [(name, *tag) for tag in tags])
    fill(
        api.uri,
        "model_version_tags",
        "name, version, key, value",
        [(name, 2, *tag) for tag in tags],
    )
    aliases = sorted(f"a{n}" for n in range(count))
    fill(
        api.uri,
        "registered_model_aliases",
        "name, alias, version",
        [(name, alias, 2) for alias in aliases],
    )
    get(api, "registered-models/get", name=name)
    grown = Grown(api)
    found, in_pieces, size = get(api, "registered-models/get", name=name)
    grown.check(size)
    assert in_pieces
    model = found["registered_model"]
    assert (model["name"], model["description"]) == (name, "d")
    assert [(tag["key"], tag["value"]) for tag in model["tags"]] == tags
    assert pairs(model["aliases"], "alias") == aliases
    (latest,) = model["latest_versions"]
    assert (latest["version"], pairs(latest["tags"])) == ("2", keys(count))
    one, in_pieces, _ = get(api, "model-versions/get", name=name, version="2")
    assert in_pieces
    assert one["model_version"] == latest | {"aliases": aliases}
    page, _, _ = get(api, "registered-models/search", filter=f"name = '{name}'")
    assert page["registered_models"] == [model]
    versions, _, _ = get(api, "model-versions/search", filter=f"name = '{name}'")
    assert [v["version"] for v in versions["model_versions"]] == ["2", "1"]
    assert versions["model_versions"][0] == latest


@pytest.mark.parametrize("count", [MANY, LARGE])
def test_a_logged_model(api: Api, count: int) -> None:
    experiment = api.experiment().id
    run = api.run(experiment)
    made = api.ok("logged-models", experiment_id=experiment, name="m")["model"]
    model_id = made["info"]["model_id"]
    number = int(experiment)
    for kind in ("tag", "param"):
        rows = [(model_id, number, *pair) for pair in values(count)]
        columns = f"model_id, experiment_id, {kind}_key, {kind}_value"
        fill(api.uri, f"logged_model_{kind}s", columns, rows)
    points = [(model_id, f"m{n % 3}", n // 7, n, n, number, run.id) for n in range(count)]
    columns = (
        "model_id, metric_name, metric_timestamp_ms, metric_step, metric_value, experiment_id,"
        " run_id"
    )
    fill(api.uri, "logged_model_metrics", columns, points)
    get(api, f"logged-models/{model_id}")
    grown = Grown(api)
    found, in_pieces, size = get(api, f"logged-models/{model_id}")
    grown.check(size)
    assert in_pieces
    info, data = found["model"]["info"], found["model"]["data"]
    assert info | {"tags": []} == made["info"] | {"tags": []}
    for pieces in (info["tags"], data["params"]):
        assert [(pair["key"], pair["value"]) for pair in pieces] == values(count)
    shown = [(m["key"], m["timestamp"], m["step"]) for m in data["metrics"]]
    assert shown == sorted((name, time, step) for _, name, time, step, *_ in points)
    page = api.ok("logged-models/search", experiment_ids=[experiment])
    assert json.dumps(page["models"], sort_keys=True) == json.dumps(
        [found["model"]], sort_keys=True
    )
