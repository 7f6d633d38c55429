"""runs/log-batch: limits, required fields of items, duplicates, conflicts, mixtures."""

from __future__ import annotations

from typing import Any

from tests.compat.dialogue import Ask, Dialogue, experiment, get, post, run


def batch(label: str, **fields: Any) -> Ask:
    return post(label, "runs/log-batch", {"run_id": "$run"} | fields)


def look(label: str) -> Ask:
    return get(label, "runs/get", {"run_id": "$run"}, unordered=("tags", "params", "metrics"))


def metrics(count: int) -> list[dict[str, Any]]:
    return [{"key": f"m{i}", "value": float(i), "timestamp": 1} for i in range(count)]


def params(count: int, prefix: str = "p") -> list[dict[str, Any]]:
    return [{"key": f"{prefix}{i}", "value": str(i)} for i in range(count)]


def tags(count: int) -> list[dict[str, Any]]:
    return [{"key": f"t{i}", "value": str(i)} for i in range(count)]


METRIC = {"key": "m", "value": 1.0, "timestamp": 1, "step": 0}


def metric(**fields: Any) -> list[dict[str, Any]]:
    merged = METRIC | fields
    return [{k: v for k, v in merged.items() if v != "<absent>"}]


LIMITS = Dialogue(
    "limits of a batch",
    (
        experiment(),
        run(),
        batch("1001 metrics", metrics=metrics(1001)),
        batch("101 params", params=params(101)),
        batch("101 tags", tags=tags(101)),
        batch("1001 in all", metrics=metrics(950), tags=tags(51)),
        batch("1001 in all, three kinds", metrics=metrics(801), params=params(100), tags=tags(100)),
        batch("everything too many", metrics=metrics(1001), params=params(101), tags=tags(101)),
        batch("params and tags too many", params=params(101), tags=tags(101)),
        look("nothing so far"),
        batch("1000 metrics", metrics=metrics(1000)),
        batch("100 params and tags", params=params(100), tags=tags(100)),
        batch("1000 in all", metrics=metrics(800), params=params(100), tags=tags(100)),
        look("all of it"),
    ),
)

ITEMS = Dialogue(
    "items of a batch",
    (
        experiment(),
        run(),
        batch("empty"),
        batch("empty lists", metrics=[], params=[], tags=[]),
        batch("null lists", metrics=None, params=None, tags=None),
        batch("one of each", metrics=metrics(1), params=params(1), tags=tags(1)),
        batch("metric without key", metrics=metric(key="<absent>")),
        batch("metric without value", metrics=metric(value="<absent>")),
        batch("metric without timestamp", metrics=metric(timestamp="<absent>")),
        batch("metric without step", metrics=metric(key="stepless", step="<absent>")),
        batch("metric, all absent", metrics=[{}]),
        batch("second metric without value", metrics=[METRIC, {"key": "a", "timestamp": 1}]),
        batch("metric with null key", metrics=metric(key=None)),
        batch("metric with empty key", metrics=metric(key="")),
        batch("metric with null value", metrics=metric(value=None)),
        batch("metric with null timestamp", metrics=metric(timestamp=None)),
        batch("metric with null step", metrics=metric(step=None)),
        batch("metric with bad key", metrics=metric(key="a?b")),
        batch("second metric with bad key", metrics=[METRIC, *metric(key="a//b")]),
        batch("metric with long key", metrics=metric(key="k" * 251)),
        batch("metric, negative time", metrics=metric(timestamp=-1)),
        batch("metric, NaN", metrics=metric(key="nan", value="NaN")),
        batch("metric, infinities", metrics=[*metric(key="inf", value="Infinity"), *metric(key="ninf", value="-Infinity")]),
        batch("metric, values as text", metrics=metric(key="text", value="1.5", timestamp="7", step="3")),
        batch("metric, integers", metrics=metric(key="int", value=1)),
        batch("metric, unknown field", metrics=metric(key="unknown", zzz=1)),
        batch("metric, camelCase", metrics=[{"key": "camel", "value": 1.0, "timestamp": 1, "modelId": ""}]),
        batch("metric, both spellings", metrics=[METRIC | {"model_id": "a", "modelId": "b"}]),
        batch("metric, dataset", metrics=metric(key="ds", dataset_name="d", dataset_digest="1")),
        batch("param without key", params=[{"value": "1"}]),
        batch("param without value", params=[{"key": "valueless"}]),
        batch("param with null key", params=[{"key": None, "value": "1"}]),
        batch("param with null value", params=[{"key": "nullvalue", "value": None}]),
        batch("param with empty value", params=[{"key": "emptyvalue", "value": ""}]),
        batch("param with bad key", params=[{"key": "a?b", "value": "1"}]),
        batch("param with long key", params=[{"key": "k" * 251, "value": "1"}]),
        batch("param of 7000", params=[{"key": "long", "value": "x" * 7000}]),
        batch("param of 7000 again", params=[{"key": "long", "value": "x" * 7000}]),
        batch("tag without key", tags=[{"value": "1"}]),
        batch("tag without value", tags=[{"key": "valueless"}]),
        batch("tag with null key", tags=[{"key": None, "value": "1"}]),
        batch("tag with bad key", tags=[{"key": "a?b", "value": "1"}]),
        batch("tag with long key", tags=[{"key": "k" * 251, "value": "1"}]),
        batch("tag of 8001", tags=[{"key": "long", "value": "x" * 8001}]),
        batch("bad metric, bad param, bad tag", metrics=metric(key="?"), params=[{"key": "?"}], tags=[{"key": "?"}]),
        batch("good metric, bad tag", metrics=metric(key="leftover"), tags=[{"key": "?", "value": ""}]),
        batch("good param, bad metric", params=[{"key": "leftover", "value": "1"}], metrics=metric(timestamp=-1)),
        look("what is there"),
    ),
)  # fmt: skip

CONFLICTS = Dialogue(
    "conflicts in a batch",
    (
        experiment(),
        run(),
        batch("params", params=[{"key": "a", "value": "1"}, {"key": "b", "value": "2"}]),
        batch("same params", params=[{"key": "a", "value": "1"}, {"key": "b", "value": "2"}]),
        batch("one changed", params=[{"key": "a", "value": "9"}, {"key": "c", "value": "3"}], metrics=metrics(1), tags=tags(1)),
        batch("two changed", params=[{"key": "a", "value": "8"}, {"key": "b", "value": "9"}]),
        batch("changed with quotes", params=[{"key": "a", "value": "it's"}]),
        batch("changed, unicode", params=[{"key": "a", "value": "é🚀"}]),
        batch("changed, newline", params=[{"key": "a", "value": "x\ny\\z"}]),
        look("unchanged"),
        batch("key twice", params=[{"key": "d", "value": "1"}, {"key": "d", "value": "2"}]),
        batch("key twice, equal", params=[{"key": "d", "value": "1"}, {"key": "d", "value": "1"}]),
        batch("two keys twice", params=[{"key": k, "value": v} for k in ("e", "f") for v in "12"]),
        batch("key twice, with bad key", params=[{"key": "d", "value": "1"}, {"key": "d", "value": "1"}, {"key": "?"}]),
        batch("key twice, unicode", params=[{"key": "ё", "value": "1"}, {"key": "ё", "value": "2"}]),
        batch("tag twice", tags=[{"key": "t", "value": "1"}, {"key": "t", "value": "2"}]),
        batch("metric twice", metrics=[METRIC, METRIC]),
        batch("metric at two steps", metrics=[*metric(step=2, value=2.0), *metric(step=1, value=1.0)]),
        look("after"),
        get("history", "metrics/get-history", {"run_id": "$run", "metric_key": "m"}),
    ),
)  # fmt: skip

MODELS = Dialogue(
    "models in a batch",
    (
        experiment(),
        run(),
        batch("unknown model", metrics=metric(model_id="m-1"), params=params(1), tags=tags(1)),
        look("after an unknown model"),
        run("second"),
        batch("empty model", metrics=metric(model_id=""), params=params(1), tags=tags(1)),
        look("after an empty model"),
    ),
)

RUNS = Dialogue(
    "the run of a batch",
    (
        experiment(),
        run(),
        batch("no run", run_id=None),
        batch("empty run", run_id=""),
        batch("unknown run", run_id="nope", tags=tags(1)),
        batch("unknown run, empty batch", run_id="nope"),
        batch("unknown run, bad tag", run_id="nope", tags=[{"key": "?"}]),
        batch("unknown run, too many", run_id="nope", params=params(101)),
        batch("bad run id", run_id="!bad", tags=tags(1)),
        batch("run id with a slash", run_id="a/b"),
        batch("run id with a newline", run_id="ab\n"),
        batch("run id of 256 characters", run_id="r" * 256),
        batch("run id of 257 characters", run_id="r" * 257),
        batch("run id starting with a dash", run_id="-a"),
        batch("run id starting with underscore", run_id="_a"),
        batch("run id in unicode", run_id="é"),
        batch("run id with unicode inside", run_id="aé"),
        batch("bad run id and bad tag", run_id="!bad", tags=[{"key": "?"}]),
        batch("by run_uuid", run_id=None, run_uuid="$run", tags=tags(1)),
        batch("by runId", run_id=None, runId="$run", tags=tags(1)),
        batch("by number", run_id=5),
        batch("both spellings", runId="$run"),
        batch("metrics not a list", metrics=METRIC),
        batch("params not a list", params={"a": "1"}),
        batch("tags not a list", tags="x"),
        batch("metrics of numbers", metrics=[1]),
        batch("params of text", params=["a"]),
        batch("metric of a list", metrics=[[]]),
        batch("text for a metric value", metrics=metric(value="abc")),
        batch("number for a param value", params=[{"key": "a", "value": 1}]),
        batch("number for a tag value", tags=[{"key": "a", "value": 1}]),
        batch("number for a metric key", metrics=metric(key=1)),
    ),
)

DIALOGUES = (LIMITS, ITEMS, CONFLICTS, MODELS, RUNS)
