"""logged-models/*: create, get, finalize, params, tags, delete; metrics, inputs and outputs of runs."""

from __future__ import annotations

from typing import Any

from tests.compat.dialogue import Ask, Dialogue, delete, experiment, get, patch, post, run

ROOT = "logged-models"


def logged(label: str, *, keep: str = "", **fields: Any) -> Ask:
    """Create a logged model in `$exp`."""
    kept = {keep: "model.info.model_id"} if keep else {}
    body = {"experiment_id": "$exp"} | fields
    return post(label, ROOT, body, keep=kept, unordered=("tags", "params"))


def got(label: str, model: str = "$model", query: str = "") -> Ask:
    """Get a logged model."""
    return get(label, f"{ROOT}/{model}", query, unordered=("tags", "params", "metrics"))


BAD_FIELDS: dict[str, dict[str, Any]] = {
    "name with a slash": {"name": "a/b"},
    "name with a colon": {"name": "a:b"},
    "name with a dot": {"name": "a.b"},
    "name with a percent": {"name": "a%b"},
    "name with a quote": {"name": "a'b"},
    "name with a double quote": {"name": 'a"b'},
    "name with both quotes": {"name": "a'\"b"},
    "number as name": {"name": 1},
    "list as name": {"name": ["a"]},
    "number as type": {"model_type": 1},
    "number as run": {"source_run_id": 1},
    "run of 33": {"source_run_id": "r" * 33},
    "name of 501": {"name": "n" * 501},
    "type of 501": {"model_type": "t" * 501},
    "params as object": {"params": {"a": "b"}},
    "params as list of text": {"params": ["a"]},
    "param value is a number": {"params": [{"key": "a", "value": 1}]},
    "params twice": {"params": [{"key": "a", "value": "1"}, {"key": "a", "value": "2"}]},
    "tags as object": {"tags": {"a": "b"}},
    "tags twice": {"tags": [{"key": "a", "value": "1"}, {"key": "a", "value": "2"}]},
    "tag key of 256": {"tags": [{"key": "k" * 256, "value": "1"}]},
    "param key of 256": {"params": [{"key": "k" * 256, "value": "1"}]},
}
CREATE = Dialogue(
    "create a logged model",
    (
        experiment(),
        run(),
        logged("with nothing", keep="model"),
        got("get it"),
        logged(
            "with all fields",
            keep="full",
            name="clf",
            model_type="sklearn",
            source_run_id="$run",
            params=[{"key": "a", "value": "1"}, {"key": "novalue"}, {"value": "nokey"}],
            tags=[{"key": "t", "value": "v"}, {"key": "novalue"}, {"key": "a?b/../c", "value": ""}],
        ),
        got("get the full one", "$full"),
        logged(
            "empty fields",
            keep="empty",
            name="",
            model_type="",
            source_run_id="",
            params=[],
            tags=[],
        ),
        got("get the empty one", "$empty"),
        logged("the same name", name="clf"),
        logged("name in unicode", name="é 実験 🚀"),
        logged("name with spaces", name="  a b  "),
        logged("name of 500", name="n" * 500),
        logged("unknown run", source_run_id="0" * 32),
        logged("long param", params=[{"key": "a", "value": "v" * 50_000}]),
        logged("long tag", tags=[{"key": "a", "value": "v" * 50_000}]),
        logged("unknown field", zzz=1),
        logged("camel case", modelType="x", sourceRunId="$run"),
        *(logged(f"bad: {label}", **fields) for label, fields in BAD_FIELDS.items()),
        logged("unknown experiment", experiment_id="999999"),
        logged("text as experiment", experiment_id="abc"),
        logged("number as experiment", experiment_id=1),
        logged("empty experiment", experiment_id=""),
        logged("null experiment", experiment_id=None),
        logged("bad name in unknown experiment", experiment_id="999999", name="a/b"),
        post("no body", ROOT),
        post("broken body", ROOT, b"{"),
        get("by GET", ROOT),
        post("delete the experiment", "experiments/delete", {"experiment_id": "$exp"}),
        logged("in a deleted experiment"),
        got("get from a deleted experiment"),
    ),
)

LIFE = Dialogue(
    "life of a logged model",
    (
        experiment(),
        logged("a model", keep="model", name="m"),
        got("pending"),
        got("unknown", "m-0"),
        got("not even an id", "x%20y"),
        got("deleted allowed", query="allow_deleted=true"),
        patch("finalize", f"{ROOT}/$model", {"model_id": "$model", "status": "LOGGED_MODEL_READY"}),
        got("ready"),
        *(
            patch(f"status {status!r}", f"{ROOT}/$model", {"model_id": "$model", "status": status})
            for status in (
                "LOGGED_MODEL_PENDING",
                "LOGGED_MODEL_UPLOAD_FAILED",
                "LOGGED_MODEL_STATUS_UNSPECIFIED",
                0,
                1,
                2,
                3,
                "2",
                "READY",
                "BOGUS",
                4,
                -1,
                1.5,
                2.0,
                True,
                None,
                "",
                [],
            )
        ),
        patch("no status", f"{ROOT}/$model", {"model_id": "$model"}),
        patch("no model", f"{ROOT}/$model", {"status": "LOGGED_MODEL_READY"}),
        patch(
            "camel case", f"{ROOT}/$model", {"modelId": "$model", "status": "LOGGED_MODEL_READY"}
        ),
        patch("number as model", f"{ROOT}/$model", {"model_id": 1, "status": "LOGGED_MODEL_READY"}),
        patch("nothing", f"{ROOT}/$model", {}),
        patch("no body", f"{ROOT}/$model"),
        patch("the body's model counts", f"{ROOT}/m-0", {"model_id": "$model", "status": 3}),
        patch("unknown model", f"{ROOT}/$model", {"model_id": "m-0", "status": 2}),
        got("after all"),
        delete("delete", f"{ROOT}/$model"),
        got("deleted"),
        got("deleted, not allowed", query="allow_deleted=false"),
        got("deleted, allowed", query="allow_deleted=true"),
        got("deleted, allowed in upper case", query="allow_deleted=TRUE"),
        got("deleted, allowed with 1", query="allow_deleted=1"),
        got("deleted, allowed twice", query="allow_deleted=true&allow_deleted=false"),
        delete("delete again", f"{ROOT}/$model"),
        delete("delete with a body", f"{ROOT}/$model", {"model_id": "m-0"}),
        delete("delete unknown", f"{ROOT}/m-0"),
        patch("finalize deleted", f"{ROOT}/$model", {"model_id": "$model", "status": 2}),
        patch("tag deleted", f"{ROOT}/$model/tags", {"tags": [{"key": "t", "value": "v"}]}),
        got("deleted, after all", query="allow_deleted=true"),
    ),
)


def params(label: str, items: Any, model: str = "$model", **more: Any) -> Ask:
    """Log params."""
    return post(label, f"{ROOT}/{model}/params", {"model_id": model, "params": items} | more)


def tags(label: str, items: Any, model: str = "$model") -> Ask:
    """Set tags."""
    return patch(label, f"{ROOT}/{model}/tags", {"tags": items})


BAD_ITEMS: dict[str, Any] = {
    "object": {"key": "a"},
    "text": "a",
    "list of text": ["a"],
    "number as value": [{"key": "z", "value": 1}],
    "number as key": [{"key": 1, "value": "1"}],
    "null": None,
}
PARAMS_TAGS = Dialogue(
    "params and tags of a logged model",
    (
        experiment(),
        logged("a model", keep="model", params=[{"key": "p", "value": "1"}]),
        params("params", [{"key": "q", "value": "2"}, {"key": "r", "value": "3"}]),
        params("no value", [{"key": "n"}]),
        params("no key", [{"value": "x"}]),
        params("none", []),
        params("again", [{"key": "q", "value": "2"}]),
        params("again with another", [{"key": "new", "value": "1"}, {"key": "p", "value": "9"}]),
        params("twice in a request", [{"key": "w", "value": "1"}, {"key": "w", "value": "1"}]),
        params("long value", [{"key": "long", "value": "v" * 20_000}]),
        params("any characters", [{"key": "a?b/../c", "value": "1"}]),
        got("after params"),
        params("unknown model", [{"key": "q", "value": "2"}], "m-0"),
        params("the path's model counts", [{"key": "path", "value": "1"}], model_id="m-0"),
        post(
            "no model in the body",
            f"{ROOT}/$model/params",
            {"params": [{"key": "x", "value": "1"}]},
        ),
        post("no params in the body", f"{ROOT}/$model/params", {"model_id": "$model"}),
        post("no body", f"{ROOT}/$model/params"),
        got("after more params"),
        tags("tags", [{"key": "t", "value": "v"}, {"key": "u", "value": "w"}]),
        tags("overwrite", [{"key": "t", "value": "x"}]),
        tags("tags twice in a request", [{"key": "d", "value": "1"}, {"key": "d", "value": "2"}]),
        tags("tag without value", [{"key": "n"}]),
        tags("no tags", []),
        tags(
            "any characters in a tag",
            [{"key": "a?b/../c", "value": "1"}, {"key": "é", "value": "🚀"}],
        ),
        patch("empty object", f"{ROOT}/$model/tags", {}),
        patch("no body for tags", f"{ROOT}/$model/tags"),
        tags("unknown model for tags", [{"key": "t", "value": "v"}], "m-0"),
        patch(
            "another model in the body",
            f"{ROOT}/$model/tags",
            {"model_id": "m-0", "tags": [{"key": "o"}]},
        ),
        got("after tags"),
        delete("delete a tag", f"{ROOT}/$model/tags/t"),
        delete("delete it again", f"{ROOT}/$model/tags/t"),
        delete("delete with a body", f"{ROOT}/$model/tags/u", {"model_id": "m-0", "tag_key": "x"}),
        delete("delete with a quote", f"{ROOT}/$model/tags/it's"),
        delete("delete encoded", f"{ROOT}/$model/tags/%C3%A9"),
        delete("delete a key with slashes", f"{ROOT}/$model/tags/a%3Fb%2F..%2Fc"),
        delete("delete of unknown model", f"{ROOT}/m-0/tags/t"),
        got("at the end"),
        logged("a model of refused items", keep="model"),
        *(params(f"bad params: {label}", items) for label, items in BAD_ITEMS.items()),
        *(tags(f"bad tags: {label}", items) for label, items in BAD_ITEMS.items()),
    ),
)


def metric(label: str, key: str, value: Any, **more: Any) -> Ask:
    """Log a metric of `$model` to `$run`."""
    body = {"run_id": "$run", "key": key, "value": value, "timestamp": 5, "model_id": "$model"}
    return post(label, "runs/log-metric", body | more)


METRICS = Dialogue(
    "metrics of a logged model",
    (
        experiment(),
        run(),
        run("another run", keep="other"),
        logged("a model", keep="model", source_run_id="$run"),
        metric("a metric", "acc", 0.5),
        metric("a later one", "acc", 0.75, timestamp=6, step=1),
        metric("of a dataset", "acc", 0.25, timestamp=7, dataset_name="iris", dataset_digest="abc"),
        metric("of a dataset without digest", "acc", 0.25, timestamp=8, dataset_name="iris"),
        metric("the same again", "acc", 0.5),
        metric("NaN", "nan", "NaN"),
        metric("infinity", "inf", "Infinity"),
        metric("of another run", "acc", 1, run_id="$other"),
        metric("of unknown model", "acc", 1, model_id="m-0"),
        post(
            "a batch",
            "runs/log-batch",
            {
                "run_id": "$run",
                "metrics": [
                    {"key": "loss", "value": 1, "timestamp": 1, "step": n, "model_id": "$model"}
                    for n in range(3)
                ],
            },
        ),
        got("with metrics"),
        post(
            "outputs",
            "runs/outputs",
            {"run_id": "$run", "models": [{"model_id": "$model", "step": 3}]},
        ),
        post("inputs", "runs/log-inputs", {"run_id": "$other", "models": [{"model_id": "$model"}]}),
        get("the run", "runs/get", {"run_id": "$run"}, unordered=("metrics",)),
        get("the other run", "runs/get", {"run_id": "$other"}),
        delete("delete the model", f"{ROOT}/$model"),
        metric("of a deleted model", "late", 1),
        get("the run still has it", "runs/get", {"run_id": "$run"}, unordered=("metrics",)),
    ),
)

DIALOGUES = (CREATE, LIFE, PARAMS_TAGS, METRICS)
